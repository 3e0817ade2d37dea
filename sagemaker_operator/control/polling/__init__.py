"""Polls resources in transition, in batches. Does not depend on Kubernetes.

`schedule` decides when a resource is due, `sweep` how it is listed; `poller` calls AWS, keeps changed observations and enqueues
their objects.
"""
