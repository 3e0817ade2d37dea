"""A user's path can be wrong, endless, huge or probing: the result is one line that says so, and no other effect."""

from __future__ import annotations

from typing import Any

import pytest

from sagemaker_operator.jqpath import PathError, first

DOCUMENT = {
    "metadata": {"name": "churn", "labels": {"team.example.com/name": "growth"}},
    "status": {"arn": "arn:aws:sagemaker:1", "variants": [{"name": "A", "weight": 0.5}], "ready": True, "count": 3},
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (".status.arn", "arn:aws:sagemaker:1"),
        (".status.variants[0].weight", 0.5),
        (".status.ready", True),
        ('.metadata.labels["team.example.com/name"]', "growth"),
        (".status.missing.deeper", None),
        (".status.variants[7]", None),
        (".status.variants", [{"name": "A", "weight": 0.5}]),
        ('.status.variants[] | select(.name == "A") | .weight', 0.5),
        ('.status.arn | split(":") | last', "1"),
        ("empty", None),
        (".status.count, .status.arn", 3),
    ],
)
async def test_the_first_result_is_the_value(path: str, value: Any) -> None:
    assert await first(path, DOCUMENT) == value


@pytest.mark.parametrize(
    ("path", "where"),
    [
        (".status.", "line 1, column 8"),
        (".status.variants[", "line 1, column 17"),
        (".status | nonsense", "nonsense/0 is not defined at line 1, column 11"),
        (".status.arn.deeper", "Cannot index string"),
        ("", "not given"),
    ],
)
async def test_a_path_that_is_wrong_says_where(path: str, where: str) -> None:
    with pytest.raises(PathError) as raised:
        await first(path, DOCUMENT)
    assert repr(path) in str(raised.value)
    assert where in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("path", ["def f: f; f", "[range(1e12)]", '"x" * 2000000000', '"x" * 400000'])
async def test_a_path_that_takes_too_much_is_ended(path: str) -> None:
    with pytest.raises(PathError, match=r"KiB|second"):
        await first(path, DOCUMENT)


@pytest.mark.parametrize("path", ["$ENV.AWS_SECRET_ACCESS_KEY", "env.AWS_SECRET_ACCESS_KEY"])
async def test_a_path_does_not_see_the_operators_environment(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "topsecret")
    assert await first(path, DOCUMENT) is None


@pytest.mark.parametrize(
    "path", [".status.arn | tonumber", ".status.arn | error", ".status.arn[]", ".status.arn | error({})"]
)
async def test_an_error_does_not_quote_the_object(path: str) -> None:
    with pytest.raises(PathError) as raised:
        await first(path, DOCUMENT)
    assert "arn:aws" not in str(raised.value)
