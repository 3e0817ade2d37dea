"""The demo command: exit codes and output."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import json_merge_patch
import pytest
import yaml

from sagemaker_operator.cli.demo import load_manifests
from sagemaker_operator.errors import ConfigurationError
from tests.e2e.processes import ROOT, Result, environment, run

if TYPE_CHECKING:
    from pathlib import Path

ACK_JOB = ROOT / "tests" / "e2e" / "fixtures" / "ack_trainingjob.yaml"
SAMPLE = ROOT / "manifests" / "samples" / "trainingjob.yaml"
# A ten-minute job is over before the first poll of the demo's scaled cadence has come round twice.
QUICK = ("--speed", "300")


async def demo(home: Path, *arguments: str) -> Result:
    return await run("sagemaker-operator", "demo", *arguments, env=environment(home))


def report(result: Result) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The one JSON object on stdout, and the log lines on stderr."""
    return json.loads(result.out), [json.loads(line) for line in result.err.splitlines()]


async def test_the_cost_of_a_job_is_one_json_object(tmp_path: Path) -> None:
    # Half a second of real delay is 20 simulated seconds: at more than 40 times, the bill would measure the machine.
    result = await demo(tmp_path, "--speed", "40", "--format", "json")
    assert result.code == 0
    assert result.out.count("\n") == 1
    bill, log = report(result)
    assert bill.keys() == {"objects", "ok"}
    assert bill["ok"] is True
    (job,) = bill["objects"]
    conditions = {condition["type"]: condition["status"] for condition in job.pop("conditions")}
    assert conditions == {"Ready": "True", "ACK.ResourceSynced": "True", "Complete": "True"}
    calls, writes, late = job.pop("awsCalls"), job.pop("kubernetesWrites"), job.pop("secondsToDetect")
    assert job == {
        "kind": "TrainingJob",
        "namespace": "default",
        "name": "xgboost-churn",
        "status": "Completed",
    }
    assert calls["CreateTrainingJob"] == 1
    assert "StopTrainingJob" not in calls
    assert sum(calls.values()) <= 25
    assert writes <= 10
    # The cadence's 30 s and its jitter, and what the machine adds.
    assert 0 <= late <= 60
    assert [line["event"] for line in log][-1] == "operator.stopping"


async def test_a_manifest_written_for_ack_runs_unchanged(tmp_path: Path) -> None:
    result = await demo(tmp_path, *QUICK, "--format", "json", "-f", str(ACK_JOB))
    assert result.code == 0, result
    bill, _ = report(result)
    (job,) = bill["objects"]
    assert job["status"] == "Completed"
    assert job["awsCalls"]["CreateTrainingJob"] == 1


async def test_a_job_that_fails_is_exit_code_1_and_says_why(tmp_path: Path) -> None:
    result = await demo(tmp_path, *QUICK, "--format", "json", "-f", str(job_file(tmp_path, "this-fails-always")))
    assert result.code == 1
    bill, log = report(result)
    assert bill["ok"] is False
    (job,) = bill["objects"]
    assert job["status"] == "Failed"
    failed = next(condition for condition in job["conditions"] if condition["type"] == "Failed")
    reported = next(line for line in log if line["event"] == "job.failed")
    assert reported["failureReason"]
    assert reported["failureReason"] in failed["message"]


async def test_text_output_is_log_lines_and_a_cost_sentence(tmp_path: Path) -> None:
    result = await demo(tmp_path, *QUICK, "--format", "text", "-f", str(job_file(tmp_path, "short-one")))
    assert (result.code, result.err) == (0, "")
    *log, bill = [line for line in result.out.splitlines() if line]
    assert any("TrainingJob default/short-one  Job completed" in line for line in log)
    assert bill.startswith("TrainingJob short-one: Completed, its end observed after ")
    assert "1 CreateTrainingJob" in bill


def job_file(directory: Path, name: str) -> Path:
    manifest = yaml.safe_load(SAMPLE.read_text())
    manifest["metadata"]["name"] = manifest["spec"]["trainingJobName"] = name
    path = directory / "job.yaml"
    path.write_text(yaml.safe_dump(manifest))
    return path


