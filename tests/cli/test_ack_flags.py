"""ACK's flags: names, defaults, the arguments of ACK's Deployment, and errors for invalid values."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sagemaker_operator.cli.flags import default_text
from sagemaker_operator.cli.options import OPTIONS, Group
from sagemaker_operator.errors import ConfigurationError
from sagemaker_operator.settings import DeletionPolicy, FeatureGates, Settings
from tests.cli.test_cli import parsed, run

ROOT = Path(__file__).parents[2]

ACK_DEFAULTS = {
    "--metrics-addr": ":8080",  # ACK: 0.0.0.0:8080, which no IPv6 pod is probed at
    "--healthz-addr": ":8081",  # ACK: 0.0.0.0:8081
    "--enable-webhook-server": "",
    "--webhook-server-addr": "",
    "--enable-leader-election": "true",  # ACK: false
    "--leader-election-namespace": "",
    "--enable-field-export-reconciler": "true",
    "--enable-carm": "true",
    "--enable-cross-namespace": "true",
    "--enable-development-logging": "",
    "--aws-region": "",
    "--aws-endpoint-url": "",
    "--aws-identity-endpoint-url": "",
    "--allow-unsafe-aws-endpoint-urls": "false",
    "--aws-endpoint-use-path-style": "",
    "--http-client-timeout": "20s",  # ACK: 60s
    "--log-level": "info",
    "--resource-tags": "services.k8s.aws/controller-version=%CONTROLLER_SERVICE%-%CONTROLLER_VERSION%,"
    "services.k8s.aws/namespace=%K8S_NAMESPACE%",
    "--watch-namespace": "",
    "--watch-selectors": "",
    "--deletion-policy": "delete",
    "--reconcile-default-resync-seconds": "36000",
    "--reconcile-resource-resync-seconds": "",
    "--reconcile-default-max-concurrent-syncs": "16",  # ACK: 1
    "--reconcile-resource-max-concurrent-syncs": "",
    "--reconcile-resources": "",
    "--feature-gates": "ResourceAdoption=true,ReadOnlyResources=true,TeamLevelCARM=false,ServiceLevelCARM=false,"
    "IAMRoleSelector=false",
}
"""ACK's 27 flags with our defaults; where ACK's differ they are named beside."""


@pytest.mark.parametrize("flag", ACK_DEFAULTS)
def test_every_flag_of_ack_is_here_with_its_default(flag: str) -> None:
    (option,) = (option for option in OPTIONS if option.flag == flag)
    assert default_text(option) == ACK_DEFAULTS[flag]


def chart(**values: str) -> list[str]:
    """The arguments that ACK's chart 1.9.1 renders: every value of its own, most of them empty."""
    given = {
        "aws-region": "eu-west-1",
        "aws-endpoint-url": "",
        "aws-identity-endpoint-url": "",
        "log-level": "info",
        "resource-tags": "services.k8s.aws/namespace=%K8S_NAMESPACE%,app.kubernetes.io/managed-by=%MANAGED_BY%",
        "watch-namespace": "",
        "watch-selectors": "",
        "reconcile-resources": "Model,TrainingJob",
        "deletion-policy": "delete",
        "reconcile-default-resync-seconds": "36000",
        "reconcile-default-max-concurrent-syncs": "1",
        "feature-gates": "IAMRoleSelector=false,ReadOnlyResources=true,ResourceAdoption=true,ServiceLevelCARM=false,"
        "TeamLevelCARM=false",
    } | {name.replace("_", "-"): value for name, value in values.items()}
    return [word for name, value in given.items() for word in (f"--{name}", value)]


def test_the_arguments_of_acks_chart_are_understood() -> None:
    found = parsed(*chart(), "--enable-carm=true", "--enable-cross-namespace=true")
    assert found == Settings(
        aws_region="eu-west-1",
        resource_tags=("services.k8s.aws/namespace=%K8S_NAMESPACE%", "app.kubernetes.io/managed-by=%MANAGED_BY%"),
        reconcile_resources=("Model", "TrainingJob"),
        max_concurrent_syncs=1,
    )


def test_acks_chart_with_everything_set() -> None:
    arguments = chart(
        watch_namespace="a,b", watch_selectors="team in (x,y)", deletion_policy="retain", log_level="debug"
    )
    found = parsed(
        *arguments,
        *("--reconcile-resource-resync-seconds", "Endpoint=60", "--reconcile-resource-resync-seconds", "Model=600"),
        *("--reconcile-resource-max-concurrent-syncs", "TrainingJob=4"),
        *("--enable-leader-election", "--leader-election-namespace", "ack-system", "--enable-development-logging"),
    )
    assert found.watch_namespaces == ("a", "b")
    assert found.watch_selectors == "team in (x,y)"
    assert found.deletion_policy is DeletionPolicy.RETAIN
    assert found.resync("Endpoint") == 60
    assert found.resync("Model") == 600
    assert found.workers("TrainingJob") == 4
    assert found.leader_election_namespace == "ack-system"


