"""Sandbox, operator and kubectl as three processes, as in the README."""

from __future__ import annotations

import json
import shutil
import signal
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from sagemaker_operator.kube.layout import LEASE_NAME
from tests.e2e.processes import ROOT, Process, Result, free_port, get, run, sandbox, started, until
from tests.sandbox.sagemaker_support import client_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.kubectl,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on PATH"),
]

SAMPLE = ROOT / "manifests" / "samples" / "trainingjob.yaml"
NAME = yaml.safe_load(SAMPLE.read_text())["metadata"]["name"]
JOB = f"trainingjob/{NAME}"


class Kubectl:
    """The real one, in the sandbox's environment."""

    def __init__(self, env: dict[str, str]) -> None:
        self._env = env

    async def run(self, *arguments: str, stdin: str = "") -> Result:
        return await run("kubectl", *arguments, env=self._env, stdin=stdin)

    async def __call__(self, *arguments: str, stdin: str = "") -> str:
        result = await self.run(*arguments, stdin=stdin)
        assert (result.code, result.err) == (0, ""), (arguments, result)
        return result.out.strip()


def event(name: str) -> Any:
    return lambda line: json.loads(line).get("event") == name


def valid_log(operator: Process) -> list[dict[str, Any]]:
    schema = json.loads((resources.files("sagemaker_operator") / "log_schema_v1.json").read_text())
    lines = [json.loads(line) for line in operator.out]
    for line in lines:
        Draft202012Validator(schema).validate(line)
    return lines


async def test_a_job_from_apply_to_delete_with_three_programs(tmp_path: Path) -> None:
    # A job of ten minutes is over in three seconds, before the operator's first poll.
    async with sandbox(tmp_path, "--speed", "200") as (sandboxed, env):
        kubectl = Kubectl(env)
        metrics, probes = free_port(), free_port()
        addresses = ("--metrics-addr", f"127.0.0.1:{metrics}", "--healthz-addr", f"127.0.0.1:{probes}")
        command = ("sagemaker-operator", "run", "--enable-object-metrics", *addresses)
        async with started(*command, env=env) as operator:
            await operator.line(event("operator.ready"), "word that it is ready")
            assert await get(f"http://127.0.0.1:{probes}/readyz") == (200, "ok\n")
            assert await get(f"http://127.0.0.1:{probes}/healthz") == (200, "ok\n")
            await operator.line(event("operator.leaderAcquired"), "word that it leads")
            lease = ("get", "lease", LEASE_NAME, "-o", "jsonpath={.spec.holderIdentity}")
            assert await kubectl(*lease) != ""

            assert await kubectl("apply", "-f", str(SAMPLE)) == f"trainingjob.sagemaker.services.k8s.aws/{NAME} created"
            await kubectl("wait", JOB, "--for=condition=Complete", "--timeout=30s")
            header, row = (await kubectl("get", "trainingjob")).splitlines()
            cells = dict(zip(header.split(), row.split(), strict=True))
            assert cells["NAME"] == NAME
            assert (cells["STATUS"], cells["SECONDARY-STATUS"]) == ("Completed", "Completed")

            async def reported() -> bool:
                lines = (await kubectl("describe", JOB)).partition("\nEvents:")[2].splitlines()
                return {"Created", "Completed"} <= {line.split()[1] for line in lines if line.split()[:1] == ["Normal"]}

            await until(reported, "the events Created and Completed")
            status, text = await get(f"http://127.0.0.1:{metrics}/metrics")
            assert status == 200
            assert 'controller_runtime_reconcile_total{controller="trainingjob",result="success"}' in text
            assert (
                'ack_outbound_api_requests_total{op_id="CreateTrainingJob",op_type="CREATE",service="sagemaker"} 1.0'
                in text
            )
            assert f'sagemaker_operator_object_status{{kind="TrainingJob",name="{NAME}",namespace="default"' in text

            deleted = await kubectl("delete", JOB, "--timeout=30s")
            assert deleted.startswith(f'trainingjob.sagemaker.services.k8s.aws "{NAME}" deleted')
            assert "NotFound" in (await kubectl.run("get", JOB)).err

            operator.signal(signal.SIGTERM)
            assert await operator.ended() == 0
            assert operator.err == []
            assert await kubectl(*lease) == "", "the next leader need not wait for it"

        events = [line["event"] for line in valid_log(operator) if "event" in line]
        about = [name for name in events if name.startswith(("job.", "resource."))]
        # States between two polls are reported too, before the end.
        assert [name for name in about if name != "job.transition"] == [
            "job.submitted",
            "job.completed",
            "resource.deleted",
        ]
        assert events[-1] == "operator.stopping"
        sandboxed.signal(signal.SIGINT)
        assert await sandboxed.ended() == 0
        assert sandboxed.err == []


