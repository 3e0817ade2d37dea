"""The account, region and role for an object's resource.

`namespace_config` watches namespaces, role maps and selectors; `roles` selects account and role, `target` the target of
calls and the deletion policy; `claim` records where a create was sent. Nothing here falls back to another identity
than the requested one.
"""
