"""The error of an operator that cannot start: one line on stderr that says what to change, and exit code 1."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import yaml

from sagemaker_operator.cli import main
from sagemaker_operator.clock import wall_clock
from sagemaker_operator.crds.generate import crd_manifest
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kube.transport import Response
from sagemaker_operator.sandbox.kubernetes import KubernetesEmulator, serve
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from sagemaker_operator.sandbox.sagemaker.http import serve as serve_sagemaker
from sagemaker_operator.sandbox.sagemaker.simulator import SageMakerSimulator
from tests.e2e.harness import Cloud, operator, sample
from tests.e2e.processes import environment, free_port, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from sagemaker_operator.sandbox.kubernetes import Request


class Start:
    """An attempt to start, with a kubeconfig of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.kubeconfig = directory / "kubeconfig"

    def cluster(self, server: str) -> None:
        config = {
            "clusters": [{"name": "here", "cluster": {"server": server}}],
            "users": [{"name": "me", "user": {}}],
            "contexts": [{"name": "mine", "context": {"cluster": "here", "user": "me"}}],
            "current-context": "mine",
        }
        self.kubeconfig.write_text(yaml.safe_dump(config))

    async def complaint(self, *flags: str, env: Mapping[str, str] = {}) -> str:
        """The one line on stderr of a `run` that ends with exit code 1."""
        given = environment(self._directory, AWS_REGION="us-west-2", KUBECONFIG=str(self.kubeconfig)) | env
        addresses = ("--metrics-addr=0", "--healthz-addr=0") if "addr" not in "".join(flags) else ()
        result = await run("sagemaker-operator", "run", *addresses, *flags, env=given)
        assert result.code == 1, result
        (line,) = result.err.splitlines()
        assert line.startswith("sagemaker-operator: ")
        assert "Traceback" not in result.out
        for log in result.out.splitlines():
            assert "exception" not in json.loads(log)
        return line.removeprefix("sagemaker-operator: ")


@pytest.fixture
def start(tmp_path: Path) -> Start:
    return Start(tmp_path)


@asynccontextmanager
async def cluster(*, installed: bool = True) -> AsyncIterator[tuple[KubernetesEmulator, str]]:
    emulator = KubernetesEmulator(clock=wall_clock, rng=random.Random(0))
    for kind in catalog().values() if installed else ():
        emulator.install(crd_manifest(kind))
    async with serve(emulator) as server:
        yield emulator, server.url


# Before anything is asked.


async def test_without_any_cluster_the_error_lists_where_it_searched(start: Start, tmp_path: Path) -> None:
    assert await start.complaint(env={"KUBECONFIG": ""}) == (
        f"no cluster found: not in a pod, KUBECONFIG is not set and {tmp_path}/.kube/config does not exist; pass --kubeconfig"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [("clusters: [", "is broken YAML at line 1"), ("hello", "is not a kubeconfig: see `kubectl config view`")],
    ids=["YAML", "content"],
)
async def test_a_broken_kubeconfig_is_named(start: Start, text: str, says: str) -> None:
    start.kubeconfig.write_text(text)
    assert await start.complaint() == f"kubeconfig {start.kubeconfig} {says}"


async def test_an_unknown_context_is_shown_beside_the_known_ones(start: Start) -> None:
    start.cluster("http://127.0.0.1:1")
    assert await start.complaint("--context", "yours") == (
        f"kubeconfig {start.kubeconfig} has no context 'yours'; it has mine"
    )