@pytest.mark.parametrize("option", OPTIONS[1:], ids=lambda option: option.flag)
def test_an_empty_value_counts_as_unset(option: object) -> None:
    flag: str = option.flag  # type: ignore[attr-defined]
    name: str = option.env[-1]  # type: ignore[attr-defined]
    environment = {"SAGEMAKER_OPERATOR_AWS_REGION": "x", name: ""}
    assert parsed(flag, "", **environment) == Settings(aws_region="x")


def test_the_image_has_acks_program(tmp_path: Path) -> None:
    (tmp_path / "sagemaker-operator").symlink_to(Path(sys.executable).with_name("sagemaker-operator"))
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    found = subprocess.run(
        [ROOT / "docker" / "controller", "--aws-region", "", "--watch-namespace", ""],
        env={name: value for name, value in environment.items() if not name.startswith(("AWS_", "SAGEMAKER_"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1
    assert "no AWS region" in found.stderr
    assert "COPY docker/controller /bin/controller" in (ROOT / "docker" / "Dockerfile").read_text()


def test_a_flag_without_effect_says_so_in_the_log() -> None:
    """The start fails behind it: there is no such kubeconfig."""
    result = run(
        *("run", "--aws-region=eu-west-1", "--enable-webhook-server", "--aws-endpoint-use-path-style=false"),
        *("--kubeconfig", "/does/not/exist"),
    )
    (line,) = (json.loads(line) for line in result.output.splitlines() if line.startswith("{"))
    assert (line["level"], line["msg"], line["flag"]) == ("warning", "Flag has no effect", "--enable-webhook-server")


def test_flags_that_do_nothing_are_a_group_of_their_own() -> None:
    reported = run("run", "--help").output.split(Group.IDLE.value)[1]
    assert all(option.flag in reported for option in OPTIONS if option.group is Group.IDLE)


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
        (("--watch-namespace", "a,b", "--watch-namespace=c"), "watch_namespaces", ("a", "b", "c")),
        (("--reconcile-resources", "Model", "--reconcile-resources", "App"), "reconcile_resources", ("Model", "App")),
        (("--resource-tags", 'team=data science,"list=a,b"'), "resource_tags", ("team=data science", "list=a,b")),
        (("--reconcile-resource-resync-seconds", "Endpoint=9, Model=7"), "resync_seconds_of", {"Endpoint": 9, "Model": 7}),
        (("--enable-debug-endpoints",), "debug_endpoints", True),
        (("--enable-webhook-server", "--webhook-server-addr", ":1", "--aws-endpoint-use-path-style"), "shard", 0),
    ],
)  # fmt: skip
def test_a_flag_fills_its_setting(arguments: tuple[str, ...], setting: str, value: object) -> None:
    assert getattr(parsed("--aws-region=eu-west-1", *arguments), setting) == value


def test_a_variable_is_written_as_its_flag() -> None:
    found = parsed(
        AWS_REGION="eu-west-1",
        ACK_RESOURCE_TAGS="team=data science,cost center=7",
        RECONCILE_RESOURCE_RESYNC_SECONDS="Endpoint=60,Model=600",
    )
    assert found.resource_tags == ("team=data science", "cost center=7")
    assert found.resync_seconds_of == {"Endpoint": 60, "Model": 600}


def test_helms_environment_for_gates_and_system_namespace() -> None:
    found = parsed(AWS_REGION="eu-west-1", FEATURE_GATES="ReadOnlyResources=false", ACK_SYSTEM_NAMESPACE="ack")
    assert not found.feature_gates.read_only_resources
    assert found.system_namespace == "ack"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--feature-gates", "ResorceAdoption=true"), "did you mean ResourceAdoption?"),
        (("--feature-gates", "ResourceAdoption=maybe"), "GATE=true or GATE=false"),
        (("--http-client-timeout", "60"), "not a duration"),
        (("--http-client-timeout", "0s"), "needs time"),
        (("--aws-rate-limit", "List"), "OPERATION=NUMBER"),
        (("--aws-rate-limit", "List=0"), "OPERATION=NUMBER"),
        (("--aws-rate-limit", "ListTrainingJob=1"), "no operation 'ListTrainingJob' (did you mean ListTrainingJobs?)"),
        (("--reconcile-resource-resync-seconds", "Endpoint=1,Model"), "'Model' is not KIND=NUMBER"),
        (("--reconcile-resource-max-concurrent-syncs", "Endpoint=0"), "KIND=NUMBER, for example TrainingJob=10"),
    ],
)
def test_a_bad_value_is_wrong_usage(arguments: tuple[str, ...], text: str) -> None:
    result = run("run", "--aws-region=eu-west-1", *arguments)
    assert result.exit_code == 2
    assert text in result.output


def test_role_selectors_exclude_carm() -> None:
    with pytest.raises(ConfigurationError, match="--enable-carm=false"):
        Settings(aws_region="eu-west-1", feature_gates=FeatureGates(iam_role_selector=True))
