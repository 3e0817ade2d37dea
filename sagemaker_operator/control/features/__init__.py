"""Controllers beside the kinds': FieldExport and AdoptedResource.

Each has a pure module that reads the object and decides (`field_export`, `adopted_resource`) and a controller that
carries it out. `object_writer` writes status and events of such objects. Where a feature is not installed or not
allowed, only it is missing.
"""
