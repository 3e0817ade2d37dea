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

from sagemaker_operator.kinds.model import service_model
from sagemaker_operator.sandbox.sagemaker.protocol import invalid
from sagemaker_operator.sandbox.sagemaker.records import Record

if TYPE_CHECKING:
    from sagemaker_operator.kinds.descriptor import ListFacts

_PAGE = 10
"""AWS's page when MaxResults is not given."""

_PAGING = frozenset({"NextToken", "MaxResults", "SortBy", "SortOrder"})
_COMPARISONS = ("After", "Before", "Contains", "Equals")
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
    """One page of output. `records` come oldest first. Raises ServiceError for an unknown NextToken."""
    position = _position(given.get("SortBy", "CreationTime"), summarize, now)
    ordered = _in_order(records, given, position)
    found = (record for record in ordered if not record.gone(now) and _selected(record, facts, given))
    page = list(islice(found, given.get("MaxResults", _PAGE)))
    filters = {name: value for name, value in given.items() if _is_late_filter(name, facts)}
    entries = [entry for record in page if _passes(entry := summarize(record), filters, status_member)]
    output: dict[str, Any] = {facts.result: entries}
    if next(found, None) is not None:
        output["NextToken"] = _token(position(page[-1]))
    return output


def part_page(
    operation: str, entries: Sequence[Mapping[str, Any]], given: Mapping[str, Any], members: Mapping[str, str]
) -> dict[str, Any]:
    """One page of parts of a resource: a pipeline's versions, an execution's steps.

    `entries` come oldest first. `members`: the member of an entry that a SortBy value or a filter refers to where the
    names differ ("Status": "AlertStatus"); a dot leads into a structure. Raises ServiceError for an unknown NextToken.
    """
    model = service_model().operation_model(operation)
    [(result, shape)] = [(name, one) for name, one in model.output_shape.members.items() if one.type_name == "list"]
    # Any other input member names the owner of the entries.
    selecting = {name for name in given if name in shape.member.members or name.endswith(_COMPARISONS)}
    filters = {name: given[name] for name in selecting}
    found = [entry for entry in entries if _passes(entry, filters, members.get("Status"))]
    by = given.get("SortBy", "CreationTime")
    if by != "CreationTime":
        found.sort(key=lambda entry: _member(entry, members.get(by, by)))
    # Newest first, as in the lists of resources; what has no time keeps its order.
    if "SortOrder" in model.input_shape.members and given.get("SortOrder", "Descending") == "Descending":
        found.reverse()
    _, start = _parse(given.get("NextToken")) or ("", 0)
    end = start + given.get("MaxResults", _PAGE)
    output: dict[str, Any] = {result: found[start:end]}
    if end < len(found):
        output["NextToken"] = _token(("", end))
    return output


def _member(entry: Mapping[str, Any], path: str) -> tuple[bool, Any]:
    """A sort value; entries without one come first."""
    value: Any = entry
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value is not None, value


def _in_order(
    records: Sequence[Record], given: Mapping[str, Any], position: Callable[[Record], Position]
) -> Iterator[Record]:
    """The records that are still to come, in the order asked for."""
    # Records come in order of creation, so the common case neither sorts nor reads the records of earlier pages.
    ordered = records if given.get("SortBy", "CreationTime") == "CreationTime" else sorted(records, key=position)
    reached = _parse(given.get("NextToken"))
    # AWS documents Ascending as the default of several lists and answers newest first.
    if given.get("SortOrder", "Descending") == "Descending":
        end = len(ordered) if reached is None else bisect_left(ordered, reached, key=position)
        return (ordered[index] for index in range(end - 1, -1, -1))
    start = 0 if reached is None else bisect_right(ordered, reached, key=position)
    return (ordered[index] for index in range(start, len(ordered)))


def _position(by: str, summarize: Summarize, now: float) -> Callable[[Record], Position]:
    """The sort key of records for SortBy `by`."""

    def value(record: Record) -> str:
        match by:
            case "CreationTime":
                # Creation time and number rise together.
                return ""
            case "Name":
                return record.name
            case "Status":
                return record.status(now)
            case "LastModifiedTime":
                # As text, of one length for centuries.
                return f"{record.last_modified(now):.6f}"
            case _:
                return str(_plain(summarize(record).get(by, "")))

    return lambda record: (value(record), record.number)


def _selected(record: Record, facts: ListFacts, given: Mapping[str, Any]) -> bool:
    """The filters that AWS applies before paging, and the parent that some lists require."""
    after = given.get("CreationTimeAfter", given.get("CreatedAfter"))
    before = given.get("CreationTimeBefore", given.get("CreatedBefore"))
    return (
        given.get("NameContains", "") in record.name
        and record.name.startswith(given.get("PipelineNamePrefix", ""))
        and (after is None or record.created > after)
        and (before is None or record.created < before)
        # A parent may be named by its ARN.
        and all(record.input.get(parent) == str(given[parent]).rpartition("/")[2] for parent in facts.required)
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
    if name == "AdditionalCodeRepositoryEquals":
        return wanted in entry.get("AdditionalCodeRepositories", ())
    member = name.removesuffix("Equals")
    # StatusEquals filters TrainingJobStatus, WarmPoolStatusEquals WarmPoolStatus.Status.
    value = entry.get(status_member if member == "Status" and status_member else member)
    return bool(_plain(value) == wanted)


def _plain(value: Any) -> Any:
    """The status itself where it is in a structure with its reason (`WarmPoolStatus.Status`)."""
    return value.get("Status") if isinstance(value, dict) else value


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
