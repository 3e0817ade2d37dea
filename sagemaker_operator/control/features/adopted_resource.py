"""AdoptedResource: what one asks for, and what follows from what was found. Pure; `control/adopter` carries it out.

ACK reads the resource and writes the whole object. Here the object is made with the annotations of adoption and without a
spec, which the CRDs allow, and `control/adoption` does the rest: one way to adopt, with one set of answers.
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
"""ACK puts it on and does nothing before it takes it off; here it is only taken off."""

ADOPTED_REASON = "Adopted"

_ARN = re.compile(r"arn:[\w-]+:sagemaker:[\w-]*:\d*:\S+")
_OURS = frozenset({ADOPTION_POLICY, ADOPTION_FIELDS, ADOPTED, ADOPTED_RESOURCE})


@dataclass(frozen=True, slots=True)
class Request:
    """An AdoptedResource: the object that it asks for, and the resource that the object is to stand for."""

    group: str
    target: ObjectKey
    metadata: Mapping[str, Any]
    """What `spec.kubernetes.metadata` says of the object."""
    aws: Mapping[str, Any]
    home: ObjectKey
    region: str | None
    problem: str | None = None
    """The first mistake in the spec, with its field."""

    @property
    def ours(self) -> bool:
        """ACK's controllers share this kind: each serves its own group. One without a group is served by no other
        controller, and its author waits for an answer."""
        return self.group in (SAGEMAKER, "")

    @property
    def mark(self) -> str:
        return f"{self.home.namespace}/{self.home.name}"


def request_of(obj: KubeObject) -> Request:
    """Total: whatever was stored as a spec, `problem` says what is wrong with it."""
    spec, meta = SpecReader(obj.decode_spec()), obj.metadata
    group = spec.text("spec.kubernetes.group", required=True)
    kind = spec.text("spec.kubernetes.kind", required=True)
    # ACK has a generateName in the schema and the name of the AdoptedResource in its place.
    namespace = spec.namespace("spec.kubernetes.metadata.namespace") or meta.namespace
    target = ObjectKey(kind, namespace, spec.object_name("spec.kubernetes.metadata.name") or meta.name)
    wanted: dict[str, Any] = {
        name: spec.texts(f"spec.kubernetes.metadata.{name}") for name in ("annotations", "labels")
    }
    wanted["ownerReferences"] = spec.mapping("spec.kubernetes.metadata").get("ownerReferences")
    aws: dict[str, Any] = {name: spec.text(f"spec.aws.{name}") for name in ("nameOrID", "arn")}
    aws["additionalKeys"] = spec.texts("spec.aws.additionalKeys")
    return Request(group, target, wanted, aws, obj.key, meta.annotations.get(REGION), spec.problem)


def is_adopted(obj: KubeObject) -> bool:
    """The end, in ACK too: an AdoptedResource that was adopted once is never looked at again."""
    return _condition(obj, ADOPTED_CONDITION).get("status") == "True"


# --- what is asked for -----------------------------------------------------------------------------------------------


def adoption_fields(kind: Kind, aws: Mapping[str, Any]) -> dict[str, str]:
    """`adoption-fields` of the object. Raises ValueError that says what is wrong, and in which field of the spec."""
    required, optional = adoption_keys(kind)
    name, arn = aws.get("nameOrID") or "", aws.get("arn") or ""
    more = aws.get("additionalKeys") or {}
    if required == (ARN_KEY,):
        if not arn and not name:
            raise ValueError(f"spec.aws.arn: required: {kind.name} is known by its ARN")
        where = "spec.aws.arn" if arn else "spec.aws.nameOrID"
        if not _ARN.fullmatch(arn or name):
            raise ValueError(
                f"{where}: must be the ARN of the {kind.name}, as arn:aws:sagemaker:<region>:<account>:..."
            )
        return {ARN_KEY: arn or name}
    own = _own_key(kind, required)
    if name.startswith("arn:"):
        raise ValueError(f"spec.aws.nameOrID: must be the {own} of the {kind.name}, not its ARN")
    fields = {**more, **({own: name} if name else {})}
    known = (*required, *optional)
    if unknown := sorted(fields.keys() - set(known)):
        text = f"{kind.name} has no {', '.join(unknown)}; it is known by {', '.join(known)}"
        raise ValueError(f"spec.aws.additionalKeys: {text}")
    for key in required:
        if not fields.get(key):
            where = "nameOrID" if key == own else f"additionalKeys.{key}"
            raise ValueError(f"spec.aws.{where}: required: the {key} of the {kind.name}")
    return fields


def _own_key(kind: Kind, required: tuple[str, ...]) -> str:
    """Which of the names is `nameOrID`: the resource's own, not that of what it belongs to. ACK's choice for all kinds."""
    own = kind.name[0].lower() + kind.name[1:]
    return next((key for key in required if key in (f"{own}Name", f"{own}ID")), required[-1])


def refusal(
    request: Request,
    kinds: Mapping[str, Kind],
    *,
    cross_namespace: bool,
    watched: Collection[str] = (),
    adoption: bool = True,
) -> Findings | None:
    """What only an edit (or another flag) can mend. `kinds`: all that there are; `watched`: namespaces, none means all."""
    kind, namespace = request.target.kind, request.target.namespace
    if request.problem is not None:
        return _terminal("InvalidSpec", request.problem)
    if kind not in kinds:
        return _terminal("InvalidSpec", f"spec.kubernetes.kind: {no_such_kind(kind, tuple(kinds))}")
    if not adoption:
        return _terminal("AdoptionDisabled", "The operator runs with --feature-gates ResourceAdoption=false.")
    where = f"spec.kubernetes.metadata.namespace: {namespace!r}"
    if namespace != request.home.namespace and not cross_namespace:
        text = (
            f"{where} is not the namespace of this AdoptedResource, and the operator runs with "
            "--enable-cross-namespace=false. Create the AdoptedResource in the namespace of the object."
        )
        return _terminal("CrossNamespace", text)
    if watched and namespace not in watched:
        return _terminal(
            "NotWatched", f"{where} is not among --watch-namespace: the operator would not see the object."
        )
    try:
        adoption_fields(kinds[kind], request.aws)
    except ValueError as error:
        return _terminal("InvalidSpec", str(error))
    return None


def instructions(request: Request, kind: Kind) -> dict[str, str]:
    """The annotations that make the object adopt the resource."""
    fields = adoption_fields(kind, request.aws)
    return {
        ADOPTION_POLICY: Policy.ADOPT.value,
        ADOPTION_FIELDS: msgspec.json.encode(fields, order="sorted").decode(),
        ADOPTED_RESOURCE: request.mark,
    }


def manifest(request: Request, kind: Kind) -> dict[str, Any]:
    """The object to create. Without a spec: adoption writes it."""
    wanted = request.metadata
    given = {name: value for name, value in (wanted.get("annotations") or {}).items() if name not in _OURS}
    region = {REGION: request.region} if request.region else {}
    metadata: dict[str, Any] = {
        "name": request.target.name,
        "namespace": request.target.namespace,
        "annotations": region | given | instructions(request, kind),
    }
    metadata |= {name: wanted[name] for name in ("labels", "ownerReferences") if wanted.get(name)}
    return {"apiVersion": kind.resource.api_version, "kind": kind.name, "metadata": metadata}


# --- what was found --------------------------------------------------------------------------------------------------


def mends(request: Request, kind: Kind, target: KubeObject) -> dict[str, str] | None:
    """The annotations to write on an object that was made for this AdoptedResource before that was edited."""
    wanted, has = instructions(request, kind), target.metadata.annotations
    mine = has.get(ADOPTED_RESOURCE) == request.mark
    if not mine or _same_request(has, wanted) or _stands_for_it(target) or target.metadata.deletion_timestamp:
        return None
    return wanted


def verdict(request: Request, kind: Kind, target: KubeObject) -> Findings:
    """What the object of that name says about the adoption."""
    if not _same_request(target.metadata.annotations, instructions(request, kind)):
        text = (
            f"{target.key} exists already, and was not made for this. Choose another name in spec.kubernetes.metadata, or "
            "delete that object (with the annotation services.k8s.aws/deletion-policy: retain the resource stays)."
        )
        return _waiting("AlreadyExists", text)
    if target.metadata.deletion_timestamp is not None:
        return _waiting("BeingDeleted", f"{target.key} is being deleted; it is made anew when it is gone.")
    if _stands_for_it(target):
        return _adopted(f"{target.key} stands for the resource.")
    for type_, tell in ((TERMINAL, _terminal), (RECOVERABLE, _waiting)):
        found = _condition(target, type_)
        if found.get("status") == "True":
            return tell(found.get("reason") or "NotAdopted", f"{target.key}: {found.get('message', '')}")
    return pending(request.target)


def edited_too_late(target: ObjectKey) -> Findings:
    """Who waits for the edit to be observed must not wait for ever."""
    return _adopted(f"The resource was adopted before this edit, which changes nothing: create another for {target}.")


def pending(target: ObjectKey, selectors: str = "") -> Findings:
    """The object is made and has said nothing yet. `selectors`: the labels that the operator looks for."""
    text = f"{target} was made, and has not been adopted yet."
    if selectors:
        text += f" The operator only sees objects with the labels {selectors} (--watch-selectors)."
    return Findings(Progress.MOVING, text, "Pending", also={ADOPTED_CONDITION: ("Unknown", "Pending", text)})


def unseen(target: ObjectKey) -> Findings:
    text = (
        f"{target} exists already, and the operator does not see it: does it have the labels of --watch-selectors? "
        "It is tried again every 1 to 15 minutes."
    )
    return _waiting("AlreadyExists", text)


def no_namespace(target: ObjectKey) -> Findings:
    return _waiting("NamespaceNotFound", f"{target} cannot be made: there is no namespace {target.namespace}.")


def not_allowed(target: ObjectKey, message: str) -> Findings:
    text = (
        f"The operator may not create {target}: apply manifests/rbac-adopted-resource.yaml, or a Role there ({message}). "
        "It is tried again every 1 to 15 minutes."
    )
    return _waiting("AccessDenied", text)


def refused(target: ObjectKey, message: str) -> Findings:
    return _waiting("TargetRefused", f"Kubernetes refuses to create {target}: {message}")


def _same_request(has: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whoever made the object: it asks for the same resource."""
    try:
        fields = msgspec.json.decode(has.get(ADOPTION_FIELDS, ""))
    except msgspec.DecodeError:
        return False
    return has.get(ADOPTION_POLICY) == wanted[ADOPTION_POLICY] and fields == msgspec.json.decode(
        wanted[ADOPTION_FIELDS]
    )


def _stands_for_it(target: KubeObject) -> bool:
    if target.metadata.annotations.get(READ_ONLY, "").lower() == "true":
        return _condition(target, SYNCED).get("status") == "True"
    return _condition(target, ADOPTED_CONDITION).get("status") == "True"


def _condition(obj: KubeObject, type_: str) -> Mapping[str, Any]:
    conditions = obj.decode_status().get("conditions") or ()
    return next((found for found in conditions if found.get("type") == type_), {})


def _adopted(text: str) -> Findings:
    return Findings(Progress.SETTLED, text, ADOPTED_REASON, also={ADOPTED_CONDITION: ("True", ADOPTED_REASON, text)})


def _terminal(reason: str, text: str) -> Findings:
    return _no(Findings(Progress.UNKNOWN, "Nothing was adopted.", reason, terminal=text), text)


def _waiting(reason: str, text: str) -> Findings:
    return _no(Findings(Progress.UNKNOWN, "The adoption is waiting.", reason, recoverable=text), text)


def _no(findings: Findings, text: str) -> Findings:
    told = {ADOPTED_CONDITION: ("False", findings.reason, text)}
    return Findings(
        findings.progress, findings.message, findings.reason, findings.terminal, findings.recoverable, also=told
    )
