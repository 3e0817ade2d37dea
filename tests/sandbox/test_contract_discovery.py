"""Discovery, tables, OpenAPI and custom resource definitions, against the emulator and a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sandbox.kubernetes_support import CRD, CRDS, GROUP_VERSION

if TYPE_CHECKING:
    from tests.sandbox.kubernetes_support import Client

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


# Tables and discovery
async def test_a_table_has_the_printer_columns(api: Client) -> None:
    await api.job("a")
    conditions = [{"type": "Other", "status": "False"}, {"type": "ACK.ResourceSynced", "status": "True"}]
    status = {"trainingJobStatus": "InProgress", "conditions": conditions}
    await api.merge(f"{api.jobs}/a/status", {"status": status})
    await api.job("b")
    table = (await api.ask("GET", api.jobs, accept=TABLE)).body
    assert table["kind"] == "Table"
    columns = [(column["name"], column["type"], column["priority"]) for column in table["columnDefinitions"]]
    assert columns == [
        ("Name", "string", 0),
        ("STATUS", "string", 0),
        ("SECONDARY", "string", 1),
        ("SYNCED", "string", 0),
        ("AGE", "date", 0),
    ]
    assert [row["cells"][:4] for row in table["rows"]] == [
        ["a", "InProgress", None, "True"],
        ["b", None, None, None],
    ]
    assert all(row["cells"][4].endswith("s") for row in table["rows"])
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert table["rows"][0]["object"]["metadata"]["name"] == "a"


async def test_a_table_can_be_had_of_one_object_and_of_a_watch(api: Client) -> None:
    await api.job("a")
    one = (await api.ask("GET", f"{api.jobs}/a", accept=TABLE)).body
    assert [row["cells"][0] for row in one["rows"]] == ["a"]


async def test_nothing_but_json_is_406(api: Client) -> None:
    answer = await api.ask("GET", api.jobs, accept="text/html")
    assert answer.status == 406


async def test_both_discoveries_name_the_custom_resource(api: Client) -> None:
    groups = (await api.get("/apis")).body["groups"]
    assert GROUP_VERSION in {group["preferredVersion"]["groupVersion"] for group in groups}
    resources = (await api.get(f"/apis/{GROUP_VERSION}")).body["resources"]
    assert [resource["name"] for resource in resources] == ["trainingjobs", "trainingjobs/status"]
    assert (resources[0]["shortNames"], resources[0]["categories"]) == (["tj"], ["aws", "sagemaker"])
    aggregated = (await api.ask("GET", "/apis", accept=AGGREGATED)).body
    assert aggregated["kind"] == "APIGroupDiscoveryList"
    group = next(item for item in aggregated["items"] if item["metadata"]["name"] == GROUP_VERSION.split("/")[0])
    resource = group["versions"][0]["resources"][0]
    assert (resource["resource"], resource["scope"]) == ("trainingjobs", "Namespaced")
    assert resource["subresources"][0]["subresource"] == "status"
    core = (await api.ask("GET", "/api", accept=AGGREGATED)).body["items"][0]["versions"][0]["resources"]
    assert {"configmaps", "secrets", "namespaces", "events"} <= {entry["resource"] for entry in core}


async def test_openapi_v3_says_that_the_server_validates_fields(api: Client) -> None:
    index = (await api.get("/openapi/v3")).body["paths"]
    url = index[f"apis/{GROUP_VERSION}"]["serverRelativeURL"]
    path, _, query = url.partition("?hash=")
    document = (await api.get(path, hash=query)).body
    item = document["paths"][f"/apis/{GROUP_VERSION}/namespaces/{{namespace}}/trainingjobs/{{name}}"]
    assert "fieldValidation" in {parameter["name"] for parameter in item["patch"]["parameters"]}
    kind = {"group": "sagemaker.services.k8s.aws", "version": "v1alpha1", "kind": "TrainingJob"}
    assert item["patch"]["x-kubernetes-group-version-kind"] == kind
    schema = next(
        schema
        for schema in document["components"]["schemas"].values()
        if kind in schema.get("x-kubernetes-group-version-kind", ())
    )
    assert schema["properties"]["spec"]["properties"]["roleARN"]["description"] == "Role."


async def test_health_and_version_answer(api: Client) -> None:
    assert [(await api.get(f"/{path}")).status for path in ("healthz", "livez", "readyz")] == [200, 200, 200]
    assert (await api.get("/version")).body["major"] == "1"


# Custom resource definitions
async def test_a_definition_is_completed_and_established(api: Client) -> None:
    crd = (await api.get(f"{CRDS}/{CRD['metadata']['name']}")).body
    conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
    assert conditions["Established"] == conditions["NamesAccepted"] == "True"
    assert crd["spec"]["conversion"] == {"strategy": "None"}
    assert crd["status"]["storedVersions"] == ["v1alpha1"]
    assert crd["status"]["acceptedNames"]["listKind"] == "TrainingJobList"


async def test_a_definition_must_be_named_after_its_resource(api: Client) -> None:
    answer = await api.create(CRDS, {**CRD, "metadata": {"name": "other.sagemaker.services.k8s.aws"}})
    assert (answer.status, answer.causes[0]) == (422, ("metadata.name", "FieldValueInvalid"))
