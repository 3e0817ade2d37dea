"""One reconcile of one object: load the facts, carry out the planned actions, write the status.

`reconciler` is the loop; `context` is the object and what is known of it during the reconcile; `facts` derives what is
known before any call; `memory` is what is remembered between reconciles; `execute` carries out an action; `finish` writes the
status, reports transitions and requeues the key.
"""
