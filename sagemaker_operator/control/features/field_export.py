"""FieldExport: reads an export and decides about its conditions. Pure; `field_export_controller` does the calls."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from sagemaker_operator.annotations import DELETION_POLICY
from sagemaker_operator.conditions import ADVISORY, ConditionValue, Findings, Progress
from sagemaker_operator.control.spec.reader import SpecReader, is_object_name
from sagemaker_operator.kinds.catalog import no_such_kind
from sagemaker_operator.kinds.descriptor import GROUP as SAGEMAKER
from sagemaker_operator.objects import ObjectKey, Resource
from sagemaker_operator.settings import DeletionPolicy

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sagemaker_operator.objects import KubeObject

FIELD_EXPORTS = Resource("services.k8s.aws", "v1alpha1", "fieldexports", "FieldExport")
FINALIZER = "finalizers.services.k8s.aws/FieldExport"

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
SECRETS = Resource("", "v1", "secrets", "Secret")
_TARGETS = {"configmap": CONFIG_MAPS, "secret": SECRETS}
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


class Target(NamedTuple):
    """One key of one ConfigMap or Secret."""

    kind: str
    """As in the spec: "configmap" or "secret"."""
    namespace: str
    name: str
    key: str

    def __str__(self) -> str:
        return f"key {self.key} of {self.resource.kind} {self.namespace}/{self.name}"

    @property
    def resource(self) -> Resource:
        return _TARGETS[self.kind]

    def stored(self, text: str) -> str:
        """The value as stored in the ConfigMap or Secret."""
        return base64.b64encode(text.encode()).decode() if self.kind == "secret" else text

    def read(self, stored: Mapping[str, Any]) -> str | None:
        """The value of the key in the stored object, or None. Bytes of a Secret that are not text are replaced."""
        value = (stored.get("data") or {}).get(self.key)
        if value is None or self.kind == "configmap":
            return value
        return base64.b64decode(value).decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Export:
    """A FieldExport's spec."""

    group: str
    source: ObjectKey
    path: str
    target: Target | None
    """None: the spec does not name one."""
    problem: str | None = None
    """The first error in the spec, with its field."""

    @property
    def ours(self) -> bool:
        """Whether this operator handles it.

        ACK's controllers share this kind, and each handles the exports from its own group. An export without a group is
        handled here, so that the user gets an error.
        """
        return self.group in (SAGEMAKER, "")


def export_of(obj: KubeObject) -> Export:
    """Total: accepts any stored spec; `problem` is what is wrong with it."""
    spec, meta = SpecReader(obj.decode_spec()), obj.metadata
    group = spec.text("spec.from.resource.group", required=True)
    source = ObjectKey(
        spec.text("spec.from.resource.kind", required=True),
        meta.namespace,
        spec.object_name("spec.from.resource.name", required=True),
    )
    path = spec.text("spec.from.path", required=True)
    to = SpecReader(obj.decode_spec())
    kind, name = to.text("spec.to.kind", required=True), to.object_name("spec.to.name", required=True)
    key = to.text("spec.to.key").strip() or f"{meta.namespace}.{meta.name}"
    namespace = to.namespace("spec.to.namespace") or meta.namespace
    problem = spec.problem or to.problem
    if problem is None and kind not in _TARGETS:
        problem = f"spec.to.kind: must be {' or '.join(_TARGETS)}"
    target = Target(kind, namespace, name, key) if to.problem is None and kind in _TARGETS else None
    return Export(group, source, path, target, problem)


def refusal(export: Export, known: Collection[str], *, cross_namespace: bool) -> Findings | None:
    """Errors that only an edit or another flag can fix."""
    kind = export.source.kind
    if export.problem is not None or export.target is None:
        return terminal("InvalidSpec", export.problem or "spec.to: required")
    if kind not in known:
        return terminal("InvalidSpec", f"spec.from.resource.kind: {no_such_kind(kind, known)}")
    target = export.target
    if not _KEY.fullmatch(target.key):
        text = f"spec.to.key: {target.key!r} is not a valid key: use at most 253 letters, digits, '-', '_' and '.'"
        return terminal("InvalidSpec", text)
    if target.namespace != export.source.namespace and not cross_namespace:
        text = (
            f"spec.to.namespace: {target.namespace!r} is not the namespace of this FieldExport, and the operator runs "
            "with --enable-cross-namespace=false. Choose a target in its own namespace."
        )
        return terminal("CrossNamespace", text)
    return None


