"""Turns an edit of the spec into an update request, or into the reason why SageMaker cannot make it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from sagemaker_operator.control.spec.diff import differences
from sagemaker_operator.kinds.described import described_members
from sagemaker_operator.kinds.descriptor import NOTHING_TO_DO, Edit, Verdict
from sagemaker_operator.kinds.model import operation, required_members
from sagemaker_operator.kinds.naming import field_path
from sagemaker_operator.kinds.precision import single_precision
from sagemaker_operator.kinds.updates import accepts, carried, removals, replaced_maps

if TYPE_CHECKING:
    from sagemaker_operator.kinds.descriptor import Kind


def compare(kind: Kind, edit: Edit, *, identity: Mapping[str, Any]) -> tuple[tuple[str, ...], Verdict]:
    """(the differing fields as the user wrote them, what to do). `edit.differing` is filled in here.

    `identity` has all known identifiers of the resource, its ARN included.
    """
    observed = with_create_names(kind, edit.observed)
    returned = described_members(kind).keys() | {path.split(".", 1)[0] for path in kind.read_from}
    comparable = {name: value for name, value in edit.desired.items() if name in returned}
    compared = partial(
        differences,
        ignored=kind.ignored,
        ordered=kind.ordered,
        whole=replaced_maps(kind),
        single=single_precision(kind),
        normalise=kind.hooks.normalise,
    )
    paths = compared(comparable, observed)
    changed = {_top(path) for path in paths}
    gone = removals(kind, edit.desired, observed)
    paths = (*paths, *(f"{member}.{key}" for member, keys in gone.items() for key in keys))
    fields = tuple(_field(kind, path) for path in paths)
    frozen = tuple(field for path, field in zip(paths, fields, strict=True) if not accepts(kind, path))
    proposal = NOTHING_TO_DO
    if frozen:
        proposal = Verdict(reject=_immutable(tuple(dict.fromkeys(frozen))))
    elif paths:
        request = update_request(kind, edit.desired, changed, identity)
        request |= {kind.removed_by[member]: list(keys) for member, keys in gone.items()}
        request |= {member: observed[there] for member, there in kind.update_lock.items()}
        proposal = Verdict(request=request)
    if kind.hooks.plan_update is None:
        return fields, proposal
    edit = replace(
        edit,
        observed=observed,
        differing=paths,
        proposal=proposal,
        met=lambda path, desired, observed: not compared(desired, observed, at=path),
    )
    return fields, kind.hooks.plan_update(edit)


def _immutable(fields: Sequence[str]) -> str:
    verb, pronoun = ("is", "it") if len(fields) == 1 else ("are", "them")
    return (
        f"{', '.join(fields)} {verb} immutable: the SageMaker API cannot update {pronoun}. "
        f"Create a new object to change {pronoun}."
    )


def update_request(
    kind: Kind, desired: Mapping[str, Any], changed: set[str], identity: Mapping[str, Any]
) -> dict[str, Any]:
    """The Update input: identifiers, changed members, and unchanged ones that the operation requires."""
    assert kind.update is not None  # noqa: S101  checked by the caller
    names = kind.update_identifiers or tuple(member.api for member in kind.identifiers)
    request = {name: identity[name] for name in names if name in identity}
    for member, value in desired.items():
        update_name = kind.update_names.get(member, member)
        if member in changed or (
            update_name in required_members(operation(kind.update).input_shape) and update_name not in request
        ):
            request[update_name] = carried(kind, member, value)
    return request


def with_create_names(kind: Kind, observed: Mapping[str, Any]) -> dict[str, Any]:
    """`observed` with the members that Describe names differently also under the names of Create."""
    found = dict(observed)
    for create_path, describe_path in kind.read_from.items():
        value: Any = observed
        for name in describe_path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is None:
            continue
        *parents, last = create_path.split(".")
        place = found
        for name in parents:
            place[name] = dict(place.get(name) or {})
            place = place[name]
        place[last] = value
    return found


def _field(kind: Kind, path: str) -> str:
    extra = next((member.field for member in kind.extra_spec if member.api == _top(path)), None)
    return f"spec.{extra}" if extra else field_path(operation(kind.create).input_shape, path)


def _top(path: str) -> str:
    return path.split(".", 1)[0].removesuffix("[]")