BAD = {
    "no YAML": ("a: [", "is not valid YAML"),
    "no object": ("hello", "holds no Kubernetes object"),
    "nothing": ("# nothing\n", "holds no object"),
    "a foreign kind": ("{apiVersion: v1, kind: Pod, metadata: {name: a}}", "kind 'Pod' is not among"),
    "an old kind": (
        "{apiVersion: sagemaker.aws.amazon.com/v1, kind: BatchTransformJob}",
        "Write it as TransformJob of",
    ),
    "an old kind of the same name": (
        "{apiVersion: sagemaker.aws.amazon.com/v1, kind: TrainingJob}",
        "original SageMaker",
    ),
    "an old policy": (
        "{apiVersion: sagemaker.aws.amazon.com/v1, kind: HostingAutoscalingPolicy}",
        "Application Auto Sc",
    ),
    "a foreign group": ("{apiVersion: x.io/v1, kind: Model}", "must be sagemaker.services.k8s.aws/v1alpha1"),
    "targets alone": (
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}",
        "no object that the operator reconciles",
    ),
    "a kind that is not a name": ("{kind: [TrainingJob]}", "holds no Kubernetes object"),
    "no metadata": ("{kind: TrainingJob, metadata: a}", r"without metadata\.name"),
    "no name": ("{kind: TrainingJob, metadata: {}}", r"without metadata\.name"),
}


@pytest.mark.parametrize(("text", "says"), BAD.values(), ids=BAD)
def test_a_file_that_cannot_be_run_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=rf"^{path}.*{says}"):
        load_manifests([path])


REFUSED = {
    "an unknown field": ({"spec": {"colour": "red"}}, 'unknown field "spec.colour"'),
    "a missing field": ({"spec": {"roleARN": None}}, "spec.roleARN: Required value"),
    "a value that is none of those allowed": (
        {"spec": {"algorithmSpecification": {"trainingInputMode": "Pipes"}}},
        'spec.algorithmSpecification.trainingInputMode: Unsupported value: supported values: "Pipe"',
    ),
    "a foreign namespace": ({"metadata": {"namespace": "ml"}}, "the sandbox has only the namespace default, not ml"),
}


@pytest.mark.parametrize(("change", "says"), REFUSED.values(), ids=REFUSED)
async def test_a_manifest_that_is_refused_is_one_line(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(json_merge_patch.merge(yaml.safe_load(SAMPLE.read_text()), change)))
    result = await demo(tmp_path, *QUICK, "--format", "json", "-f", str(path))
    assert (result.code, result.out) == (1, "")
    *log, complaint = result.err.splitlines()
    assert complaint.startswith("sagemaker-operator: ")
    assert says in complaint
    assert all(json.loads(line) for line in log)


async def test_an_unknown_flag_is_wrong_usage_with_a_suggestion(tmp_path: Path) -> None:
    result = await demo(tmp_path, "--formt", "json")
    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines()[-1] == "Error: No such option '--formt'. Did you mean '--format'?"


async def test_the_operators_own_kinds_run_beside_the_others(tmp_path: Path) -> None:
    job = job_file(tmp_path, "short-one")
    own = {"apiVersion": "services.k8s.aws/v1alpha1"}
    source = {"group": "sagemaker.services.k8s.aws", "kind": "TrainingJob"}
    export = {"from": {"path": ".status.trainingJobStatus", "resource": source | {"name": "short-one"}}}
    adopted = {"aws": {"nameOrID": "short-one"}, "kubernetes": source | {"metadata": {"name": "adopted"}}}
    more = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "target"}},
        own
        | {"kind": "FieldExport", "metadata": {"name": "export"}}
        | {"spec": export | {"to": {"kind": "configmap", "name": "target"}}},
        own | {"kind": "AdoptedResource", "metadata": {"name": "adopt"}, "spec": adopted},
    ]
    (tmp_path / "more.yaml").write_text(yaml.safe_dump_all(more))
    result = await demo(tmp_path, *QUICK, "--format", "json", "-f", str(job), "-f", str(tmp_path / "more.yaml"))
    assert result.code == 0, result
    bill, _ = report(result)
    assert {(one["kind"], one["name"]) for one in bill["objects"]} == {
        ("TrainingJob", "short-one"),
        ("FieldExport", "export"),
        ("AdoptedResource", "adopt"),
    }
