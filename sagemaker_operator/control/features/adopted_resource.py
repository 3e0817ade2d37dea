"""AdoptedResource: reads a request and decides about its conditions. Pure; `adopted_resource_controller` does the calls.

ACK reads the resource and writes the whole object. Here the object is created with the adoption annotations and without a
spec, which the CRDs allow, and the adoption by annotations (`spec/adoption`) does the rest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from sagemaker_operator.annotations import (
    ADOPTED,
    ADOPTED_RESOURCE,
    ADOPTION_FIELDS,
    ADOPTION_POLICY,
    READ_ONLY,
    REGION,
)
from sagemaker_operator.conditions import ADOPTED as ADOPTED_CONDITION
from sagemaker_operator.conditions import RECOVERABLE, SYNCED, TERMINAL, Findings, Progress
from sagemaker_operator.control.spec.adoption import ARN_KEY, Policy, adoption_keys
from sagemaker_operator.control.spec.reader import SpecReader
from sagemaker_operator.kinds.catalog import no_such_kind
from sagemaker_operator.kinds.descriptor import GROUP as SAGEMAKER
from sagemaker_operator.objects import ObjectKey, Resource

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.objects import KubeObject

ADOPTED_RESOURCES = Resource("services.k8s.aws", "v1alpha1", "adoptedresources", "AdoptedResource")
ACK_FINALIZER = "finalizers.services.k8s.aws/AdoptedResource"
"""ACK adds it and does nothing before it removes it; this operator only removes it."""

ADOPTED_REASON = "Adopted"

_ARN = re.compile(r"arn:[\w-]+:sagemaker:[\w-]*:\d*:\S+")
_OWN_ANNOTATIONS = frozenset({ADOPTION_POLICY, ADOPTION_FIELDS, ADOPTED, ADOPTED_RESOURCE})


@dataclass(frozen=True, slots=True)
class Request:
    """The spec of an AdoptedResource: the object to create and the resource that the object is to adopt."""

    group: str
    target: ObjectKey
    metadata: Mapping[str, Any]
    """Annotations, labels and owner references from `spec.kubernetes.metadata`."""
    aws: Mapping[str, Any]
    """The identifiers from `spec.aws`."""
    key: ObjectKey
    """The AdoptedResource."""
    region: str | None
    problem: str | None = None
    """The first error in the spec, with its field."""

    @property
    def ours(self) -> bool:
        """Whether this operator handles it.

        ACK's controllers share this kind, and each handles its own group. A request without a group is handled here, so that
        the user gets an error.
        """
        return self.group in (SAGEMAKER, "")

    @property
    def owner(self) -> str:
        """The value of the annotation that names the AdoptedResource."""
        return f"{self.key.namespace}/{self.key.name}"


def request_of(obj: KubeObject) -> Request:
    """Total: accepts any stored spec; `problem` is what is wrong with it."""
    spec, meta = SpecReader(obj.decode_spec()), obj.metadata
    group = spec.text("spec.kubernetes.group", required=True)
    kind = spec.text("spec.kubernetes.kind", required=True)
    # ACK's schema has generateName too, but ACK uses the name of the AdoptedResource instead.
    namespace = spec.namespace("spec.kubernetes.metadata.namespace") or meta.namespace
    target = ObjectKey(kind, namespace, spec.object_name("spec.kubernetes.metadata.name") or meta.name)
    desired: dict[str, Any] = {
        name: spec.texts(f"spec.kubernetes.metadata.{name}") for name in ("annotations", "labels")
    }
    desired["ownerReferences"] = spec.mapping("spec.kubernetes.metadata").get("ownerReferences")
    aws: dict[str, Any] = {name: spec.text(f"spec.aws.{name}") for name in ("nameOrID", "arn")}
    aws["additionalKeys"] = spec.texts("spec.aws.additionalKeys")
    return Request(group, target, desired, aws, obj.key, meta.annotations.get(REGION), spec.problem)


def is_adopted(obj: KubeObject) -> bool:
    """Whether it is finished. As in ACK, it is not reconciled again after that."""
    return _condition(obj, ADOPTED_CONDITION).get("status") == "True"


# --- the request -----------------------------------------------------------------------------------------------------


def adoption_fields(kind: Kind, aws: Mapping[str, Any]) -> dict[str, str]:
    """The value of `adoption-fields`. Raises ValueError with the field of the spec and what is wrong."""
    required, optional = adoption_keys(kind)
    name, arn = aws.get("nameOrID") or "", aws.get("arn") or ""
    more = aws.get("additionalKeys") or {}
    if required == (ARN_KEY,):
        if not arn and not name:
            raise ValueError(f"spec.aws.arn: required: {kind.name} is identified by its ARN")
        where = "spec.aws.arn" if arn else "spec.aws.nameOrID"
        if not _ARN.fullmatch(arn or name):
            raise ValueError(
                f"{where}: must be the ARN of the {kind.name}, as arn:aws:sagemaker:<region>:<account>:..."
            )
        return {ARN_KEY: arn or name}
    own_key = _own_key(kind, required)
    if name.startswith("arn:"):
        raise ValueError(f"spec.aws.nameOrID: must be the {own_key} of the {kind.name}, not its ARN")
    fields = {**more, **({own_key: name} if name else {})}
    known = (*required, *optional)
    if unknown := sorted(fields.keys() - set(known)):
        text = f"{kind.name} has no {', '.join(unknown)}; its keys are {', '.join(known)}"
        raise ValueError(f"spec.aws.additionalKeys: {text}")
    for key in required:
        if not fields.get(key):
            where = "nameOrID" if key == own_key else f"additionalKeys.{key}"
            raise ValueError(f"spec.aws.{where}: required: the {key} of the {kind.name}")
    return fields


def _own_key(kind: Kind, required: tuple[str, ...]) -> str:
    """The key that `nameOrID` gives: the name of the resource, not of its parent. As in ACK for all kinds."""
    prefix = kind.name[0].lower() + kind.name[1:]
    return next((key for key in required if key in (f"{prefix}Name", f"{prefix}ID")), required[-1])


def refusal(
    request: Request,
    kinds: Mapping[str, Kind],
    *,
    cross_namespace: bool,
    watched: Collection[str] = (),
    adoption: bool = True,
) -> Findings | None:
    """Errors that only an edit or another flag can fix. `kinds`: the whole catalog; `watched`: namespaces, empty means all."""
    kind, namespace = request.target.kind, request.target.namespace
    if request.problem is not None:
        return _terminal("InvalidSpec", request.problem)
    if kind not in kinds:
        return _terminal("InvalidSpec", f"spec.kubernetes.kind: {no_such_kind(kind, tuple(kinds))}")
    if not adoption:
        return _terminal("AdoptionDisabled", "The operator runs with --feature-gates ResourceAdoption=false.")
    where = f"spec.kubernetes.metadata.namespace: {namespace!r}"
    if namespace != request.key.namespace and not cross_namespace:
        text = (
            f"{where} is not the namespace of this AdoptedResource, and the operator runs with "
            "--enable-cross-namespace=false. Create the AdoptedResource in the namespace of the object."
        )
        return _terminal("CrossNamespace", text)
    if watched and namespace not in watched:
        return _terminal(
            "NotWatched", f"{where} is not in --watch-namespace: the operator would not observe the object."
        )
    try:
        adoption_fields(kinds[kind], request.aws)
    except ValueError as error:
        return _terminal("InvalidSpec", str(error))
    return None


def adoption_annotations(request: Request, kind: Kind) -> dict[str, str]:
    """The annotations that make the object adopt the resource."""
    fields = adoption_fields(kind, request.aws)
    return {
        ADOPTION_POLICY: Policy.ADOPT.value,
        ADOPTION_FIELDS: msgspec.json.encode(fields, order="sorted").decode(),
        ADOPTED_RESOURCE: request.owner,
    }


def manifest(request: Request, kind: Kind) -> dict[str, Any]:
    """The object to create, without a spec, which the adoption writes."""
    desired = request.metadata
    given = {name: value for name, value in (desired.get("annotations") or {}).items() if name not in _OWN_ANNOTATIONS}
    region = {REGION: request.region} if request.region else {}
    metadata: dict[str, Any] = {
        "name": request.target.name,
        "namespace": request.target.namespace,
        "annotations": region | given | adoption_annotations(request, kind),
    }
    metadata |= {name: desired[name] for name in ("labels", "ownerReferences") if desired.get(name)}
    return {"apiVersion": kind.resource.api_version, "kind": kind.name, "metadata": metadata}


# --- the result ------------------------------------------------------------------------------------------------------


def changed_annotations(request: Request, kind: Kind, target: KubeObject) -> dict[str, str] | None:
    """The annotations to write if the object was created for an earlier version of this AdoptedResource; else None."""
    desired, current = adoption_annotations(request, kind), target.metadata.annotations
    created_for_it = current.get(ADOPTED_RESOURCE) == request.owner
    if (
        not created_for_it
        or _same_request(current, desired)
        or _has_adopted(target)
        or target.metadata.deletion_timestamp
    ):
        return None
    return desired


def verdict(request: Request, kind: Kind, target: KubeObject) -> Findings:
    """The conditions that follow from the state of the object."""
    if not _same_request(target.metadata.annotations, adoption_annotations(request, kind)):
        text = (
            f"{target.key} exists already, and was not created for this AdoptedResource. "
            "Choose another name in spec.kubernetes.metadata, or delete that object (with the "
            "annotation services.k8s.aws/deletion-policy: retain the resource is kept)."
        )
        return _waiting("AlreadyExists", text)
    if target.metadata.deletion_timestamp is not None:
        return _waiting("BeingDeleted", f"{target.key} is being deleted; it is created again when it is gone.")
    if _has_adopted(target):
        return _adopted(f"{target.key} has adopted the resource.")
    for type_, make in ((TERMINAL, _terminal), (RECOVERABLE, _waiting)):
        found = _condition(target, type_)
        if found.get("status") == "True":
            return make(found.get("reason") or "NotAdopted", f"{target.key}: {found.get('message', '')}")
    return pending(request.target)


def edited_too_late(target: ObjectKey) -> Findings:
    """Conditions for an edit after the adoption: it is observed, but has no effect."""
    return _adopted(f"The resource was adopted before this edit, which changes nothing: create another for {target}.")


def pending(target: ObjectKey, selectors: str = "") -> Findings:
    """The object was created and has no result yet. `selectors`: the value of --watch-selectors."""
    text = f"{target} was created, and has not adopted the resource yet."
    if selectors:
        text += f" The operator only observes objects with the labels {selectors} (--watch-selectors)."
    return Findings(Progress.MOVING, text, "Pending", also={ADOPTED_CONDITION: ("Unknown", "Pending", text)})


def unobserved(target: ObjectKey) -> Findings:
    text = (
        f"{target} exists already, and the operator does not observe it: does it have the labels of --watch-selectors? "
        "It is tried again every 1 to 15 minutes."
    )
    return _waiting("AlreadyExists", text)


def no_namespace(target: ObjectKey) -> Findings:
    return _waiting("NamespaceNotFound", f"{target} cannot be created: there is no namespace {target.namespace}.")


def not_allowed(target: ObjectKey, message: str) -> Findings:
    text = (
        f"The operator may not create {target}: apply manifests/rbac-adopted-resource.yaml, or a Role there ({message}). "
        "It is tried again every 1 to 15 minutes."
    )
    return _waiting("AccessDenied", text)


def refused(target: ObjectKey, message: str) -> Findings:
    return _waiting("TargetRefused", f"Kubernetes refuses to create {target}: {message}")


def _same_request(current: Mapping[str, str], desired: Mapping[str, str]) -> bool:
    """Whether the annotations request the same resource. Who created the object does not matter."""
    try:
        fields = msgspec.json.decode(current.get(ADOPTION_FIELDS, ""))
    except msgspec.DecodeError:
        return False
    return current.get(ADOPTION_POLICY) == desired[ADOPTION_POLICY] and fields == msgspec.json.decode(
        desired[ADOPTION_FIELDS]
    )


def _has_adopted(target: KubeObject) -> bool:
    if target.metadata.annotations.get(READ_ONLY, "").lower() == "true":
        return _condition(target, SYNCED).get("status") == "True"
    return _condition(target, ADOPTED_CONDITION).get("status") == "True"


def _condition(obj: KubeObject, type_: str) -> Mapping[str, Any]:
    conditions = obj.decode_status().get("conditions") or ()
    return next((found for found in conditions if found.get("type") == type_), {})


def _adopted(text: str) -> Findings:
    return Findings(Progress.SETTLED, text, ADOPTED_REASON, also={ADOPTED_CONDITION: ("True", ADOPTED_REASON, text)})


def _terminal(reason: str, text: str) -> Findings:
    return _with_adopted_false(Findings(Progress.UNKNOWN, "Nothing was adopted.", reason, terminal=text), text)


def _waiting(reason: str, text: str) -> Findings:
    return _with_adopted_false(Findings(Progress.UNKNOWN, "The adoption is waiting.", reason, recoverable=text), text)


def _with_adopted_false(findings: Findings, text: str) -> Findings:
    conditions = {ADOPTED_CONDITION: ("False", findings.reason, text)}
    return Findings(
        findings.progress, findings.message, findings.reason, findings.terminal, findings.recoverable, also=conditions
    )
