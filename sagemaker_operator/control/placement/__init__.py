"""Where an object's resource is and as whom SageMaker is called for it.

`namespace_config` watches namespaces, role maps and selectors; `roles` picks account and role, `target` the call's
target and the deletion policy; `claim` remembers where a create was sent. Nothing here falls back to another identity
than the one asked for.
"""