def advisory(export: Export) -> dict[str, ConditionValue]:
    """ACK's condition for an export to another namespace, where that is allowed."""
    if export.target is None or export.target.namespace == export.source.namespace:
        return {}
    text = (
        f"The target is in another namespace ({export.target.namespace}). Newer ACK controllers refuse that unless they run "
        "with --enable-cross-namespace=true."
    )
    return {ADVISORY: ("True", "CrossNamespaceOptInRequired", text)}


def document_of(source: KubeObject) -> dict[str, Any]:
    """The document that a path is applied to: the object without managedFields."""
    return {
        "apiVersion": source.api_version,
        "kind": source.kind,
        "metadata": msgspec.to_builtins(source.metadata),
        "spec": source.decode_spec(),
        "status": source.decode_status(),
    }


def is_synced(source: KubeObject) -> bool:
    conditions = source.decode_status().get("conditions") or ()
    return any(c.get("type") == "ACK.ResourceSynced" and c.get("status") == "True" for c in conditions)


def text_of(value: Any) -> str | None:
    """The text to export: strings, integers and booleans as in ACK, and fractions too. None: not exportable."""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode() if isinstance(value, bool | int | float) else None


def digest(uid: str, text: str) -> str:
    """Identifies a value without revealing it: a Secret's value must not be readable in status."""
    return hashlib.sha256(f"{uid}\0{text}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Written:
    """The record of the last write, in status."""

    target: Target
    digest: str

    def as_status(self) -> dict[str, str]:
        return {**self.target._asdict(), "digest": self.digest}


def written_of(status: Mapping[str, Any]) -> Written | None:
    stored = status.get("exported")
    try:
        found = msgspec.convert(stored, _Recorded)
    except msgspec.ValidationError:
        return None  # nothing was written yet, or the record is not one of ours
    if found.kind not in _TARGETS or not all(is_object_name(name) for name in (found.namespace, found.name)):
        return None
    return Written(Target(found.kind, found.namespace, found.name, found.key), found.digest)


class _Recorded(msgspec.Struct):
    kind: str
    namespace: str
    name: str
    key: str
    digest: str


def targets_to_clean(
    export: Export, written: Written | None, *, deleting: bool, others: Collection[Export]
) -> tuple[Target, ...]:
    """The keys to remove: an earlier target, and the present one if the export is being deleted.

    The present one even without a record: a crash may have occurred between the write and its record, and ACK keeps none.
    Keys that another export writes stay: a renamed export is applied before the old one is deleted.
    """
    candidates = ([written.target] if written is not None else []) + ([export.target] if deleting else [])
    taken = {other.target for other in others} | (set() if deleting else {export.target})
    return tuple(dict.fromkeys(target for target in candidates if target is not None and target not in taken))


def retains(obj: KubeObject) -> bool:
    return obj.metadata.annotations.get(DELETION_POLICY) == DeletionPolicy.RETAIN


# --- the conditions --------------------------------------------------------------------------------------------------


def terminal(reason: str, text: str) -> Findings:
    return Findings(Progress.UNKNOWN, "Nothing was exported.", reason, terminal=text)


def waiting(reason: str, text: str) -> Findings:
    return Findings(Progress.UNKNOWN, "The export is waiting.", reason, recoverable=text)


def exported(target: Target) -> Findings:
    return Findings(Progress.SETTLED, f"Exported to {target}.", "Exported")


def no_source(source: ObjectKey) -> Findings:
    return waiting("SourceNotFound", f"There is no {source.kind} {source.name} in namespace {source.namespace} yet.")


def not_synced(source: ObjectKey) -> Findings:
    return waiting("SourceNotSynced", f"{source} is not synced yet; its fields are exported when it is.")


def not_exportable(export: Export, value: Any) -> Findings:
    what = "nothing" if value is None else "a list" if isinstance(value, list) else "an object"
    text = (
        f"spec.from.path: {export.path} gives {what} on {export.source}, and only a string, a number or a boolean can be "
        "exported. It is tried again when that object changes."
    )
    return waiting("PathGivesNoValue", text)


def no_target(target: Target) -> Findings:
    name = f"{target.resource.kind} {target.namespace}/{target.name}"
    return waiting("TargetNotFound", f"There is no {name}: create it, and the operator writes the field.")


def not_allowed(target: Target) -> Findings:
    text = (
        f"The operator may not get and patch {target.resource.plural} in namespace {target.namespace}: apply "
        "manifests/rbac-field-export.yaml, or a Role there. It is tried again every 1 to 15 minutes."
    )
    return waiting("AccessDenied", text)


def refused(target: Target, message: str) -> Findings:
    return waiting("TargetRefused", f"Kubernetes refuses to write {target}: {message}")
