"""Follows resources in transition, in batches; knows nothing of Kubernetes.

`schedule` decides when a resource is due, `poller` asks AWS and publishes changed observations to the work queue.
"""
