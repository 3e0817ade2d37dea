from __future__ import annotations

import pytest
from botocore.model import StringShape

from sagemaker_operator.kinds.model import input_members, kebab_case, operation, operations, service_model, summary


def test_the_model_is_loaded_once() -> None:
    assert service_model() is service_model()


def test_an_unknown_operation_is_a_lookup_error() -> None:
    with pytest.raises(LookupError, match="CreateUnicorn"):
        operation("CreateUnicorn")


def test_all_operations_are_known() -> None:
    assert {"CreateTrainingJob", "ListTags"} < operations()
    assert len(operations()) >= 409


def test_a_resource_type_is_spelt_with_dashes() -> None:
    assert kebab_case("HyperParameterTuningJob") == "hyper-parameter-tuning-job"


def _documented(text: str) -> StringShape:
    return StringShape("Text", {"type": "string", "documentation": text})


@pytest.mark.parametrize(
    ("documentation", "first"),
    [
        ("<p>The name of the <code>job</code>. It is unique.</p>", "The name of the job."),
        ("<p>No full stop</p>", "No full stop"),
        ("<p>Use a type, e.g. ml.m5.large. Or not.</p>", "Use a type, e.g. ml.m5.large."),
        ("<p>Use e.g. Amazon S3, i.e. a bucket. Or not.</p>", "Use e.g. Amazon S3, i.e. a bucket."),
        ("<p>At most 2.5 hours. More\n   later.</p>", "At most 2.5 hours."),
        ("<p>A &lt;b&gt; &amp; c.</p>", "A <b> & c."),
        ("", ""),
    ],
)
def test_a_summary_is_the_first_sentence_without_markup(documentation: str, first: str) -> None:
    assert summary(_documented(documentation)) == first


def test_a_long_sentence_is_cut_between_words() -> None:
    text = summary(_documented(f"<p>{'word ' * 100}end.</p>"))
    assert len(text) <= 160
    assert text.endswith("word…")


def test_summaries_are_bounded_and_free_of_markup() -> None:
    for shape in input_members("CreateTrainingJob").values():
        assert 0 < len(summary(shape)) <= 160
        assert "<" not in summary(shape)
