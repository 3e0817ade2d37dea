"""Translates a spec into requests: the Create input with its tags, and the identifiers of a resource. Validates the spec."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator

from sagemaker_operator.aws.translate import to_api
from sagemaker_operator.control.spec.tags import tag_problems, tags_on_create
from sagemaker_operator.crds.schema import spec_schema
from sagemaker_operator.kinds.model import members, operation
from sagemaker_operator.kinds.naming import field_name, field_path

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.objects import KubeObject

# One wrong object can violate dozens of rules; the first few explain it, and a condition has to stay readable.
_SHOWN = 5


@cache
def _validator(kind: Kind) -> Draft202012Validator:
    return Draft202012Validator(spec_schema(kind, resolved=True))


def spec_problems(kind: Kind, spec: Mapping[str, Any]) -> tuple[str, ...]:
    """What SageMaker would refuse in this spec, each with the field's path as the user wrote it. Empty: nothing found.

    The API server checks the same schema at apply; this catches objects stored before, or under ACK's looser CRDs. An
    unknown value of an enum is left to SageMaker, which may support it since this version.
    """
    errors = [error for error in _validator(kind).iter_errors(spec) if error.validator != "enum"]
    errors.sort(key=lambda error: error.json_path)
    found = [_explain(error) for error in errors]
    found += [
        f"spec: exactly one of {', '.join(f'spec.{path}' for path in group)} must be set"
        for group in kind.either_or
        if sum(_at(spec, path) is not None for path in group) != 1 and _parent_present(spec, group)
    ]
    found += tag_problems(spec) if kind.tags_on_create else []
    if len(found) > _SHOWN:
        found = [*found[:_SHOWN], f"and {len(found) - _SHOWN} more"]
    return tuple(found)


def _explain(error: ValidationError) -> str:
    path = "spec" + error.json_path.removeprefix("$")
    wanted: Any = error.validator_value
    given: Any = error.instance
    match error.validator:
        case "required":
            # The library gives one error for each missing name, and the name only in the message.
            missing = next(name for name in wanted if error.message.startswith(repr(name)))
            return f"{path}.{missing}: required"
        case "type":
            return f"{path}: must be {wanted}, not {_type_name(given)}"
        case "pattern":
            return f"{path}: must match {wanted}"
        case "minLength" | "minItems" | "minProperties" | "minimum":
            return f"{path}: must be at least {wanted}" + _unit(error.validator)
        case "maxLength" | "maxItems" | "maxProperties" | "maximum":
            return f"{path}: must be at most {wanted}" + _unit(error.validator)
    # The library's own text would quote the value, which may be a secret.
    return f"{path}: not valid ({error.validator})"


_AT = re.compile(r"(?<=\bat ')[A-Za-z0-9.]+(?=')")


def with_spec_paths(kind: Kind, message: str) -> str:
    """AWS's message about a violated constraint, with the paths of the spec in place of API paths."""
    shape = operation(kind.create).input_shape
    return _AT.sub(lambda path: field_path(shape, path.group()), message)


def _unit(rule: str) -> str:
    return {"Length": " characters", "Items": " items", "Properties": " entries"}.get(rule[3:], "")


def _type_name(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    return names.get(type(value), "null")


def _at(spec: Mapping[str, Any], path: str) -> Any:
    value: Any = spec
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _parent_present(spec: Mapping[str, Any], group: Sequence[str]) -> bool:
    """A rule about members of an optional structure holds only where the structure is given."""
    parents = {path.rpartition(".")[0] for path in group}
    return all(not parent or _at(spec, parent) is not None for parent in parents)


def desired_input(kind: Kind, spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with API names: a Create input, and the members that only an update takes.

    Raises aws.translate's SpecError for a field that the API does not have.
    """
    extra = {member.field for member in kind.extra_spec}
    created = {field: value for field, value in spec.items() if field not in extra}
    desired: dict[str, Any] = to_api(operation(kind.create).input_shape, created)
    if kind.update is not None and (more := {field: spec[field] for field in extra if field in spec}):
        desired |= to_api(operation(kind.update).input_shape, more)
    return desired


def create_request(
    kind: Kind, obj: KubeObject, spec: Mapping[str, Any], *, tag_templates: Sequence[str]
) -> dict[str, Any]:
    """The Create input with its tags and token. Raises aws.translate's SpecError."""
    request = desired_input(kind, spec)
    for member in kind.extra_spec:
        request.pop(member.api, None)
    if kind.tags_on_create:
        request["Tags"] = tags_on_create(obj, request.get("Tags", []), tag_templates)
    if kind.token_member is not None:
        request[kind.token_member] = obj.metadata.uid
    return request


def identifiers(kind: Kind, spec: Mapping[str, Any], arn: str | None) -> dict[str, Any]:
    """The Describe input.

    A recorded ARN outranks the spec: an identifier edited after creation never retargets a call. AWS lower-cases some
    values in ARNs, so the spec's spelling is used while it is the same value.
    """
    found: dict[str, Any] = {}
    recorded = _recorded(kind, spec, arn)
    for member in kind.identifiers:
        value = spec.get(member.field)
        if not isinstance(value, str | int):
            # A CRD looser than ours can store any type. A value that cannot be a name must not reach the poller.
            value = None
        if recorded:
            value = recorded.get(member.api)
        elif value is None and arn is not None and member.api not in kind.optional_identifiers:
            value = arn.rpartition("/")[2] if kind.id_in_arn else arn
        elif member.api == kind.name_member and arn is not None:
            name = arn.rpartition("/")[2]
            if str(value).lower() != name.lower():
                value = name
        if value is not None:
            found[member.api] = value
    return found


def unclear_identity(kind: Kind, spec: Mapping[str, Any], arn: str | None) -> str | None:
    """Which field to restore, if the spec no longer says which identifier a part of the ARN is; else None.

    `identifiers` can only guess in that case, so "not found" does not prove that the resource is gone.
    """
    for members_of_part, part in _parts(kind, arn):
        fields = {member: field_name(member) for member in members_of_part}
        if len(fields) > 1 and not any(_same(spec.get(field), part) for field in fields.values()):
            named = " or ".join(f"spec.{field}" for field in fields.values())
            return f"{named} identifies the resource and is immutable: one of them must be {part!r}, as it was."
    return None


def _recorded(kind: Kind, spec: Mapping[str, Any], arn: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for members_of_part, part in _parts(kind, arn):
        given = {member: spec.get(field_name(member)) for member in members_of_part}
        same = next((member for member, value in given.items() if _same(value, part)), None)
        likely = same or next((member for member, value in given.items() if value is not None), members_of_part[0])
        known: Sequence[str] = getattr(members(operation(kind.create).input_shape)[likely], "enum", ())
        found[likely] = given[same] if same else next((value for value in known if _same(value, part)), part)
    return found


def _parts(kind: Kind, arn: str | None) -> list[tuple[tuple[str, ...], str]]:
    """(members, value) for each part of the ARN that identifies the resource; empty if the ARN has another form."""
    parts = arn.rpartition(":")[2].split("/")[1:] if arn is not None else []
    return list(zip(kind.arn_path, parts, strict=True)) if len(parts) == len(kind.arn_path) else []


def _same(value: Any, part: str) -> bool:
    return value is not None and str(value).lower() == part.lower()
