"""ACK's flags (its D.7) and what is wrong with them."""

from __future__ import annotations

import pytest

from sagemaker_operator.errors import ConfigurationError
from sagemaker_operator.settings import FeatureGates, Settings
from tests.cli.test_cli import parsed, run


@pytest.mark.parametrize(
    ("arguments", "setting", "value"),
    [
        (("--enable-carm=false",), "enable_carm", False),
        (("--enable-cross-namespace=false",), "enable_cross_namespace", False),
        (("--enable-field-export-reconciler=false",), "enable_field_export", False),
        (("--feature-gates=TeamLevelCARM=true,ResourceAdoption=false",), "feature_gates",
         FeatureGates(team_level_carm=True, resource_adoption=False)),
        (("--http-client-timeout", "1m30s"), "http_client_timeout", 90.0),
        (("--http-client-timeout", "60s"), "http_client_timeout", 60.0),
        (("--enable-development-logging",), "log_format", "text"),
        (("--enable-development-logging",), "log_level", "debug"),
        (("--log-level", "warn"), "log_level", "warning"),
        (("--reconcile-default-resync-seconds", "0"), "resync_seconds", 36000.0),
        (("--aws-rate-limit", "List=1.5", "--aws-rate-limit", "CreateModel=3"), "aws_rate_limits",
         {"List": 1.5, "CreateModel": 3.0}),
        (("--assume-role-session-tags", "a=1,b=2"), "assume_role_session_tags", ("a=1", "b=2")),
        (("--job-record", "delete"), "job_record", "delete"),
        (("--total-shards", "3", "--shard=2"), "shard", 2),
        (("--enable-webhook-server", "--webhook-server-addr", ":1", "--aws-endpoint-use-path-style"), "shard", 0),
    ],
)  # fmt: skip
def test_a_flag_fills_its_setting(arguments: tuple[str, ...], setting: str, value: object) -> None:
    assert getattr(parsed("--aws-region=eu-west-1", *arguments), setting) == value


def test_helms_environment_for_gates_and_system_namespace() -> None:
    found = parsed(AWS_REGION="eu-west-1", FEATURE_GATES="ReadOnlyResources=false", ACK_SYSTEM_NAMESPACE="ack")
    assert not found.feature_gates.read_only_resources
    assert found.system_namespace == "ack"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--feature-gates", "ResorceAdoption=true"), "did you mean ResourceAdoption?"),
        (("--feature-gates", "ResourceAdoption=maybe"), "GATE=true or GATE=false"),
        (("--http-client-timeout", "60"), "no duration"),
        (("--http-client-timeout", "0s"), "needs time"),
        (("--aws-rate-limit", "List"), "OPERATION=NUMBER"),
    ],
)
def test_a_bad_value_is_wrong_usage(arguments: tuple[str, ...], text: str) -> None:
    result = run("run", "--aws-region=eu-west-1", *arguments)
    assert result.exit_code == 2
    assert text in result.output


def test_role_selectors_exclude_carm() -> None:
    with pytest.raises(ConfigurationError, match="--enable-carm=false"):
        Settings(aws_region="eu-west-1", feature_gates=FeatureGates(iam_role_selector=True))
