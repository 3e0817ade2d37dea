"""Discovery: the groups, versions and resources served, in both of its forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sagemaker_operator.sandbox.kubernetes.resources import Catalog, ResourceType

JsonObject = dict[str, Any]

AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_STATUS_VERBS: Final = ["get", "patch", "update"]

VERSION: Final[JsonObject] = {
    "major": "1",
    "minor": "32",
    "gitVersion": "v1.32.0+sagemaker-operator-sandbox",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
"""The version whose behaviour is emulated, and the oldest kubectl that the tests run."""


def api_versions() -> JsonObject:
    """/api"""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def api_groups(catalog: Catalog) -> JsonObject:
    """/apis"""
    names = dict.fromkeys(group for group, _ in catalog.group_versions() if group)
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(catalog, name) for name in names]}


def api_group(catalog: Catalog, name: str) -> JsonObject | None:
    """/apis/<group>, or None if there is no such group."""
    if not name or all(group != name for group, _ in catalog.group_versions()):
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(catalog, name)}


def _group(catalog: Catalog, name: str) -> JsonObject:
    versions = [
        {"groupVersion": f"{group}/{version}", "version": version}
        for group, version in catalog.group_versions()
        if group == name
    ]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def api_resources(catalog: Catalog, group: str, version: str) -> JsonObject | None:
    """/api/v1 and /apis/<group>/<version>, or None if that is not served."""
    types = catalog.group_versions().get((group, version))
    if types is None:
        return None
    resources = []
    for type_ in types:
        common = {"namespaced": type_.namespaced, "kind": type_.kind}
        resource = {"name": type_.plural, "singularName": type_.singular, **common, "verbs": list(type_.verbs)}
        resources.append({**resource, **_names(type_)})
        if type_.status_subresource:
            resources.append({"name": f"{type_.plural}/status", "singularName": "", **common, "verbs": _STATUS_VERBS})
    group_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}


def aggregated(catalog: Catalog, *, core: bool) -> JsonObject:
    """/api and /apis for a client that accepts `AGGREGATED`."""
    groups: dict[str, list[JsonObject]] = {}
    for (group, version), types in catalog.group_versions().items():
        if (group == "") is core:
            resources = [_aggregated_resource(type_) for type_ in types]
            entry = {"version": version, "resources": resources, "freshness": "Current"}
            groups.setdefault(group, []).append(entry)
    items = [{"metadata": {"name": group} if group else {}, "versions": versions} for group, versions in groups.items()]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _aggregated_resource(type_: ResourceType) -> JsonObject:
    kind = {"group": type_.group, "version": type_.version, "kind": type_.kind}
    resource: JsonObject = {
        "resource": type_.plural,
        "responseKind": kind,
        "scope": "Namespaced" if type_.namespaced else "Cluster",
        "singularResource": type_.singular,
        "verbs": list(type_.verbs),
        **_names(type_),
    }
    if type_.status_subresource:
        resource["subresources"] = [{"subresource": "status", "responseKind": kind, "verbs": _STATUS_VERBS}]
    return resource


def _names(type_: ResourceType) -> JsonObject:
    names = {"shortNames": list(type_.short_names), "categories": list(type_.categories)}
    return {key: value for key, value in names.items() if value}
