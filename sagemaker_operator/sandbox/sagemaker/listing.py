"""List operations with AWS's order of things: sort, cut a page of MaxResults, and only then filter it.

That is documented for StatusEquals ("the MaxResults number of training jobs are first retrieved ignoring the
StatusEquals parameter and then they are filtered"): a page may be short or empty and still have a NextToken.
"""

from __future__ import annotations

import base64
import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from sagemaker_operator.sandbox.sagemaker.protocol import invalid
from sagemaker_operator.sandbox.sagemaker.records import Record

if TYPE_CHECKING:
    from sagemaker_operator.kinds.descriptor import ListFacts

_PAGE = 10
"""AWS's page when MaxResults is not given."""

_PAGING = frozenset({"NextToken", "MaxResults", "SortBy", "SortOrder"})
_BEFORE_PAGING = frozenset(
    {
        *("NameContains", "PipelineNamePrefix", "CreationTimeAfter", "CreationTimeBefore"),
        *("CreatedAfter", "CreatedBefore", "ModelPackageType", "ModelPackageGroupName", "CrossAccountFilterOption"),
    }
)

Position = tuple[str, int]
"""Sort value and record number: where a page ends. It survives creations and deletions between two pages."""
Summarize = Callable[[Record], dict[str, Any]]


def list_page(
    facts: ListFacts,
    records: Sequence[Record],
    given: Mapping[str, Any],
    summarize: Summarize,
    *,
    now: float,
    status_member: str | None,
) -> dict[str, Any]:
    """One page of output. `records` come oldest first. Raises ServiceError for a NextToken that is not ours."""
    by = given.get("SortBy", "CreationTime")
    ordered = _in_order(records, given, by, now)
    found = (record for record in ordered if not record.gone(now) and _selected(record, facts, given))
    page = list(islice(found, given.get("MaxResults", _PAGE)))
    filters = {name: value for name, value in given.items() if _is_late_filter(name, facts)}
    entries = [entry for record in page if _passes(entry := summarize(record), filters, status_member)]
    output: dict[str, Any] = {facts.result: entries}
    if next(found, None) is not None:
        output["NextToken"] = _token(_position(page[-1], by, now))
    return output


def _in_order(records: Sequence[Record], given: Mapping[str, Any], by: str, now: float) -> Iterator[Record]:
    """The records that are still to come, in the order asked for."""

    def position(record: Record) -> Position:
        return _position(record, by, now)

    # Creation order is how records come, so the common case neither sorts nor looks at what earlier pages held.
    ordered = sorted(records, key=position) if by in ("Name", "Status") else records
    reached = _parse(given.get("NextToken"))
    # AWS documents Ascending as the default of several lists and answers newest first.
    if given.get("SortOrder", "Descending") == "Descending":
        end = len(ordered) if reached is None else bisect_left(ordered, reached, key=position)
        return (ordered[index] for index in range(end - 1, -1, -1))
    start = 0 if reached is None else bisect_right(ordered, reached, key=position)
    return (ordered[index] for index in range(start, len(ordered)))


def _position(record: Record, by: str, now: float) -> Position:
    match by:
        case "Name":
            return (record.name, record.number)
        case "Status":
            return (record.status(now), record.number)
        case _:
            # Creation time and number rise together.
            return ("", record.number)


def _selected(record: Record, facts: ListFacts, given: Mapping[str, Any]) -> bool:
    """The filters that AWS applies before paging, and the parent that some lists require."""
    after = given.get("CreationTimeAfter", given.get("CreatedAfter"))
    before = given.get("CreationTimeBefore", given.get("CreatedBefore"))
    return (
        given.get("NameContains", "") in record.name
        and record.name.startswith(given.get("PipelineNamePrefix", ""))
        and (after is None or record.created > after)
        and (before is None or record.created < before)
        and all(record.input.get(parent) == given[parent] for parent in facts.required)
    )


def _is_late_filter(name: str, facts: ListFacts) -> bool:
    return name not in _PAGING and name not in _BEFORE_PAGING and name not in facts.required


def _passes(entry: Mapping[str, Any], filters: Mapping[str, Any], status_member: str | None) -> bool:
    return all(_satisfies(entry, name, wanted, status_member) for name, wanted in filters.items())


def _satisfies(entry: Mapping[str, Any], name: str, wanted: Any, status_member: str | None) -> bool:
    if name.endswith("TimeAfter"):
        return bool(entry.get(name.removesuffix("After"), 0.0) > wanted)
    if name.endswith("TimeBefore"):
        return bool(entry.get(name.removesuffix("Before"), 0.0) < wanted)
    if name.endswith("Contains"):
        return wanted in str(entry.get(name.removesuffix("Contains"), ""))
    member = name.removesuffix("Equals")
    # StatusEquals filters TrainingJobStatus, WarmPoolStatusEquals WarmPoolStatus.Status.
    value = entry.get(status_member if member == "Status" and status_member else member)
    return bool((value.get("Status") if isinstance(value, dict) else value) == wanted)


def _token(position: Position) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _parse(token: str | None) -> Position | None:
    if token is None:
        return None
    try:
        value, number = json.loads(base64.urlsafe_b64decode(token))
        return (str(value), int(number))
    except (ValueError, TypeError):
        invalid("The provided NextToken is invalid.")
