"""The shipped manifests and the image that they name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sagemaker_operator import __version__
from sagemaker_operator.cli import cli
from sagemaker_operator.cli.flags import settings_from
from sagemaker_operator.cli.options import OPTIONS
from sagemaker_operator.health import metrics_app, probes_app
from sagemaker_operator.kube.layout import lease_name
from sagemaker_operator.metrics import Metrics
from sagemaker_operator.settings import Settings, split_address
from tests.e2e.processes import ROOT

if TYPE_CHECKING:
    from aiohttp import web

MANIFESTS = ROOT / "manifests"
FILES = sorted(MANIFESTS.rglob("*.yaml"))
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text().splitlines()


def deployment() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((MANIFESTS / "deployment.yaml").read_text())
    return loaded


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = deployment()["spec"]["template"]["spec"]
    return spec


def container() -> dict[str, Any]:
    (only,) = pod()["containers"]
    return dict(only)


def settings() -> Settings:
    """What the command in the container makes of its arguments and environment."""
    name, *arguments = container()["args"]
    with pytest.MonkeyPatch.context() as patch:
        for entry in container()["env"]:
            patch.setenv(entry["name"], entry["value"])
        values = cli.commands[name].make_context(name, list(arguments)).params
    return settings_from(values)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(MANIFESTS)))
def test_every_file_is_yaml_that_names_its_objects(path: Any) -> None:
    documents = list(yaml.safe_load_all(path.read_text()))
    assert documents
    for document in documents:
        assert document["apiVersion"]
        assert document["kind"]
        assert document["kind"] == "Kustomization" or document["metadata"]["name"]


def test_the_kustomization_installs_every_file_but_the_samples_and_the_shards() -> None:
    listed = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    there = [str(path.relative_to(MANIFESTS)) for path in FILES if path.parent.name not in ("samples", "sharded")]
    assert sorted(listed) == sorted(set(there) - {"kustomization.yaml"})
    assert listed[0] == "namespace.yaml", "namespaced objects come after the namespace"


def test_everything_is_in_the_one_namespace() -> None:
    name = yaml.safe_load((MANIFESTS / "namespace.yaml").read_text())["metadata"]["name"]
    for path in MANIFESTS.glob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text()):
            assert (document.get("metadata") or {}).get("namespace", name) == name


def test_the_shards_are_the_deployment_several_times() -> None:
    sharded = MANIFESTS / "sharded"
    shards = yaml.safe_load((sharded / "statefulset.yaml").read_text())
    assert shards["spec"]["selector"] == deployment()["spec"]["selector"]
    spec = shards["spec"]["template"]["spec"]
    (only,) = spec["containers"]
    *same, total, number = only["env"]
    assert spec | {"containers": [only | {"env": same}]} == pod()
    assert int(total["value"]) == shards["spec"]["replicas"]
    assert "pod-index" in number["valueFrom"]["fieldRef"]["fieldPath"]
    assert {total["name"], number["name"]} <= {variable for option in OPTIONS for variable in option.env}
    role = next(yaml.safe_load_all((sharded / "leases.yaml").read_text()))
    assert role["rules"][0]["resourceNames"] == [lease_name(shard) for shard in range(1, int(total["value"]))]


# The restricted pod security standard, which the namespace enforces, control by control.


def test_the_namespace_enforces_the_restricted_standard() -> None:
    labels = yaml.safe_load((MANIFESTS / "namespace.yaml").read_text())["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_pod_shares_nothing_with_its_node() -> None:
    spec = pod()
    assert not any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC", "hostUsers"))
    assert not spec.get("volumes"), "none but the token, which the kubelet mounts"
    assert not any("hostPort" in port for port in container()["ports"])


def test_the_container_has_no_privilege() -> None:
    context = container()["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context.get("privileged", False) is False
    assert context["readOnlyRootFilesystem"] is True
    assert {"procMount", "seLinuxOptions", "windowsOptions"}.isdisjoint(context)
    assert not pod().get("initContainers")


def test_the_pod_is_not_root_and_has_the_runtimes_seccomp_profile() -> None:
    context = pod()["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {"sysctls", "appArmorProfile", "seLinuxOptions"}.isdisjoint(context)
    # A container's own context would override the pod's.
    assert {"runAsNonRoot", "runAsUser", "seccompProfile"}.isdisjoint(container()["securityContext"])


# The container and the program in it.


def test_the_arguments_and_the_environment_are_understood() -> None:
    known = {variable for option in OPTIONS for variable in option.env}
    assert {entry["name"] for entry in container()["env"]} <= known
    assert settings().aws_region == "us-west-2"


def test_the_probes_ask_paths_that_exist_on_ports_that_are_served() -> None:
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    served = settings()
    assert split_address("--healthz-addr", served.healthz_addr) == ("", ports["probes"])
    assert split_address("--metrics-addr", served.metrics_addr) == ("", ports["metrics"])
    paths = _paths(probes_app(live=lambda: None, ready=lambda: None))
    for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container()[probe]["httpGet"] == {"path": path, "port": "probes"}
        assert path in paths
    assert "/metrics" in _paths(metrics_app(Metrics().registry))


def test_the_service_leads_to_the_metrics() -> None:
    service = yaml.safe_load((MANIFESTS / "service.yaml").read_text())["spec"]
    assert service["selector"] == deployment()["spec"]["template"]["metadata"]["labels"]
    assert service["selector"] == deployment()["spec"]["selector"]["matchLabels"]
    (port,) = service["ports"]
    assert port["targetPort"] in {port["name"] for port in container()["ports"]}


def _paths(app: web.Application) -> set[str]:
    return {route.resource.canonical for route in app.router.routes() if route.resource is not None}


def test_the_grace_period_outlasts_the_drain() -> None:
    # Calls in flight, 2 s for events, and a lease that is released within two attempts of a quarter of its deadline.
    served = settings()
    needed = served.drain_seconds + 1 + 2 + served.renew_deadline / 2
    assert pod()["terminationGracePeriodSeconds"] > needed


def test_requests_and_limits_are_set() -> None:
    resources = container()["resources"]
    assert resources["requests"].keys() == resources["limits"].keys() == {"cpu", "memory"}


def test_the_image_has_this_version() -> None:
    name, _, tag = container()["image"].partition(":")
    assert (name, tag) == ("sagemaker-operator", __version__)


# The image.


def _stages() -> list[list[str]]:
    stages: list[list[str]] = []
    for line in DOCKERFILE:
        if line.startswith("FROM "):
            stages.append([])
        if stages and line.strip():
            stages[-1].append(line)
    return stages


def test_the_image_is_built_in_stages_and_leaves_the_build_behind() -> None:
    build, final = _stages()
    assert build[0].endswith(" AS build")
    assert any(line.startswith("COPY --from=build ") for line in final)
    assert not any(line.startswith(("RUN", "ADD")) for line in final)


def test_base_images_are_pinned_to_a_version() -> None:
    for stage in _stages():
        image = stage[0].split()[1]
        assert re.fullmatch(r"[\w./-]+:\d[\w.-]+", image), image


def test_the_image_runs_as_a_user_with_a_number_and_not_as_root() -> None:
    (user,) = [line.split()[1] for line in _stages()[-1] if line.startswith("USER ")]
    context = pod()["securityContext"]
    assert user == f"{context['runAsUser']}:{context['runAsGroup']}"


def test_the_image_starts_what_the_manifest_starts() -> None:
    text = "\n".join(_stages()[-1])
    assert 'ENTRYPOINT ["sagemaker-operator"]' in text
    assert "command" not in container()
    ports = {str(port["containerPort"]) for port in container()["ports"]}
    (exposed,) = [line.split()[1:] for line in _stages()[-1] if line.startswith("EXPOSE ")]
    assert set(exposed) == ports


def test_what_the_build_copies_exists() -> None:
    for line in DOCKERFILE:
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), line


def test_the_build_takes_pinned_dependencies() -> None:
    assert any("pip install" in line and "-c constraints.txt" in line for line in DOCKERFILE)
