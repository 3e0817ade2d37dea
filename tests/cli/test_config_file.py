"""--config: flags in a file, below the environment and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sagemaker_operator.errors import ConfigurationError
from sagemaker_operator.settings import DeletionPolicy, FeatureGates
from tests.cli.test_cli import parsed, run

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
aws-region: eu-west-1
watch-namespace: [team-a, team-b]
deletion-policy: retain
resource-tags:
  team: data science
  list: a,b
feature-gates: {TeamLevelCARM: true}
reconcile-resource-resync-seconds: {Endpoint: 60}
reconcile-default-max-concurrent-syncs: 4
http-client-timeout: 30s
enable-carm: false
log-level:
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def test_a_file_has_flags_as_keys(file: Path) -> None:
    found = parsed("--config", str(file))
    assert found.aws_region == "eu-west-1"
    assert found.watch_namespaces == ("team-a", "team-b")
    assert found.deletion_policy is DeletionPolicy.RETAIN
    assert found.resource_tags == ("team=data science", "list=a,b")
    assert found.feature_gates == FeatureGates(team_level_carm=True)
    assert found.resync("Endpoint") == 60
    assert found.workers("Model") == 4
    assert found.http_client_timeout == 30.0
    assert found.enable_carm is False
    assert found.log_level == "info"


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_file(file: Path) -> None:
    found = parsed(
        *("--config", str(file), "--watch-namespace", "flag"),
        ACK_WATCH_NAMESPACE="variable",
        DELETION_POLICY="delete",
    )
    assert found.watch_namespaces == ("flag",)
    assert found.deletion_policy is DeletionPolicy.DELETE
    assert found.aws_region == "eu-west-1"


def test_the_file_may_be_named_by_a_variable(file: Path) -> None:
    assert parsed(SAGEMAKER_OPERATOR_CONFIG=str(file)).aws_region == "eu-west-1"


def test_json_is_accepted_and_an_empty_file_sets_nothing(file: Path) -> None:
    file.write_text('{"aws-region": "us-east-1", "watch-namespace": "a,b"}')
    assert parsed("--config", str(file)).watch_namespaces == ("a", "b")
    file.write_text("# nothing yet\n")
    assert parsed("--aws-region=x", "--config", str(file)).aws_region == "x"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("watch-namespce: a", "no flag 'watch-namespce' (did you mean watch-namespace?)"),
        ("7: a", "no flag 7; `run --help`"),
        ("- aws-region", "one flag a line"),
        ("a: [", "line 1"),
        ("deletion-policy: [retain]", "deletion-policy takes one value"),
    ],
)
def test_a_file_that_cannot_be_understood_is_named(file: Path, content: str, text: str) -> None:
    file.write_text(content)
    with pytest.raises(ConfigurationError) as refused:
        parsed("--config", str(file))
    assert str(refused.value).startswith(f"--config {file}: ")
    assert text in str(refused.value)


def test_a_value_in_the_file_is_checked_as_on_the_command_line(file: Path) -> None:
    file.write_text("aws-region: x\nreconcile-resource-resync-seconds: {Endpoint: soon}\n")
    result = run("run", "--config", str(file))
    assert result.exit_code == 2
    assert "'Endpoint=soon' is not KIND=NUMBER" in result.output
    assert "does not exist" in run("run", "--config", str(file.with_name("none"))).output
