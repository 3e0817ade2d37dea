"""Which tags are set and removed, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sagemaker_operator.annotations import UID_TAG
from sagemaker_operator.control.spec.tags import UNTAGGED, compare, tag_problems, tagging
from sagemaker_operator.kinds.catalog import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TEMPLATES = ("services.k8s.aws/namespace=%K8S_NAMESPACE%",)
MODEL = catalog()["Model"]


def spec(**tags: str) -> dict[str, object]:
    return {"tags": [{"key": key, "value": value} for key, value in tags.items()]}


@pytest.mark.parametrize(
    ("wanted", "actual", "managed", "add", "remove"),
    [
        ({"a": "1"}, {"a": "1"}, ["a"], {}, ()),
        ({"a": "1"}, {}, ["a"], {"a": "1"}, ()),
        ({"a": "2"}, {"a": "1"}, ["a"], {"a": "2"}, ()),
        ({"a": ""}, {"a": ""}, ["a"], {}, ()),
        ({}, {"a": "1"}, ["a"], {}, ("a",)),
        ({}, {}, ["a"], {}, ()),
        # Somebody else's, and whatever was there before the keys were remembered.
        ({"a": "1"}, {"a": "1", "theirs": "x"}, ["a"], {}, ()),
        ({"a": "1"}, {"a": "1", "b": "1"}, None, {}, ()),
        # Never: AWS's own, the operator's, and what --resource-tags sets.
        ({}, {"aws:cost": "1"}, ["aws:cost"], {}, ()),
        ({}, {UID_TAG: "1"}, [UID_TAG], {}, ()),
        ({}, {"services.k8s.aws/namespace": "x"}, ["services.k8s.aws/namespace"], {}, ()),
        # The user's own value of such a key is the user's.
        ({"services.k8s.aws/namespace": "y"}, {"services.k8s.aws/namespace": "x"}, [], {"services.k8s.aws/namespace": "y"}, ()),
    ],
)  # fmt: skip
def test_only_what_spec_has_or_had_is_touched(
    wanted: Mapping[str, str],
    actual: Mapping[str, str],
    managed: Sequence[str] | None,
    add: Mapping[str, str],
    remove: Sequence[str],
) -> None:
    asked = tagging(MODEL, spec(**wanted), managed, due=True)
    found = compare(asked, actual, managed, TEMPLATES)
    assert (found.add, found.remove) == (add, remove)
    assert found.managed_keys == sorted({*wanted, *remove})


def test_tags_are_not_read_where_there_is_nothing_to_compare() -> None:
    assert not tagging(MODEL, {}, None, due=True).due
    assert not tagging(MODEL, {}, [], due=True).due
    assert not tagging(MODEL, spec(a="1"), ["a"], due=False).due
    assert tagging(MODEL, {}, ["a"], due=True).due
    assert tagging(catalog()["ModelPackage"], spec(a="1"), None, due=True) == UNTAGGED, "it has those of its group"
    assert tagging(catalog()["PipelineExecution"], {}, None, due=True) == UNTAGGED


def test_users_cannot_set_the_operators_tag() -> None:
    assert tagging(MODEL, {"tags": [{"key": UID_TAG, "value": "mine"}]}, None, due=True).desired == {}


@pytest.mark.parametrize(
    ("tags", "problems"),
    [
        (None, []),
        ([], []),
        ([{"key": "a", "value": "1"}], []),
        ([{"key": "a"}, {"key": "a"}], ["spec.tags: 'a' is given twice"]),
        ([{"key": "AWS:a"}], ["spec.tags: 'AWS:a' cannot be set: keys that begin with aws: are AWS's own"]),
        # The schema refuses values that are not a list of tags.
        ("a=1", []),
        ([{"value": "1"}], []),
        ([None], []),
    ],
)
def test_tag_rules_beyond_the_schema(tags: object, problems: list[str]) -> None:
    assert tag_problems({"tags": tags}) == problems


def test_invalid_tags_make_no_call() -> None:
    found = tagging(MODEL, {"tags": [{"key": "a"}, {"key": "a"}]}, ["a"], due=True)
    assert found.problem is not None
    assert not found.due
