"""Rules for all shipped manifests: each workload, image, account and role in them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.e2e.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANIFESTS = ROOT / "manifests"
# A digest, or a version of at least two numbers: `latest`, `v1`, `stable` and no tag at all are other bytes tomorrow.
FIXED = re.compile(r"[^\s@]+(:v?\d+(\.\d+)+[\w.-]*|@sha256:[0-9a-f]{64})")
# AWS publishes its monitoring analyzer under no other tag.
UNVERSIONED = ("/sagemaker-model-monitor-analyzer:latest",)


def documents() -> list[tuple[Path, dict[str, Any]]]:
    return [
        (path, document)
        for path in sorted(MANIFESTS.rglob("*.yaml"))
        if path.parent.name != "crds"
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]


def pods() -> Iterator[dict[str, Any]]:
    """The pod template of each workload."""
    for _, document in documents():
        spec = document.get("spec") or {}
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if document["apiVersion"].startswith(("apps/", "batch/")) and template:
            yield template["spec"]


def containers() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each container with its pod."""
    for pod in pods():
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            yield pod, container


def images(value: Any, key: str = "") -> Iterator[str]:
    """Every image that a document names, in SageMaker's fields too."""
    if isinstance(value, dict):
        for name, child in value.items():
            yield from images(child, name)
    elif isinstance(value, list):
        for child in value:
            yield from images(child, key)
    elif isinstance(value, str) and re.search(r"(^|[a-z])image(uri)?$", key, re.IGNORECASE) and "/" in f"/{value}":
        yield value


def test_every_container_is_confined() -> None:
    assert list(containers())
    for pod, container in containers():
        own = container["securityContext"]
        both = pod.get("securityContext", {}) | own
        assert both["runAsNonRoot"] is True
        assert both["seccompProfile"] == {"type": "RuntimeDefault"}
        assert own["readOnlyRootFilesystem"] is True
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert not own.get("privileged")
        for name in ("requests", "limits"):
            assert {"cpu", "memory"} <= container["resources"][name].keys()


def test_no_pod_shares_its_node() -> None:
    for pod in pods():
        assert not any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC"))
        assert not any("hostPath" in volume for volume in pod.get("volumes", ()))


def test_a_token_is_mounted_only_where_it_is_asked_for() -> None:
    accounts = [document for _, document in documents() if document["kind"] == "ServiceAccount"]
    assert accounts
    assert all(account["automountServiceAccountToken"] is False for account in accounts)
    names = {account["metadata"]["name"] for account in accounts}
    for pod in pods():
        # The kubelet's default is to mount one: a pod that needs none has to say so.
        assert pod["automountServiceAccountToken"] is (pod.get("serviceAccountName") in names)


@pytest.mark.parametrize(("path", "document"), documents(), ids=lambda value: getattr(value, "name", ""))
def test_every_image_has_a_version_or_a_digest(path: Path, document: dict[str, Any]) -> None:
    for image in images(document):
        assert FIXED.fullmatch(image) or image.endswith(UNVERSIONED), (
            f"{path.name}: {image} may be another image tomorrow"
        )


@pytest.mark.parametrize("image", ["registry.example/x", "x:latest", "x:v1", "registry.example:5000/x", "x:stable"])
def test_a_moving_tag_is_distinguished_from_a_version(image: str) -> None:
    assert not FIXED.fullmatch(image)


def rules(prefix: str) -> list[dict[str, Any]]:
    """Of the operator's own roles, in the files whose names begin so."""
    return [rule for path, found in documents() if path.name.startswith(prefix) for rule in found.get("rules", ())]


def test_the_operators_roles_have_no_wildcard_and_no_escalation() -> None:
    assert rules("rbac")
    for rule in rules("rbac"):
        assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
        assert {"escalate", "bind", "impersonate"}.isdisjoint(rule["verbs"])
        assert "rbac.authorization.k8s.io" not in rule["apiGroups"]


def test_secrets_are_for_field_exports_only_and_by_name() -> None:
    assert [rule for rule in rules("rbac.") if "secrets" in rule["resources"]] == []
    (rule,) = (rule for rule in rules("rbac-") if "secrets" in rule["resources"])
    assert set(rule["verbs"]) == {"get", "patch"}, "nothing is listed, nothing created"


def test_creating_objects_is_for_adopted_resources_only() -> None:
    makers = {
        path.name
        for path, found in documents()
        for rule in found.get("rules", ())
        if path.name.startswith("rbac")
        and "sagemaker.services.k8s.aws" in rule["apiGroups"]
        and "create" in rule["verbs"]
    }
    assert makers == {"rbac-adopted-resource.yaml"}


def test_user_roles_cannot_create_field_exports_or_adopted_resources() -> None:
    assert "fieldexports" not in {name for rule in rules("user-roles") for name in rule["resources"]}
    assert "adoptedresources" not in {name for rule in rules("user-roles") for name in rule["resources"]}
    assert "services.k8s.aws" not in {group for rule in rules("user-roles") for group in rule["apiGroups"]}


def test_user_roles_cannot_change_the_operators_account_or_role() -> None:
    granted = rules("user-roles")
    assert {group for rule in granted for group in rule["apiGroups"]} == {"sagemaker.services.k8s.aws"}, (
        "no selector, no map"
    )
    written = [rule for rule in granted if not {"get", "list", "watch"}.issuperset(rule["verbs"])]
    resources = [name for rule in written for name in rule["resources"]]
    assert resources
    assert [name for name in resources if "/" in name or "*" in name] == [], "a status proves whose a resource is"


def test_manifests_hold_no_credentials() -> None:
    for path in sorted(MANIFESTS.rglob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"\b(AKIA|ASIA)[A-Z0-9]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY|aws_secret_access_key", text
        ), path