async def test_kill_9_loses_no_job_and_creates_none_twice(tmp_path: Path) -> None:
    finishing, deleted = manifest("finishing", "600"), manifest("deleted", "900000")
    options = ("--speed", "200", "--dir", str(tmp_path / "mine"))
    async with (
        sandbox(tmp_path, *options) as (sandboxed, env),
        client_of(None, url=env["AWS_ENDPOINT_URL"]) as sagemaker,
    ):
        assert env["KUBECONFIG"] == str(tmp_path / "mine" / "kubeconfig")
        kubectl = Kubectl(env)
        # The lease of a killed process must run out first; that wait is tested in virtual time.
        command = ("run", "--enable-leader-election=false", "--metrics-addr=0", "--healthz-addr=0")
        async with started("sagemaker-operator", *command, env=env) as operator:
            await kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([finishing, deleted]))
            for name in ("finishing", "deleted"):
                path = "jsonpath={.status.ackResourceMetadata.arn}"
                await kubectl("wait", f"trainingjob/{name}", f"--for={path}", "--timeout=30s")
            operator.signal(signal.SIGKILL)
            assert await operator.ended() == -signal.SIGKILL
        born = {name: await created_at(sagemaker, name) for name in ("finishing", "deleted")}
        await kubectl("delete", "trainingjob/deleted", "--wait=false")
        assert await status(sagemaker, "deleted") == "InProgress", "no operator runs to stop it"

        async def over() -> bool:
            return await status(sagemaker, "finishing") == "Completed"

        await until(over, "the end of a job without an operator")
        async with started("sagemaker-operator", *command, env=env) as operator:
            await kubectl("wait", "trainingjob/finishing", "--for=condition=Complete", "--timeout=30s")
            await kubectl("wait", "trainingjob/deleted", "--for=delete", "--timeout=30s")
            operator.signal(signal.SIGTERM)
            assert await operator.ended() == 0
            assert operator.err == []
        assert await status(sagemaker, "deleted") == "Stopped"
        assert {name: await created_at(sagemaker, name) for name in born} == born
        jobs = (await sagemaker.list_training_jobs())["TrainingJobSummaries"]
        assert sorted(job["TrainingJobName"] for job in jobs) == ["deleted", "finishing"]
        assert "job.submitted" not in {line.get("event") for line in valid_log(operator)}
        sandboxed.signal(signal.SIGTERM)
        assert await sandboxed.ended() == 0
    assert (tmp_path / "mine" / "kubeconfig").exists(), "a directory that was asked for is kept"


def manifest(name: str, seconds: str) -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load(SAMPLE.read_text())
    made["metadata"]["name"] = made["spec"]["trainingJobName"] = name
    made["spec"]["tags"] = [{"key": "sandbox/seconds", "value": seconds}]
    made["spec"]["stoppingCondition"]["maxRuntimeInSeconds"] = 2_000_000
    return made


async def status(sagemaker: Any, name: str) -> str:
    return str((await sagemaker.describe_training_job(TrainingJobName=name))["TrainingJobStatus"])


async def created_at(sagemaker: Any, name: str) -> Any:
    return (await sagemaker.describe_training_job(TrainingJobName=name))["CreationTime"]
