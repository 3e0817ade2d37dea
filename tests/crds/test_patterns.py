from __future__ import annotations

import re

import pytest

from sagemaker_operator.crds.patterns import portable
from sagemaker_operator.kinds.model import service_model


@pytest.mark.parametrize(
    "pattern",
    [
        r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
        r"(https|s3)://([^/]+)/?(.*)",
        r"arn:aws[a-z\-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+",
        r"(?:a|b){1,1000}",
        r"x{2,10}y{1000}",
    ],
)
def test_a_plain_pattern_is_kept_and_matches_whole_strings(pattern: str) -> None:
    assert portable(pattern) == f"^(?:{pattern})$"


def test_a_kept_alternative_is_anchored_as_a_whole() -> None:
    anchored = portable("a|b")
    assert anchored is not None
    assert re.search(anchored, "b")
    assert not re.search(anchored, "xb")
    assert not re.search(anchored, "ay")


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param(r"(?!\s*$).+", id="lookahead"),
        pytest.param(r"[a-z]+(?<!-)", id="lookbehind"),
        pytest.param(r"(?i)a", id="flags"),
        pytest.param(r"(?<name>a)", id="named group"),
        pytest.param(r"a{1,2048}", id="repeat above 1000"),
        pytest.param(r"(a{0,100}b){0,20}", id="nested repeats above 1000"),
        pytest.param(r"((a{40})b){30}", id="deeper repeats above 1000"),
        pytest.param(r"[\u0020-\uD7FF]*", id="unicode escape"),
        pytest.param(r"[\p{Alnum}]+", id="posix class"),
        pytest.param(r"[\p{L}]+", id="unicode class, which Python has not"),
        pytest.param(r"(a)\1", id="back reference"),
        pytest.param(r"a++", id="possessive"),
        pytest.param(r"[a-z&&[^b]]", id="intersection"),
        pytest.param(r"(a", id="unbalanced"),
        pytest.param(r".*", id="anything"),
        pytest.param(r"[\S\s]*", id="really anything"),
    ],
)
def test_a_pattern_that_go_python_and_java_read_differently_is_dropped(pattern: str) -> None:
    assert portable(pattern) is None


def test_most_patterns_of_the_model_are_kept() -> None:
    shapes = map(service_model().shape_for, service_model().shape_names)
    patterns = {shape.metadata["pattern"] for shape in shapes if "pattern" in shape.metadata}
    kept = {pattern for pattern in patterns if portable(pattern)}
    assert len(kept) / len(patterns) > 0.8
