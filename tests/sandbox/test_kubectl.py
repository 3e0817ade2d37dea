"""The real kubectl, on the emulator and (where they can be compared) on a real API server."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from sagemaker_operator.clock import rfc3339_micro, wall_clock
from sagemaker_operator.sandbox.kubernetes import KubernetesEmulator, serve
from tests.sandbox.kubernetes_support import CRD, Client, training_job

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

pytestmark = [
    pytest.mark.kubectl,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on PATH"),
]

JOB = "trainingjob.sagemaker.services.k8s.aws"
FINALIZER = "finalizers.sagemaker.services.k8s.aws/TrainingJob"


class Result(NamedTuple):
    code: int
    out: str
    err: str


class Kubectl:
    """kubectl with one server and one namespace, and a home of its own."""

    def __init__(self, kubeconfig: Path, namespace: str, home: Path) -> None:
        self._arguments = [
            "--kubeconfig",
            str(kubeconfig),
            "--namespace",
            namespace,
            "--cache-dir",
            str(home / "cache"),
        ]
        self._home = home

    async def run(self, *arguments: str, stdin: Any = None) -> Result:
        """`stdin` is a manifest, or several."""
        process = await asyncio.create_subprocess_exec(
            "kubectl",
            *self._arguments,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "HOME": str(self._home)},
        )
        manifests = stdin if isinstance(stdin, list) else [stdin] if stdin is not None else []
        out, err = await process.communicate(yaml.safe_dump_all(manifests).encode())
        assert process.returncode is not None
        return Result(process.returncode, out.decode(), err.decode())

    async def __call__(self, *arguments: str, stdin: Any = None) -> str:
        """The output of a command that must succeed with an empty stderr."""
        result = await self.run(*arguments, stdin=stdin)
        assert (result.code, result.err) == (0, ""), (arguments, result)
        return result.out.strip()

    @asynccontextmanager
    async def lines(self, *arguments: str) -> AsyncIterator[Callable[[], Awaitable[str]]]:
        """A command that does not end: each call returns its next line."""
        process = await asyncio.create_subprocess_exec(
            "kubectl",
            *self._arguments,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "HOME": str(self._home)},
        )
        assert process.stdout is not None
        output = process.stdout

        async def line() -> str:
            async with asyncio.timeout(20):
                return (await output.readline()).decode()

        try:
            yield line
        finally:
            process.kill()
            await process.communicate()

    async def apply(self, manifest: Any) -> str:
        return await self("apply", "-f", "-", stdin=manifest)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kubectl")


@pytest.fixture
def kubectl(api: Client, home: Path) -> Kubectl:
    return Kubectl(api.server.kubeconfig, api.namespace, home)


async def test_apply_creates_configures_and_leaves_unchanged(kubectl: Kubectl) -> None:
    assert await kubectl.apply(training_job()) == f"{JOB}/one created"
    assert await kubectl.apply(training_job(maxRuntimeInSeconds=5)) == f"{JOB}/one configured"
    assert await kubectl.apply(training_job(maxRuntimeInSeconds=5)) == f"{JOB}/one unchanged"
    assert await kubectl.apply(training_job()) == f"{JOB}/one configured"
    assert "maxRuntimeInSeconds" not in json.loads(await kubectl("get", "tj", "one", "-o", "json"))["spec"]


async def test_apply_refuses_an_unknown_field(kubectl: Kubectl) -> None:
    result = await kubectl.run("apply", "-f", "-", stdin=training_job(nope=1))
    assert (result.code, result.out) == (1, "")
    assert 'strict decoding error: unknown field "spec.nope"' in result.err
    await kubectl.apply(training_job())
    result = await kubectl.run("apply", "-f", "-", stdin=training_job(nope=1))
    assert (result.code, 'unknown field "spec.nope"' in result.err) == (1, True)


async def test_apply_shows_what_the_schema_refuses(kubectl: Kubectl) -> None:
    result = await kubectl.run("apply", "-f", "-", stdin=training_job(mode="Foo"))
    assert result.code == 1
    assert result.err.startswith('The TrainingJob "one" is invalid:')
    assert 'spec.mode: Unsupported value: "Foo": supported values: "File", "Pipe"' in result.err


async def test_apply_shows_what_a_rule_refuses(kubectl: Kubectl) -> None:
    await kubectl.apply(training_job())
    result = await kubectl.run("apply", "-f", "-", stdin=training_job(trainingJobName="two"))
    assert (result.code, "Value is immutable" in result.err) == (1, True)


async def test_built_in_types_can_be_applied_and_changed(kubectl: Kubectl) -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "b"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}}
    assert await kubectl.apply([manifest, secret]) == "configmap/settings created\nsecret/s created"
    assert await kubectl.apply({**manifest, "data": {"c": "d"}}) == "configmap/settings configured"
    assert json.loads(await kubectl("get", "cm", "settings", "-o", "json"))["data"] == {"c": "d"}
    assert await kubectl.apply({**manifest, "data": {"c": "d"}}) == "configmap/settings unchanged"
    assert await kubectl("label", "cm/settings", "a=b") == "configmap/settings labeled"


async def test_get_prints_the_columns(api: Client, kubectl: Kubectl) -> None:
    await kubectl.apply(training_job())
    await api.merge(
        f"{api.jobs}/one/status", {"status": {"trainingJobStatus": "InProgress", "secondaryStatus": "Starting"}}
    )
    header, row = (await kubectl("get", "tj")).splitlines()
    assert header.split() == ["NAME", "STATUS", "SYNCED", "AGE"]
    assert row.split()[:2] == ["one", "InProgress"]
    header, row = (await kubectl("get", "trainingjobs", "one", "-o", "wide")).splitlines()
    assert header.split() == ["NAME", "STATUS", "SECONDARY", "SYNCED", "AGE"]
    assert row.split()[:3] == ["one", "InProgress", "Starting"]
    assert "one" in await kubectl("get", "aws", "-A")
    assert await kubectl("get", "tj", "-l", "a=b", "-o", "name") == ""
    assert yaml.safe_load(await kubectl("get", "tj", "one", "-o", "yaml"))["spec"]["trainingJobName"] == "one"
    assert (await kubectl("get", "tj", "--chunk-size=1", "-o", "name")) == f"{JOB}/one"


async def test_get_of_nothing_says_so(kubectl: Kubectl) -> None:
    assert "No resources found" in (await kubectl.run("get", "tj")).err
    result = await kubectl.run("get", "tj", "nope")
    assert (result.code, result.err.strip()) == (
        1,
        'Error from server (NotFound): trainingjobs.sagemaker.services.k8s.aws "nope" not found',
    )


async def test_describe_shows_the_object(kubectl: Kubectl) -> None:
    await kubectl.apply(training_job())
    text = await kubectl("describe", "tj", "one")
    assert "Role ARN:" in text
    assert "Events:" in text


async def test_explain_prints_the_schema(kubectl: Kubectl) -> None:
    text = await kubectl("explain", "trainingjob.spec.trainingJobName")
    assert "FIELD: trainingJobName <string>" in text
    assert "Name of it." in text
    assert "-required-" in await kubectl("explain", "tj.spec")
    assert "finalizers" in await kubectl("explain", "tj.metadata")
    assert "spec" in await kubectl("explain", "lease")


async def test_patches_labels_and_annotations_are_written(kubectl: Kubectl) -> None:
    await kubectl.apply(training_job())
    merge = json.dumps({"spec": {"maxRuntimeInSeconds": 7}})
    assert await kubectl("patch", "tj", "one", "--type=merge", "-p", merge) == f"{JOB}/one patched"
    edit = json.dumps([{"op": "replace", "path": "/spec/maxRuntimeInSeconds", "value": 8}])
    assert await kubectl("patch", "tj", "one", "--type=json", "-p", edit) == f"{JOB}/one patched"
    assert await kubectl("patch", "tj", "one", "--type=json", "-p", edit) == f"{JOB}/one patched (no change)"
    status = json.dumps({"status": {"secondaryStatus": "Training"}})
    assert (
        await kubectl("patch", "tj", "one", "--subresource=status", "--type=merge", "-p", status)
        == f"{JOB}/one patched"
    )
    assert await kubectl("label", "tj", "one", "team=a") == f"{JOB}/one labeled"
    assert await kubectl("annotate", "tj", "one", "note=b") == f"{JOB}/one annotated"
    job = json.loads(await kubectl("get", "tj", "one", "-o", "json"))
    assert (job["spec"]["maxRuntimeInSeconds"], job["status"]) == (8, {"secondaryStatus": "Training"})
    assert job["metadata"]["labels"] == {"team": "a"}
    assert job["metadata"]["annotations"]["note"] == "b"
    assert await kubectl("get", "tj", "-l", "team=a", "-o", "name") == f"{JOB}/one"
    assert await kubectl("label", "tj", "one", "team-") == f"{JOB}/one unlabeled"


async def test_wait_returns_when_the_condition_comes(api: Client, kubectl: Kubectl) -> None:
    await kubectl.apply(training_job())
    waiting = asyncio.create_task(kubectl("wait", "tj/one", "--for=condition=Complete", "--timeout=20s"))
    condition = {"type": "Complete", "status": "True"}
    await api.merge(f"{api.jobs}/one/status", {"status": {"conditions": [condition]}})
    assert await waiting == f"{JOB}/one condition met"
    path = "--for=jsonpath={.status.conditions[0].type}=Complete"
    assert await kubectl("wait", "tj/one", path, "--timeout=20s") == f"{JOB}/one condition met"
    crd = f"crd/{CRD['metadata']['name']}"
    assert "condition met" in await kubectl("wait", crd, "--for=condition=Established", "--timeout=20s")


async def test_delete_waits_for_the_finalizer(api: Client, kubectl: Kubectl) -> None:
    await kubectl.apply(training_job(metadata={"finalizers": [FINALIZER]}))
    async with api.watch(fieldSelector="metadata.name=one") as watch:
        assert await watch.take(1) == [("ADDED", "one")]
        deleting = asyncio.create_task(kubectl("delete", "tj", "one", "--timeout=20s"))
        assert await watch.take(1) == [("MODIFIED", "one")]
        assert not deleting.done()
        await api.merge(f"{api.jobs}/one", {"metadata": {"finalizers": None}})
        assert await deleting == f'{JOB} "one" deleted'
        assert await watch.take(1) == [("DELETED", "one")]


async def test_diff_asks_the_server_and_stores_nothing(kubectl: Kubectl) -> None:
    await kubectl.apply(training_job(maxRuntimeInSeconds=5))
    result = await kubectl.run("diff", "-f", "-", stdin=training_job(maxRuntimeInSeconds=6))
    assert result.code == 1
    assert "-  maxRuntimeInSeconds: 5" in result.out
    assert "+  maxRuntimeInSeconds: 6" in result.out
    assert (await kubectl.run("diff", "-f", "-", stdin=training_job(maxRuntimeInSeconds=5))).code == 0
    assert (await kubectl.run("diff", "-f", "-", stdin=training_job("new"))).code == 1
    assert "serverside" not in await kubectl("get", "tj", "-o", "name")
    dry = await kubectl("apply", "--dry-run=server", "-f", "-", stdin=training_job("new"))
    assert dry == f"{JOB}/new created (server dry run)"
    assert await kubectl("get", "tj", "-o", "name") == f"{JOB}/one"


async def test_replace_and_create_work(kubectl: Kubectl) -> None:
    assert await kubectl("create", "-f", "-", stdin=training_job()) == f"{JOB}/one created"
    job = json.loads(await kubectl("get", "tj", "one", "-o", "json"))
    job["spec"]["mode"] = "Pipe"
    assert await kubectl("replace", "-f", "-", stdin=job) == f"{JOB}/one replaced"
    again = await kubectl.run("replace", "-f", "-", stdin=job)
    assert (again.code, "the object has been modified" in again.err) == (1, True)


async def test_api_resources_lists_what_is_served(kubectl: Kubectl) -> None:
    lines = [line.split() for line in (await kubectl("api-resources")).splitlines()]
    assert ["trainingjobs", "tj", "sagemaker.services.k8s.aws/v1alpha1", "true", "TrainingJob"] in lines
    assert ["leases", "coordination.k8s.io/v1", "true", "Lease"] in lines


async def test_server_side_apply_names_conflicts_and_forces(kubectl: Kubectl) -> None:
    assert await kubectl("apply", "--server-side", "-f", "-", stdin=training_job(mode="File")) == (
        f"{JOB}/one serverside-applied"
    )
    other = ("apply", "--server-side", "--field-manager=other", "-f", "-")
    refused = await kubectl.run(*other, stdin=training_job(mode="Pipe"))
    assert refused.code == 1
    assert 'conflict with "kubectl": .spec.mode' in refused.err
    forced = await kubectl("apply", "--server-side", "--force-conflicts", *other[2:], stdin=training_job(mode="Pipe"))
    assert forced == f"{JOB}/one serverside-applied"
    assert json.loads(await kubectl("get", "tj", "one", "-o", "json"))["spec"]["mode"] == "Pipe"
    dry = await kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=training_job("two"))
    assert dry == f"{JOB}/two serverside-applied (server dry run)"
    assert await kubectl("get", "tj", "-o", "name") == f"{JOB}/one"


# What real API servers cannot show without their controllers.


@pytest.fixture
async def emulated(tmp_path: Path, home: Path) -> AsyncIterator[Kubectl]:
    emulator = KubernetesEmulator(clock=wall_clock, rng=random.Random(0))
    emulator.install(CRD)
    job = emulator.install(training_job())
    emulator.install(
        {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": "one.1", "namespace": "default"},
            "eventTime": rfc3339_micro(wall_clock()),
            "reportingController": "sagemaker-operator",
            "reportingInstance": "pod-1",
            "action": "Create",
            "reason": "Created",
            "type": "Normal",
            "note": "CreateTrainingJob accepted",
            "regarding": {
                "apiVersion": job["apiVersion"],
                "kind": "TrainingJob",
                "namespace": "default",
                "name": "one",
                "uid": job["metadata"]["uid"],
            },
        }
    )
    async with serve(emulator) as server:
        server.write_kubeconfig(tmp_path / "kubeconfig")
        yield Kubectl(tmp_path / "kubeconfig", "default", home)


async def test_describe_and_get_events_show_the_operators_events(emulated: Kubectl) -> None:
    line = next(line for line in (await emulated("describe", "tj", "one")).splitlines() if "Created" in line)
    kind, reason, _, source, *note = line.split()
    assert (kind, reason, source) == ("Normal", "Created", "sagemaker-operator")
    assert " ".join(note) == "CreateTrainingJob accepted"
    header, row = (await emulated("get", "events")).splitlines()
    assert header.split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert row.split()[1:] == ["Normal", "Created", "trainingjob/one", "CreateTrainingJob", "accepted"]
    assert "CreateTrainingJob accepted" in await emulated("events", "--for", "trainingjob/one")
    assert "one.1" in await emulated("get", "events.events.k8s.io", "-o", "name")


async def test_a_namespace_is_deleted_with_its_content(emulated: Kubectl) -> None:
    await emulated.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    job = training_job("theirs", metadata={"namespace": "team"})
    assert (await emulated.run("-n", "team", "apply", "-f", "-", stdin=job)).code == 0
    # It succeeds with a warning that a namespace is not of the namespace of the command.
    deleted = await emulated.run("delete", "ns", "team", "--timeout=20s")
    assert (deleted.code, deleted.out) == (0, 'namespace "team" deleted\n')
    assert await emulated("get", "tj", "-A", "-o", "name") == f"{JOB}/one"


async def test_kubectls_protobuf_is_understood(emulated: Kubectl) -> None:
    assert await emulated("create", "namespace", "team") == "namespace/team created"
    assert await emulated("create", "configmap", "c", "--from-literal=a=b") == "configmap/c created"
    assert json.loads(await emulated("get", "cm", "c", "-o", "json"))["data"] == {"a": "b"}
    assert await emulated("create", "secret", "generic", "s", "--from-literal=a=b") == "secret/s created"
    assert json.loads(await emulated("get", "secret", "s", "-o", "json"))["data"] == {"a": "Yg=="}
    long = "x" * 300
    assert await emulated("create", "configmap", "long", f"--from-literal=a={long}") == "configmap/long created"
    assert json.loads(await emulated("get", "cm", "long", "-o", "json"))["data"] == {"a": long}
    assert await emulated("create", "serviceaccount", "sa") == "serviceaccount/sa created"
    assert await emulated("auth", "can-i", "create", "trainingjobs") == "yes"


async def test_get_shows_built_in_types_as_a_cluster_does(emulated: Kubectl) -> None:
    header, row = (await emulated("get", "ns", "default")).splitlines()
    assert (header.split(), row.split()[:2]) == (["NAME", "STATUS", "AGE"], ["default", "Active"])
    await emulated.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}})
    header, row = (await emulated("get", "cm", "c")).splitlines()
    assert (header.split(), row.split()[:2]) == (["NAME", "DATA", "AGE"], ["c", "1"])


async def test_a_watch_prints_rows_as_they_come(emulated: Kubectl) -> None:
    async with emulated.lines("get", "tj", "-w") as lines:
        assert (await lines()).split() == ["NAME", "STATUS", "SYNCED", "AGE"]
        assert (await lines()).split()[0] == "one"
        await emulated.apply(training_job("two"))
        assert (await lines()).split()[0] == "two"
