"""The desired state: reading a spec and comparing it with an observation. Pure.

`create_input` builds the Create request, `diff` compares, `update` decides what an update sends, `references` resolves
names of other objects, `tags` compares tags, `late_init` finds SageMaker's defaults, `adoption` and
`restore_annotation` read annotations, `reader` reads specs of any shape, `merge_patch` builds patches.
"""