FLAGS = {
    "region missing": ((), {"AWS_REGION": ""}, "no AWS region: pass --aws-region, or set AWS_REGION"),
    "plain http": (("--aws-endpoint-url", "http://aws.test"), {}, "pass --allow-unsafe-aws-endpoint-urls to accept it"),
    "no URL": (("--aws-identity-endpoint-url", "sts"), {}, "--aws-identity-endpoint-url 'sts' is not a URL"),
    "namespace": (("--watch-namespace", "ml,Team_A"), {}, "--watch-namespace: 'Team_A' is not a namespace name"),
    "kind": (
        ("--reconcile-resources", "trainingjobs"),
        {},
        "there is no kind 'trainingjobs' (did you mean TrainingJob?)",
    ),
    "kind of a pair": (
        ("--reconcile-resource-max-concurrent-syncs", "TrainJob=3"),
        {},
        "--reconcile-resource-max-concurrent-syncs: there is no kind 'TrainJob' (did you mean TrainingJob?)",
    ),
    "address": (("--metrics-addr", "8080"), {}, "--metrics-addr '8080': write HOST:PORT, or 0 to turn it off"),
    "tag": (("--resource-tags", "team"), {}, "--resource-tags: 'team' is not a tag: write KEY=VALUE"),
}


def ended(flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The exit code of the command, run in this process: none of these gets as far as a connection."""
    monkeypatch.setattr("sys.argv", ["sagemaker-operator", "run", *flags])
    try:
        with pytest.raises(SystemExit) as exit_:
            main()
    finally:
        # The command has pointed the process's logs at this test's captured stdout.
        structlog.reset_defaults()
    return exit_.value.code


@pytest.mark.parametrize(("flags", "env", "says"), FLAGS.values(), ids=FLAGS)
def test_a_flag_that_cannot_work_is_named_before_anything_is_asked(
    flags: tuple[str, ...],
    env: dict[str, str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in ({"AWS_REGION": "us-west-2", "KUBECONFIG": "missing"} | env).items():
        monkeypatch.setenv(name, value)
    assert ended(flags, monkeypatch) == 1
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert says in line


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--watch-selectorz", "a=b"), "Did you mean '--watch-selectors'?"),
        (("--deletion-policy", "keep"), "'keep' is not one of 'delete', 'retain'."),
        (("--reconcile-resource-resync-seconds", "TrainingJob"), "is not KIND=NUMBER, for example Endpoint=600"),
    ],
    ids=["flag", "choice", "pair"],
)
def test_wrong_usage_is_exit_code_2_and_says_what_is_right(
    flags: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(flags, monkeypatch) == 2
    out, err = capsys.readouterr()
    assert out == ""
    last = err.splitlines()[-1]
    assert last.startswith("Error: ")
    assert last.endswith(says)


# What the cluster answers.


async def test_an_unreachable_server_is_named(start: Start) -> None:
    port = free_port()
    start.cluster(f"http://127.0.0.1:{port}")
    line = await start.complaint()
    assert line.startswith(f"cannot reach the API server of kubeconfig {start.kubeconfig}: GET /apis/")
    assert line.endswith(f": cannot connect to http://127.0.0.1:{port}: Connection refused")


async def test_an_https_url_of_a_server_without_tls_is_reported_as_such(start: Start) -> None:
    async with cluster() as (_, url):
        start.cluster(url.replace("http:", "https:"))
        assert "TLS failed (" in await start.complaint()


async def test_a_missing_crd_is_named_with_the_command_that_installs_it(start: Start) -> None:
    async with cluster(installed=False) as (_, url):
        start.cluster(url)
        line = await start.complaint("--reconcile-resources", "TrainingJob")
    assert line == (
        "the cluster has no trainingjobs.sagemaker.services.k8s.aws: "
        "install it with `sagemaker-operator crds | kubectl apply -f -`"
    )


async def test_a_missing_permission_is_named_with_the_file_that_grants_it(start: Start) -> None:
    async with cluster() as (emulator, url):
        emulator.intercept = forbidding("trainingjobs")
        start.cluster(url)
        line = await start.complaint("--watch-namespace", "ml", "--reconcile-resources", "TrainingJob")
    assert line.startswith(
        "not allowed to list trainingjobs in namespace ml: apply manifests/rbac.yaml for this identity"
    )
    assert 'User "nobody" cannot list' in line


async def test_credentials_that_the_server_refuses_are_traced_to_the_kubeconfig(start: Start) -> None:
    async def unauthorized(_: Request) -> Response:
        return refusal(401, "Unauthorized", "Unauthorized")

    async with cluster() as (emulator, url):
        emulator.intercept = unauthorized
        start.cluster(url)
        line = await start.complaint()
    assert line.startswith(f"the API server does not accept the credentials of kubeconfig {start.kubeconfig}: ")


async def test_a_selector_that_the_server_cannot_parse_is_named(start: Start) -> None:
    async with cluster() as (_, url):
        start.cluster(url)
        assert (await start.complaint("--watch-selectors", "team in (a")).startswith(
            "--watch-selectors: 'team in (a' is not a label selector: "
        )


async def test_a_port_that_is_taken_is_named(start: Start) -> None:
    async with cluster() as (_, url):
        start.cluster(url)
        taken = url.removeprefix("http://")
        line = await start.complaint("--metrics-addr=0", f"--healthz-addr={taken}")
    assert line == f"--healthz-addr: cannot listen on {taken}: Address already in use"


# What AWS answers.


async def test_missing_aws_credentials_are_listed_as_ways_to_give_them(start: Start) -> None:
    async with cluster() as (_, url):
        start.cluster(url)
        line = await start.complaint()
    assert "no usable AWS credentials" in line
    assert "(IRSA or EKS Pod Identity), AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile" in line


async def test_a_region_that_does_not_exist_suggests_the_nearest(start: Start) -> None:
    async with cluster() as (_, url):
        start.cluster(url)
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        line = await start.complaint("--aws-region", "us-wset-2", env=keys)
    assert line.startswith("AWS region 'us-wset-2' does not exist (did you mean us-west-2?)")


async def test_credentials_that_aws_refuses_are_reported_with_awss_message(start: Start) -> None:
    simulator = SageMakerSimulator(clock=wall_clock, rng=random.Random(0))
    text = "The security token included in the request is invalid."
    simulator.faults.add(
        Fault(operation="GetCallerIdentity", kind=FaultKind.REJECT, code="InvalidClientTokenId", message=text)
    )
    async with cluster() as (_, url), serve_sagemaker(simulator) as aws:
        start.cluster(url)
        line = await start.complaint(
            *("--aws-identity-endpoint-url", aws.url, "--allow-unsafe-aws-endpoint-urls"),
            env={"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
        )
    assert line.startswith(
        "AWS does not accept the operator's credentials: The security token included in the request is invalid; give the"
    )


def refusal(code: int, reason: str, message: str) -> Response:
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
    body = json.dumps(status | {"reason": reason, "message": message}).encode()
    return Response(code, {"Content-Type": "application/json"}, body)


def forbidding(plural: str) -> Any:
    async def intercept(request: Request) -> Response | None:
        if request.plural != plural or request.verb not in ("list", "watch"):
            return None
        what = f'{plural}.{request.group} is forbidden: User "nobody" cannot {request.verb} resource "{plural}"'
        return refusal(403, "Forbidden", what)

    return intercept


# The same later: the process continues, and reports what is missing.


@pytest.mark.looptime(end=20_000)
async def test_a_revoked_permission_shows_in_readyz_until_it_is_back() -> None:
    cloud = Cloud()
    async with operator(cloud) as manager:
        await cloud.until(lambda: manager.ready() is None)
        cloud.kubernetes.intercept = forbidding("trainingjobs")
        cloud.kubernetes.cut_watches()
        await cloud.until(lambda: manager.ready() is not None)
        state = str(manager.ready())
        assert state.startswith("TrainingJob: not allowed to list and watch, check the ClusterRole: ")
        assert 'User "nobody" cannot watch' in state
        assert manager.live() is None
        cloud.kubernetes.intercept = None
        await cloud.until(lambda: manager.ready() is None)
        await cloud.apply(sample())
        await cloud.until_status(sample()["metadata"]["name"], "Completed")


@pytest.mark.looptime(end=20_000)
async def test_a_crd_that_is_deleted_shows_in_readyz_until_it_is_back() -> None:
    cloud = Cloud()
    kind = catalog()["TrainingJob"]
    async with operator(cloud) as manager:
        await cloud.until(lambda: manager.ready() is None)
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind.crd_name}"
        assert (await cloud.kubernetes.handle("DELETE", path)).status == 200
        await cloud.until(lambda: manager.ready() is not None)
        assert str(manager.ready()).startswith("TrainingJob: not served by this cluster, is the CRD installed? ")
        assert manager.live() is None
        await asyncio.sleep(1800)
        assert manager.ready() is not None
        cloud.kubernetes.install(crd_manifest(kind))
        await cloud.until(lambda: manager.ready() is None)
        await cloud.apply(sample())
        await cloud.until_status(sample()["metadata"]["name"], "Completed")


# The environment that the AWS SDKs read.

AWS_ENVIRONMENT = {
    "profile": ({"AWS_PROFILE": "dev"}, "AWS_PROFILE names profile 'dev', which is neither in "),
    "empty profile": ({"AWS_PROFILE": ""}, "AWS_PROFILE is empty: unset it, or name a profile"),
    "plain http": (
        {"AWS_ENDPOINT_URL_STS": "http://sts.test"},
        "AWS_ENDPOINT_URL_STS 'http://sts.test' is not encrypted",
    ),
    "no URL": ({"AWS_ENDPOINT_URL_SAGEMAKER": "vpce"}, "AWS_ENDPOINT_URL_SAGEMAKER 'vpce' is not a URL"),
    "plain http for all": (
        {"AWS_ENDPOINT_URL": "http://aws.test"},
        "AWS_ENDPOINT_URL 'http://aws.test' is not encrypted",
    ),
}


@pytest.mark.parametrize(("env", "says"), AWS_ENVIRONMENT.values(), ids=AWS_ENVIRONMENT)
def test_an_aws_variable_that_cannot_work_is_named_before_anything_is_asked(
    env: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in ({"AWS_REGION": "us-west-2", "KUBECONFIG": "missing"} | env).items():
        monkeypatch.setenv(name, value)
    assert ended((), monkeypatch) == 1
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(f"sagemaker-operator: {says}")


@pytest.mark.parametrize("command", [("crds",), ("kinds",), ("--help",)], ids=lambda command: command[0])
async def test_a_command_that_asks_nothing_of_aws_needs_no_profile(command: tuple[str, ...], tmp_path: Path) -> None:
    for profile in ("missing", ""):
        result = await run("sagemaker-operator", *command, env=environment(tmp_path, AWS_PROFILE=profile))
        assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIA\n"}, "AWS_ACCESS_KEY_ID contains a line break: no AWS key has one"),
        ({"AWS_METADATA_SERVICE_TIMEOUT": "5s"}, "AWS_METADATA_SERVICE_TIMEOUT='5s' is not a number"),
    ],
    ids=["key", "timeout"],
)
async def test_a_variable_that_only_a_restart_can_change_ends_the_process_with_its_name(
    start: Start, env: dict[str, str], says: str
) -> None:
    async with cluster() as (_, url):
        start.cluster(url)
        line = await start.complaint(env={"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"} | env)
    assert line.startswith(says)


def databases(folder: Path) -> list[Path]:
    return list(folder.glob("*.db"))


async def test_a_folder_for_the_metrics_of_many_processes_is_not_used(start: Start, tmp_path: Path) -> None:
    """Images for web servers set it; prometheus_client then wants a file for each of our counters."""
    for folder in (tmp_path / "missing", tmp_path):
        line = await start.complaint(env={"KUBECONFIG": "", "PROMETHEUS_MULTIPROC_DIR": str(folder)})
        assert line.startswith("no cluster found")
    assert databases(tmp_path) == []
