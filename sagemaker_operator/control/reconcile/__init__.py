"""One reconcile of one object: load the facts, carry out the planned actions, write the status.

`reconciler` is the loop; `context` is the object and what is known of it during the reconcile; `facts` loads what is
known before any call; `execute` carries out an action; `finish` writes the status, reports transitions and decides when
the key comes back.
"""
