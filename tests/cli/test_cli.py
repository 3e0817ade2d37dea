"""The command line: flags, environment, exit codes and output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sagemaker_operator import __version__
from sagemaker_operator.cli import cli, main
from sagemaker_operator.cli.flags import settings_from, settings_options
from sagemaker_operator.cli.options import OPTIONS
from sagemaker_operator.crds.runtime import runtime_crds
from sagemaker_operator.errors import ConfigurationError
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.sandbox.sagemaker.lifecycle import HELP
from sagemaker_operator.settings import Cadence, DeletionPolicy, Settings, split_address


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(cli, arguments, env=environment)


def parsed(*arguments: str, **environment: str) -> Settings:
    """The settings that `run` would start with."""
    found: list[Settings] = []

    @settings_options
    def command(**values: object) -> None:
        found.append(settings_from(values))

    result = CliRunner().invoke(command, arguments, env=environment, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return found[0]


def test_version() -> None:
    assert run("version").output.strip() == __version__


def test_crds_prints_what_is_committed() -> None:
    committed = [path.read_text() for path in Path("manifests/crds").glob("*.yaml")]
    assert sorted(run("crds").output.split("---\n")) == sorted(committed)


def test_crds_are_written_into_a_directory(tmp_path: Path) -> None:
    result = run("crds", "--out", str(tmp_path / "new"))
    written = sorted(str(path) for path in (tmp_path / "new").glob("*.yaml"))
    assert sorted(result.output.splitlines()) == written
    assert len(written) == len(catalog()) + len(runtime_crds())


def test_kinds_as_table_and_as_json() -> None:
    rows = json.loads(run("kinds", "--format", "json").output)
    assert [row["kind"] for row in rows] == list(catalog())
    training = next(row for row in rows if row["kind"] == "TrainingJob")
    assert training["operations"]["create"] == "CreateTrainingJob"
    assert training["onDelete"] == "stop"
    assert training["longRunning"] is True
    table = run("kinds").output.splitlines()
    assert len(table) == len(rows) + 1
    assert table[0].split()[0] == "KIND"
    assert max(len(line) for line in table) <= 120
    lines = {line.split()[0]: line.split()[1:] for line in table}
    assert lines["TrainingJob"] == [
        "smtj",
        "yes",
        "Create",
        "Update",
        "Stop",
        "Delete",
        "stop",
        "4",
        "fields",
        "changes",
    ]
    assert lines["PipelineExecution"] == ["smpe", "yes", "Start", "Update", "Stop", "stop", "3", "fields", "each"]
    assert lines["Model"] == ["smmodel", "no", "Create", "Delete", "delete", "-", "never"]
    for row in rows:
        assert lines[row["kind"]][1] == ("yes" if row["longRunning"] else "no")


def test_what_tags_and_names_mean_is_in_the_sandboxs_help() -> None:
    output = run("sandbox", "--help").output
    assert HELP.strip() in output
    assert "--quota" in output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--quota", "ml.m5.xlarg=2"), "there is no type 'ml.m5.xlarg' (did you mean ml.m5.xlarge?)"),
        (("--quota", "ml.m5.xlarge"), "TYPE=NUMBER, for example ml.m5.xlarge=2"),
        (("--rate-limit", "Lists=2"), "there is no operation 'Lists' (did you mean List?)"),
    ],
)
def test_the_sandbox_knows_types_and_operations(arguments: tuple[str, ...], text: str) -> None:
    result = run("sandbox", *arguments)
    assert result.exit_code == 2
    assert text in result.output


def test_an_unknown_flag_is_wrong_usage_with_a_suggestion() -> None:
    result = run("run", "--aws-regoin", "us-west-2")
    assert result.exit_code == 2
    assert "--aws-region" in result.output


def test_a_missing_region_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.setattr("sys.argv", ["sagemaker-operator", "run"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "sagemaker-operator: no AWS region: pass --aws-region, or set AWS_REGION\n"


def test_flags_are_acks_and_take_acks_forms() -> None:
    settings = parsed(
        *("--aws-region", "eu-west-1", "--enable-leader-election=false", "--deletion-policy", "retain"),
        *("--watch-namespace", "a,b", "--reconcile-resources", "TrainingJob"),
        *(
            "--reconcile-resource-max-concurrent-syncs",
            "TrainingJob=3",
            "--reconcile-resource-resync-seconds",
            "Endpoint=9",
        ),
        *("--resource-tags", "a=1,b=2", "--resource-tags", "c=3"),
    )
    assert settings.leader_election is False
    assert settings.deletion_policy is DeletionPolicy.RETAIN
    assert settings.watch_namespaces == ("a", "b")
    assert settings.workers("TrainingJob") == 3
    assert settings.workers("Other") == settings.max_concurrent_syncs
    assert settings.resync("Endpoint") == 9
    assert settings.resource_tags == ("a=1", "b=2", "c=3")


def test_a_bare_boolean_flag_means_true() -> None:
    assert parsed("--aws-region", "eu-west-1", "--enable-leader-election").leader_election is True


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.flag)
def test_every_flag_has_an_environment_variable(option: object) -> None:
    names = option.env  # type: ignore[attr-defined]
    assert names[0].startswith("SAGEMAKER_OPERATOR_")


def test_acks_environment_is_understood() -> None:
    settings = parsed(
        AWS_REGION="eu-west-1",
        ACK_WATCH_NAMESPACE="team-a",
        DELETION_POLICY="retain",
        ACK_LOG_LEVEL="debug",
        RECONCILE_DEFAULT_RESYNC_SECONDS="60",
    )
    assert settings.watch_namespaces == ("team-a",)
    assert settings.deletion_policy is DeletionPolicy.RETAIN
    assert settings.log_level == "debug"
    assert settings.resync_seconds == 60


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--aws-endpoint-url", "http://x"), "--allow-unsafe-aws-endpoint-urls"),
        (("--aws-endpoint-url", "x"), "is not a URL"),
    ],
)
def test_settings_that_cannot_work_are_refused(arguments: tuple[str, ...], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        parsed("--aws-region", "eu-west-1", *arguments)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("0.0.0.0:8080", ("0.0.0.0", 8080)),
        (":8080", ("", 8080)),
        ("[::]:8080", ("", 8080)),
        ("[::1]:8080", ("::1", 8080)),
        ("[fe80::1%eth0]:8080", ("fe80::1%eth0", 8080)),
        ("0", None),
        ("", None),
    ],
)
def test_addresses(address: str, expected: tuple[str, int] | None) -> None:
    assert split_address("--metrics-addr", address) == expected


@pytest.mark.parametrize(
    "address",
    ["8080", "host:port", "host:99999", ":²", ":-1", ":+1", "::", "::1:80", "[::1]", "[::1", "[h]:80", "[[::1]]:80"],
)
def test_wrong_addresses_name_the_flag(address: str) -> None:
    with pytest.raises(ConfigurationError, match="--metrics-addr"):
        split_address("--metrics-addr", address)


def test_a_cadence_scales_its_seconds_and_not_its_jitter() -> None:
    assert Cadence().scaled(10) == Cadence(
        first=0.5,
        young=2.0,
        base=3.0,
        old=6.0,
        stale=30.0,
        sweep=1.5,
        young_until=6.0,
        base_until=360.0,
        old_until=8640.0,
    )
