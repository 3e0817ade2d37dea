"""Create, update, patch and delete, with generations, finalizers, and the clean-up of namespaces and CRDs."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sagemaker_operator.clock import Clock, rfc3339
from sagemaker_operator.sandbox.kubernetes import customresources, fieldmanagers, meta, status
from sagemaker_operator.sandbox.kubernetes.builtins import CUSTOM_RESOURCE_DEFINITION, NAMESPACE
from sagemaker_operator.sandbox.kubernetes.decoding import Undecodable, check_kind, decode, parse
from sagemaker_operator.sandbox.kubernetes.patches import apply_patch
from sagemaker_operator.sandbox.kubernetes.storage import CollectionId, ObjectId, Storage, copy_of

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from sagemaker_operator.sandbox.kubernetes.options import WriteOptions
    from sagemaker_operator.sandbox.kubernetes.resources import Catalog, ResourceType

JsonObject = dict[str, Any]

_UNDELETABLE: Final = ("default", "kube-system")


class Outcome(NamedTuple):
    """`object` is in its stored form, unless it is a Status."""

    code: int
    object: JsonObject
    warnings: Sequence[str] = ()


class Writer:
    """All changes of the storage. Methods raise ApiError."""

    def __init__(
        self,
        storage: Storage,
        catalog: Catalog,
        *,
        clock: Clock,
        rng: random.Random,
        on_gone: Callable[[CollectionId], None],
    ) -> None:
        self._storage = storage
        self._catalog = catalog
        self._clock = clock
        self._rng = rng
        self._on_gone = on_gone

    def create(self, type_: ResourceType, namespace: str, body: bytes | None, options: WriteOptions) -> Outcome:
        parsed, duplicates = parse(body, type_)
        check_kind(parsed, type_)
        return self._create(type_, namespace, parsed, duplicates, options)

    def _create(
        self,
        type_: ResourceType,
        namespace: str,
        parsed: JsonObject,
        duplicates: list[str],
        options: WriteOptions,
        managed_fields: list[JsonObject] | None = None,
    ) -> Outcome:
        try:
            obj, warnings = decode(parsed, type_, validation=options.validation, duplicates=duplicates)
        except Undecodable as error:
            raise _cannot_be_handled(type_, error) from None
        if type_.verbs == ("create",):
            type_.admit(obj, None)
            return Outcome(201, obj, warnings)
        metadata = obj["metadata"]
        if metadata.get("resourceVersion"):
            raise status.ApiError(500, "", "resourceVersion should not be set on objects to be created")
        _same_namespace(metadata, namespace)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = meta.generate_name(metadata["generateName"], self._rng)
        if namespace:
            self._check_namespace(type_, namespace, metadata.get("name", ""))
        obj["metadata"] = metadata = meta.for_create(
            metadata,
            namespace=namespace,
            now=rfc3339(self._clock()),
            uid=str(uuid.UUID(int=self._rng.getrandbits(128), version=4)),
            generation=type_.counts_generations,
        )
        if managed_fields is not None:
            metadata["managedFields"] = managed_fields
        if type_.status_subresource:
            obj.pop("status", None)
        warnings += meta.warnings(metadata)
        self._check(type_, obj, None)
        key = (namespace, metadata["name"])
        if self._storage.get(type_.collection, key) is not None:
            raise status.already_exists(type_, key[1])
        if not options.dry_run:
            self._storage.put(type_.collection, key, obj)
            if type_ is CUSTOM_RESOURCE_DEFINITION:
                self._storage.begin(_collection_of(obj))
                self._serve(obj)
        return Outcome(201, obj, warnings)

    def update(
        self,
        type_: ResourceType,
        key: ObjectId,
        body: bytes | None,
        options: WriteOptions,
        subresource: str | None = None,
    ) -> Outcome:
        parsed, duplicates = parse(body, type_)
        check_kind(parsed, type_)
        old = self.existing(type_, key)
        try:
            obj, warnings = decode(parsed, type_, validation=options.validation, duplicates=duplicates)
        except Undecodable as error:
            raise _cannot_be_handled(type_, error) from None
        _check_identity(obj["metadata"], key)
        if type_.custom and not obj["metadata"].get("resourceVersion"):
            why = "must be specified for an update"
            raise status.invalid(type_, key[1], [status.invalid_value("metadata.resourceVersion", "0", why)])
        return self._store(type_, key, obj, old, options, subresource, warnings)

    def patch(
        self,
        type_: ResourceType,
        key: ObjectId,
        content_type: str,
        body: bytes | None,
        options: WriteOptions,
        subresource: str | None = None,
    ) -> Outcome:
        old = self.existing(type_, key)
        patched = apply_patch(content_type, body or b"", type_.present(old), custom=type_.custom)
        check_kind(patched, type_)
        try:
            obj, warnings = decode(patched, type_, validation=options.validation, duplicates=[])
        except Undecodable as error:
            raise status.invalid_patch(json.dumps(json.dumps(patched, separators=(",", ":"))), str(error)) from None
        _check_identity(obj["metadata"], key)
        return self._store(type_, key, obj, old, options, subresource, warnings)

    def apply(
        self,
        type_: ResourceType,
        key: ObjectId,
        body: bytes | None,
        options: WriteOptions,
        subresource: str | None = None,
    ) -> Outcome:
        """A server-side apply: creates the object if it does not exist."""
        if type_.stored_as is not None:
            raise status.unsupported_media(
                f"the sandbox's API emulator has no server-side apply of {type_.api_version}"
            )
        config = fieldmanagers.parse(body, type_)
        check_kind(config, type_)
        _check_identity(config["metadata"], key)
        config = fieldmanagers.within(config, type_, subresource or "")
        now = rfc3339(self._clock())
        if subresource is None and self._storage.get(type_.collection, key) is None:
            entries = fieldmanagers.created(type_, config, by=options.manager, now=now)
            return self._create(type_, key[0], config, [], options, entries)
        old = self.existing(type_, key)
        result = fieldmanagers.apply(
            type_, old, config, by=options.manager, subresource=subresource or "", force=options.force, now=now
        )
        try:
            obj, warnings = decode(result.object, type_, validation=options.validation, duplicates=[])
        except Undecodable as error:
            raise _cannot_be_handled(type_, error) from None
        return self._store(type_, key, obj, old, options, subresource, warnings, result.managed_fields)

    def delete(self, type_: ResourceType, key: ObjectId, preconditions: Mapping[str, str], *, dry_run: bool) -> Outcome:
        old = self.existing(type_, key)
        for field, word, what in (
            ("uid", "UID", "deleted and then recreated"),
            ("resourceVersion", "ResourceVersion", "modified"),
        ):
            wanted, actual = preconditions.get(field), old["metadata"][field]
            if wanted is not None and wanted != actual:
                raise status.conflict(
                    type_,
                    key[1],
                    f"the {word} in the precondition ({wanted}) does not match the {word} in record ({actual})."
                    f" The object might have been {what}",
                    by_kind=True,
                )
        if type_ is NAMESPACE and key[1] in _UNDELETABLE:
            raise status.forbidden(type_, key[1], "this namespace may not be deleted")
        if dry_run:
            return Outcome(200, old)
        self._begin_delete(type_, key, old)
        left = self._storage.get(type_.collection, key)
        if left is not None:
            return Outcome(200, left)
        return Outcome(200, old if type_ is NAMESPACE else status.success(type_, key[1], old["metadata"]["uid"]))

    def existing(self, type_: ResourceType, key: ObjectId) -> JsonObject:
        """The stored object. Raises ApiError 404."""
        obj = self._storage.get(type_.collection, key)
        if obj is None:
            raise status.not_found(type_, key[1])
        return obj

    def _store(
        self,
        type_: ResourceType,
        key: ObjectId,
        obj: JsonObject,
        old: JsonObject,
        options: WriteOptions,
        subresource: str | None,
        warnings: list[str],
        managed_fields: list[JsonObject] | None = None,
    ) -> Outcome:
        """`managed_fields`: those of an apply; after any other write they are computed."""
        sent = obj["metadata"]
        before = old["metadata"]
        if sent.get("uid", before["uid"]) != before["uid"]:
            why = f"Precondition failed: UID in precondition: {sent['uid']}, UID in object meta: {before['uid']}"
            raise status.conflict(type_, key[1], f"StorageError: invalid object, Code: 4, AdditionalErrorMsg: {why}")
        if sent.get("resourceVersion", before["resourceVersion"]) != before["resourceVersion"]:
            raise status.conflict(type_, key[1])
        if subresource == "status":
            # Everything but the status, including metadata, belongs to the other endpoint.
            obj = _with_status(copy_of(old), obj)
        else:
            obj["metadata"] = meta.for_update(sent, before)
            if type_.status_subresource:
                obj = _with_status(obj, copy_of(old))
        if managed_fields is not None:
            obj["metadata"]["managedFields"] = managed_fields
        elif fieldmanagers.is_tracked(old):
            obj["metadata"]["managedFields"] = fieldmanagers.updated(
                type_, old, obj, by=options.manager, subresource=subresource or "", now=rfc3339(self._clock())
            )
        warnings += meta.warnings(obj["metadata"], before)
        self._check(type_, obj, old)
        if type_.counts_generations and _desired(type_, obj) != _desired(type_, old):
            obj["metadata"]["generation"] = before["generation"] + 1
        if options.dry_run or obj == old:
            return Outcome(200, obj, warnings)
        if before.get("deletionTimestamp") and not obj["metadata"].get("finalizers"):
            self._remove(type_, key)
        else:
            self._storage.put(type_.collection, key, obj)
            if type_ is CUSTOM_RESOURCE_DEFINITION:
                self._serve(obj)
        return Outcome(200, obj, warnings)

    def _check(self, type_: ResourceType, obj: JsonObject, old: JsonObject | None) -> None:
        errors = list(meta.errors(obj["metadata"], old and old["metadata"]))
        if not errors:
            errors = type_.admit(obj, old)
            if type_.custom:
                errors = errors + type_.schema.validate(obj, old)
            if type_ is CUSTOM_RESOURCE_DEFINITION:
                errors = errors + customresources.complete(obj, rfc3339(self._clock()))
        if errors:
            raise status.invalid(type_, obj["metadata"].get("name", ""), errors)

    def _check_namespace(self, type_: ResourceType, namespace: str, name: str) -> None:
        held = self._storage.get(NAMESPACE.collection, ("", namespace))
        if held is None:
            raise status.not_found(NAMESPACE, namespace)
        if held["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = status.FieldError(
                "metadata.namespace", "NamespaceTerminating", f"namespace {namespace} is being terminated"
            )
            raise status.forbidden(type_, name, why, [cause])

    def _begin_delete(self, type_: ResourceType, key: ObjectId, old: JsonObject) -> None:
        """Removes the object, or marks it as deleted if it has finalizers or contents."""
        held_by_contents = type_ is NAMESPACE
        if not old["metadata"].get("finalizers") and not held_by_contents:
            self._remove(type_, key)
            return
        if not old["metadata"].get("deletionTimestamp"):
            marked = copy_of(old)
            metadata = marked["metadata"]
            metadata["deletionTimestamp"] = rfc3339(self._clock())
            metadata["deletionGracePeriodSeconds"] = 0
            if type_.counts_generations:
                metadata["generation"] += 1
            if type_ is NAMESPACE:
                marked["status"] = {**marked.get("status", {}), "phase": "Terminating"}
            self._storage.put(type_.collection, key, marked)
        if type_ is NAMESPACE:
            for content in self._contents(key[1]):
                self._delete_all(content, key[1])
            self._settle_namespace(key[1])
        elif type_ is CUSTOM_RESOURCE_DEFINITION:
            if defined := self._defined_by(old):
                self._delete_all(defined, None)
            self._settle_definition(key[1])

    def _delete_all(self, type_: ResourceType, namespace: str | None) -> None:
        for obj in self._storage.list(type_.collection, namespace):
            self._begin_delete(type_, key_of(obj), obj)

    def _remove(self, type_: ResourceType, key: ObjectId) -> None:
        gone = self._storage.get(type_.collection, key)
        self._storage.remove(type_.collection, key)
        if type_ is CUSTOM_RESOURCE_DEFINITION and gone is not None:
            self._catalog.serve(key[1], [])
            self._on_gone(_collection_of(gone))
        if key[0]:
            self._settle_namespace(key[0])
        if type_.custom:
            self._settle_definition(f"{type_.plural}.{type_.group}")

    def _settle_namespace(self, namespace: str) -> None:
        """As the namespace controller: removes a terminating namespace once it is empty."""
        held = self._storage.get(NAMESPACE.collection, ("", namespace))
        if held is None or not held["metadata"].get("deletionTimestamp") or held["metadata"].get("finalizers"):
            return
        if not any(self._storage.list(type_.collection, namespace) for type_ in self._contents(namespace)):
            self._remove(NAMESPACE, ("", namespace))

    def _settle_definition(self, crd_name: str) -> None:
        """As the CRD finalizer: removes a deleted definition once its last object is removed."""
        collection = CUSTOM_RESOURCE_DEFINITION.collection
        held = self._storage.get(collection, ("", crd_name))
        if held is None or not held["metadata"].get("deletionTimestamp") or self._storage.list(_collection_of(held)):
            return
        kept = [entry for entry in held["metadata"].get("finalizers", ()) if entry != customresources.CLEANUP]
        if not kept:
            self._remove(CUSTOM_RESOURCE_DEFINITION, ("", crd_name))
        elif kept != held["metadata"]["finalizers"]:
            freed = copy_of(held)
            freed["metadata"]["finalizers"] = kept
            self._storage.put(collection, ("", crd_name), freed)

    def _contents(self, namespace: str) -> list[ResourceType]:
        """One type for each collection with objects in the namespace."""
        types = {type_.collection: type_ for type_ in self._catalog if type_.namespaced and type_.stored_as is None}
        return [type_ for type_ in types.values() if self._storage.list(type_.collection, namespace)]

    def _defined_by(self, crd: JsonObject) -> ResourceType | None:
        return self._catalog.by_plural(*_collection_of(crd))

    def _serve(self, crd: JsonObject) -> None:
        self._catalog.serve(crd["metadata"]["name"], customresources.types_of(crd))


def key_of(obj: JsonObject) -> ObjectId:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _collection_of(crd: JsonObject) -> CollectionId:
    return crd["spec"]["group"], crd["spec"]["names"]["plural"]


def _desired(type_: ResourceType, obj: JsonObject) -> JsonObject:
    """The members whose edits raise the generation."""
    ignored = ("metadata", "status") if type_.status_subresource else ("metadata",)
    return {key: value for key, value in obj.items() if key not in ignored}


def _with_status(obj: JsonObject, other: JsonObject) -> JsonObject:
    kept = {key: value for key, value in obj.items() if key != "status"}
    return {**kept, "status": other["status"]} if "status" in other else kept


def _cannot_be_handled(type_: ResourceType, why: Undecodable) -> status.ApiError:
    return status.bad_request(f'{type_.kind} in version "{type_.version}" cannot be handled as a {type_.kind}: {why}')


def _same_namespace(metadata: JsonObject, namespace: str) -> None:
    if metadata.get("namespace", namespace) != namespace:
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def _check_identity(metadata: JsonObject, key: ObjectId) -> None:
    name = metadata.get("name", key[1])
    if name != key[1]:
        raise status.bad_request(f"the name of the object ({name}) does not match the name on the URL ({key[1]})")
    _same_namespace(metadata, key[0])
    metadata["name"] = key[1]
