"""AddTags, ListTags and DeleteTags, by ARN, for every kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_operator.sandbox.sagemaker.protocol import Scope, ServiceError, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.sandbox.sagemaker.records import Record, Store

MOST = 50
"""Tags of one resource."""


def to_dict(tags: list[Mapping[str, str]]) -> dict[str, str]:
    """Raises ServiceError for a key given twice and for keys that AWS reserves."""
    found = {tag["Key"]: tag["Value"] for tag in tags}
    if len(found) < len(tags):
        invalid("Duplicate tag keys found in the request.")
    if any(key.lower().startswith("aws:") for key in found):
        invalid("Tag keys that start with aws: are reserved for system use.")
    return found


def call(operation: str, given: Mapping[str, Any], store: Store, scope: Scope, *, now: float) -> dict[str, Any]:
    """Answer one of the three operations. Raises ServiceError."""
    record = _record(given["ResourceArn"], store, scope, now=now)
    match operation:
        case "AddTags":
            tags = {**record.tags, **to_dict(given["Tags"])}
            if len(tags) > MOST:
                raise ServiceError("ResourceLimitExceeded", f"A resource cannot have more than {MOST} tags.")
            record.tags = tags
            return {"Tags": _as_list(tags)}
        case "ListTags":
            # MaxResults is at least 50, which is all that a resource can have: one page is always enough.
            return {"Tags": _as_list(record.tags)}
        case _:
            record.tags = {key: value for key, value in record.tags.items() if key not in given["TagKeys"]}
            return {}


def _as_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _record(arn: str, store: Store, scope: Scope, *, now: float) -> Record:
    record = store.by_arn(arn, scope, now=now)
    if record is None:
        invalid(f"Could not find resource {arn}.")
    return record
