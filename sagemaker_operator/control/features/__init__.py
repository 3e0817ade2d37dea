"""The controllers of FieldExport and AdoptedResource.

Each has a pure module that reads the object and decides (`field_export`, `adopted_resource`) and a controller that
acts on the decision. `object_writer` writes status and events of such objects. If the CRD or the permissions of a feature
are missing, only that feature does not work.
"""
