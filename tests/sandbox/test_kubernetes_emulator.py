"""Features of the emulator alone: faults, log, determinism, controllers; and the in-memory transport in virtual time."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from sagemaker_operator.clock import rfc3339
from sagemaker_operator.errors import Unavailable
from sagemaker_operator.kube.transport import Response
from sagemaker_operator.objects import Resource
from sagemaker_operator.sandbox.kubernetes import ApiError, InMemoryTransport, KubernetesEmulator, Request
from tests.sandbox.kubernetes_support import CRD, GROUP_VERSION, training_job

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

GROUP = "sagemaker.services.k8s.aws"
JOBS = Resource(GROUP, "v1alpha1", "trainingjobs", "TrainingJob")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
PATH = JOBS.path("default")
EPOCH = 1_790_000_000.0
MERGE = {"Content-Type": "application/merge-patch+json"}
FINALIZER = "finalizers.sagemaker.services.k8s.aws/TrainingJob"


def emulator_of(seed: int = 0, **options: Any) -> KubernetesEmulator:
    loop = asyncio.get_running_loop()
    emulator = KubernetesEmulator(clock=lambda: EPOCH + loop.time(), rng=random.Random(seed), **options)
    emulator.install(CRD)
    return emulator


class Api:
    """JSON in, JSON out, over the in-memory transport."""

    def __init__(self, emulator: KubernetesEmulator, user_agent: str = "tests") -> None:
        self.emulator = emulator
        self.transport = InMemoryTransport(emulator, user_agent=user_agent)

    async def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **query: str
    ) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        answer = await self.transport.request(
            method, path, query=list(query.items()), headers=headers or {}, body=data, timeout=5
        )
        return answer.status, json.loads(answer.body)

    async def merge(self, name: str, patch: Any, **query: str) -> tuple[int, Any]:
        return await self.ask("PATCH", f"{PATH}/{name}", patch, MERGE, **query)

    async def watch(self, observed: list[tuple[str, str]], **query: str) -> None:
        """Collects (type, name) until the watch ends. Bookmarks count by their version."""
        async with self.transport.stream(PATH, query=[("watch", "true"), *query.items()], timeout=5) as stream:
            async for chunk in stream.chunks():
                for line in chunk.splitlines():
                    event = json.loads(line)
                    metadata = event["object"].get("metadata", {})
                    observed.append((event["type"], metadata.get("name") or metadata.get("resourceVersion") or ""))


async def settle() -> None:
    """Lets every ready task run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_same_seed_makes_the_same_cluster() -> None:
    first, second = (
        [e.install(training_job()), e.install(training_job("b"))] for e in (emulator_of(7), emulator_of(7))
    )
    assert first == second
    assert emulator_of(8).install(training_job())["metadata"]["uid"] != first[0]["metadata"]["uid"]


async def test_times_come_from_the_clock() -> None:
    emulator = emulator_of()
    await asyncio.sleep(100)
    assert emulator.install(training_job())["metadata"]["creationTimestamp"] == rfc3339(EPOCH + 100)


async def test_install_replaces_and_sets_status_too() -> None:
    emulator = emulator_of()
    emulator.install(training_job())
    status = {"trainingJobStatus": "InProgress"}
    changed = emulator.install({**training_job(mode="File", metadata={"finalizers": [FINALIZER]}), "status": status})
    assert (changed["spec"]["mode"], changed["status"], changed["metadata"]["generation"]) == ("File", status, 2)
    assert emulator.get(JOBS, namespace="default", name="one") == changed
    assert emulator.list(JOBS) == [changed]
    assert emulator.list(JOBS, namespace="kube-system") == []
    assert emulator.get(JOBS, namespace="default", name="nope") is None


async def test_install_refuses_what_a_server_would() -> None:
    emulator = emulator_of()
    with pytest.raises(ApiError, match="Unsupported value"):
        emulator.install(training_job(mode="Foo"))
    with pytest.raises(ApiError, match="unknown field"):
        emulator.install(training_job(nope=1))
    with pytest.raises(ApiError, match="is its CRD installed"):
        emulator.install({**training_job(), "kind": "Model"})


async def test_what_is_handed_out_is_a_copy() -> None:
    emulator = emulator_of()
    emulator.install(training_job())["spec"]["mode"] = "Pipe"
    emulator.list(JOBS)[0]["spec"]["mode"] = "Pipe"
    got = emulator.get(JOBS, namespace="default", name="one")
    assert got is not None
    assert "mode" not in got["spec"]


async def test_requests_and_writes_are_counted_by_user_agent() -> None:
    emulator = emulator_of()
    operator, user = Api(emulator, "sagemaker-operator"), Api(emulator, "kubectl")
    await user.ask("POST", PATH, training_job())
    await operator.merge("one", {"metadata": {"finalizers": [FINALIZER]}})
    await operator.merge("one", {"metadata": {"finalizers": [FINALIZER]}})
    await operator.merge("one", {"spec": {"mode": "Foo"}})
    await operator.merge("one", {"spec": {"mode": "File"}}, dryRun="All")
    await operator.ask("GET", f"{PATH}/one")
    record = emulator.requests[-1]
    assert (record.verb, record.group, record.plural, record.namespace) == ("get", GROUP, "trainingjobs", "default")
    assert (record.name, record.subresource, record.user_agent) == ("one", "", "sagemaker-operator")
    assert (record.status, record.at) == (200, asyncio.get_running_loop().time())
    assert [entry.status for entry in emulator.requests] == [201, 200, 200, 422, 200, 200]
    counts = {(agent, written.name): count for (agent, written), count in emulator.writes.items()}
    assert counts == {("kubectl", ""): 1, ("sagemaker-operator", "one"): 2}


async def test_bookmarks_come_in_their_interval_and_before_the_end() -> None:
    emulator = emulator_of(bookmark_seconds=60)
    loop = asyncio.get_running_loop()
    started, at = loop.time(), []
    query = [("watch", "true"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", "150"), ("resourceVersion", "0")]
    async with InMemoryTransport(emulator).stream(PATH, query=query, timeout=5) as stream:
        async for chunk in stream.chunks():
            assert json.loads(chunk)["type"] == "BOOKMARK"
            at.append(loop.time() - started)
    assert at == pytest.approx([60, 120, 148])
    assert loop.time() - started == pytest.approx(150)


async def test_a_bookmark_never_overtakes_an_event() -> None:
    api = Api(emulator_of(bookmark_seconds=10))
    observed: list[tuple[str, str]] = []
    watching = asyncio.create_task(
        api.watch(observed, allowWatchBookmarks="true", timeoutSeconds="25", resourceVersion="0")
    )
    await asyncio.sleep(9)
    api.emulator.install(training_job("a"))
    await watching
    version = api.emulator.list(JOBS)[0]["metadata"]["resourceVersion"]
    assert observed == [("ADDED", "a"), ("BOOKMARK", version), ("BOOKMARK", version), ("BOOKMARK", version)]


async def test_an_expired_history_makes_old_watches_410_and_pages_too() -> None:
    api = Api(emulator_of())
    for name in "abc":
        api.emulator.install(training_job(name))
    _, page = await api.ask("GET", PATH, limit="2")
    api.emulator.expire_history()
    observed: list[tuple[str, str]] = []
    await api.watch(observed, resourceVersion=str(int(page["metadata"]["resourceVersion"]) - 1))
    assert observed == [("ERROR", "")]
    status, expired = await api.ask("GET", PATH, limit="2", **{"continue": page["metadata"]["continue"]})
    assert (status, expired["reason"]) == (410, "Expired")
    # The token in that answer goes on, without the promise of one moment.
    _, rest = await api.ask("GET", PATH, limit="2", **{"continue": expired["metadata"]["continue"]})
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c"]
    watching = asyncio.create_task(api.watch(observed := [], resourceVersion=page["metadata"]["resourceVersion"]))
    await settle()
    api.emulator.install(training_job("d"))
    await settle()
    assert observed == [("ADDED", "d")]
    watching.cancel()


async def test_a_short_history_forgets_the_oldest_changes() -> None:
    api = Api(emulator_of(history=2))
    versions = [api.emulator.install(training_job(name))["metadata"]["resourceVersion"] for name in "abcd"]
    observed: list[tuple[str, str]] = []
    await api.watch(observed, resourceVersion=versions[0])
    assert observed == [("ERROR", "")]
    observed.clear()
    await api.watch(observed, resourceVersion=versions[1], timeoutSeconds="1")
    assert observed == [("ADDED", "c"), ("ADDED", "d")]


async def test_a_cut_watch_is_unavailable() -> None:
    api = Api(emulator_of())
    watching = asyncio.create_task(api.watch([], resourceVersion="0"))
    await settle()
    api.emulator.cut_watches()
    with pytest.raises(Unavailable):
        await watching


async def test_a_stalled_watch_is_silent_past_its_end_while_others_go_on() -> None:
    api = Api(emulator_of(bookmark_seconds=10))
    stalled: list[tuple[str, str]] = []
    watching = asyncio.create_task(
        api.watch(stalled, allowWatchBookmarks="true", timeoutSeconds="30", resourceVersion="0")
    )
    await settle()
    api.emulator.stall_watches(True)
    api.emulator.install(training_job("a"))
    healthy: list[tuple[str, str]] = []
    await api.watch(healthy, timeoutSeconds="1", resourceVersion="0")
    await asyncio.sleep(100)
    assert (stalled, watching.done(), healthy) == ([], False, [("ADDED", "a")])
    api.emulator.stall_watches(False)
    await watching
    assert stalled == [("ADDED", "a")]


async def test_an_abandoned_watch_leaves_nothing_behind() -> None:
    emulator = emulator_of()
    watching = asyncio.create_task(Api(emulator).watch([], resourceVersion="0"))
    await settle()
    assert "1 watches" in repr(emulator)
    watching.cancel()
    await settle()
    assert "0 watches" in repr(emulator)
    async with InMemoryTransport(emulator).stream(PATH, query=[("watch", "true")], timeout=5):
        pass
    assert "0 watches" in repr(emulator)


async def test_an_intercept_can_answer_break_or_delay() -> None:
    api = Api(emulator_of())
    observed: list[Request] = []

    async def refuse(request: Request) -> Response | None:
        observed.append(request)
        if request.verb == "create":
            return Response(429, {"Retry-After": "1"}, b"{}")
        if request.verb == "patch":
            raise ConnectionResetError
        if request.verb == "delete":
            await asyncio.sleep(60)
        return None

    api.emulator.intercept = refuse
    assert await api.ask("POST", PATH, training_job()) == (429, {})
    with pytest.raises(Unavailable):
        await api.merge("one", {})
    with pytest.raises(Unavailable, match="no answer within 5 s"):
        await api.ask("DELETE", f"{PATH}/one")
    assert (await api.ask("GET", f"{PATH}/one"))[0] == 404
    assert [request.verb for request in observed] == ["create", "patch", "delete", "get"]
    assert (observed[1].name, observed[1].headers["content-type"]) == ("one", MERGE["Content-Type"])
    assert [record.status for record in api.emulator.requests] == [429, 0, 0, 404]
    assert not api.emulator.writes


async def test_an_error_answer_can_be_read_from_a_stream() -> None:
    query = [("watch", "true"), ("sendInitialEvents", "true")]
    async with InMemoryTransport(emulator_of()).stream(PATH, query=query, timeout=5) as stream:
        assert stream.status == 422
        assert json.loads(await stream.read())["reason"] == "Invalid"


async def test_a_namespace_terminates_until_its_last_finalizer_is_gone() -> None:
    api = Api(emulator_of())
    api.emulator.install({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    api.emulator.install(training_job(metadata={"namespace": "team", "finalizers": [FINALIZER]}))
    api.emulator.install(training_job("two", metadata={"namespace": "team"}))
    _, namespace = await api.ask("DELETE", "/api/v1/namespaces/team")
    assert namespace["status"]["phase"] == "Terminating"
    assert [job["metadata"]["name"] for job in api.emulator.list(JOBS)] == ["one"]
    status, refused = await api.ask("POST", JOBS.path("team"), training_job("three"))
    assert (status, refused["details"]["causes"][0]["reason"]) == (403, "NamespaceTerminating")
    await api.ask("PATCH", JOBS.path("team", "one"), {"metadata": {"finalizers": None}}, MERGE)
    assert api.emulator.get(NAMESPACES, name="team") is None


async def test_a_definition_goes_when_its_last_object_is_gone() -> None:
    api = Api(emulator_of())
    name = CRD["metadata"]["name"]
    api.emulator.install(training_job(metadata={"finalizers": [FINALIZER]}))
    watching = asyncio.create_task(api.watch(observed := [], resourceVersion="0"))
    await settle()
    await api.ask("DELETE", CRDS.path(name=name))
    held = api.emulator.get(CRDS, name=name)
    assert held is not None
    assert held["metadata"]["deletionTimestamp"]
    started = asyncio.get_running_loop().time()
    await api.merge("one", {"metadata": {"finalizers": None}})
    await watching
    assert asyncio.get_running_loop().time() == started
    assert observed == [("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "one")]
    assert api.emulator.get(CRDS, name=name) is None
    answer = await api.transport.request("GET", PATH, timeout=5)
    assert answer.status == 404
    api.emulator.install(CRD)
    assert (await api.ask("GET", PATH))[1]["items"] == []


async def test_a_changed_definition_is_served_at_once() -> None:
    api = Api(emulator_of())
    looser = json.loads(json.dumps(CRD))
    schema = looser["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["mode"]["enum"].append("FastFile")
    api.emulator.install(looser)
    assert api.emulator.install(training_job(mode="FastFile"))["spec"]["mode"] == "FastFile"
    # What is stored stays acceptable when the definition is tightened again, as long as it is not touched.
    api.emulator.install(CRD)
    assert (await api.merge("one", {"spec": {"maxRuntimeInSeconds": 5}}))[0] == 200
    assert (await api.merge("one", {"spec": {"mode": "FastestFile"}}))[0] == 422


async def test_a_new_rule_does_not_apply_to_stored_objects() -> None:
    api = Api(emulator_of())
    api.emulator.install(training_job(mode="Pipe"))
    tighter = json.loads(json.dumps(CRD))
    spec = tighter["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    spec["mode"]["x-kubernetes-validations"] = [{"rule": "self != 'Pipe'", "message": "Pipe is gone"}]
    api.emulator.install(tighter)
    assert (await api.merge("one", {"spec": {"maxRuntimeInSeconds": 5}}))[0] == 200
    with pytest.raises(ApiError, match="Pipe is gone"):
        api.emulator.install(training_job("two", mode="Pipe"))


async def test_openapi_follows_the_definitions() -> None:
    api = Api(emulator_of())
    path = f"apis/{GROUP_VERSION}"
    _, before = await api.ask("GET", "/openapi/v3")
    changed = json.loads(json.dumps(CRD))
    changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = "Another."
    api.emulator.install(changed)
    _, after = await api.ask("GET", "/openapi/v3")
    assert before["paths"][path] != after["paths"][path]
    assert before["paths"]["api/v1"] == after["paths"]["api/v1"]
    _, document = await api.ask("GET", f"/openapi/v3/{path}")
    assert "Another." in json.dumps(document)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rule": "self.("}, "compilation failed"),
        ({"messageExpression": "'x' +", "rule": "true"}, "compilation failed"),
    ],
)
async def test_a_rule_that_does_not_compile_is_refused_with_its_definition(change: dict[str, str], words: str) -> None:
    broken = json.loads(json.dumps(CRD))
    schema = broken["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["x-kubernetes-validations"] = [change]
    with pytest.raises(ApiError, match=words):
        emulator_of().install(broken)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scope": "Nowhere"}, "spec.scope"),
        ({"group": ""}, "spec.group"),
        ({"versions": []}, "spec.versions"),
    ],
)
async def test_a_definition_without_its_essentials_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ApiError, match=words):
        emulator_of().install({**CRD, "spec": {**CRD["spec"], **change}})


async def test_a_pattern_is_re2() -> None:
    emulator = emulator_of()
    changed = json.loads(json.dumps(CRD))
    spec = changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    spec["a"]["pattern"] = r"^(?:[\p{L}_]*)$"
    emulator.install(changed)
    assert emulator.install(training_job(a="Größe_"))["spec"]["a"] == "Größe_"
    with pytest.raises(ApiError, match="should match"):
        emulator.install(training_job("b", a="1"))
    spec["a"]["pattern"] = "^(?!x)"
    with pytest.raises(ApiError, match="not an RE2 expression"):
        emulator.install(changed)


def event(**fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "one.1"},
        "eventTime": "2026-11-24T09:51:22.000000Z",
        "reportingController": "sagemaker-operator",
        "reportingInstance": "pod-1",
        "action": "Create",
        "reason": "Created",
        "type": "Normal",
        "note": "created",
        "regarding": {"apiVersion": GROUP_VERSION, "kind": "TrainingJob", "namespace": "default", "name": "one"},
        **fields,
    }


async def test_an_event_written_in_one_form_is_read_in_the_other() -> None:
    api = Api(emulator_of())
    api.emulator.install(event())
    _, core = await api.ask("GET", "/api/v1/namespaces/default/events/one.1")
    assert (core["involvedObject"]["name"], core["message"], core["reportingComponent"]) == (
        "one",
        "created",
        "sagemaker-operator",
    )
    assert (core["apiVersion"], core.keys() & {"regarding", "note", "reportingController"}) == ("v1", set())
    _, found = await api.ask("GET", "/api/v1/events", fieldSelector="involvedObject.name=one,type=Normal")
    assert len(found["items"]) == 1
    path = "/apis/events.k8s.io/v1/events"
    assert len((await api.ask("GET", path, fieldSelector="regarding.name=one"))[1]["items"]) == 1
    assert (await api.ask("GET", path, fieldSelector="regarding.name=two"))[1]["items"] == []
    series = {"count": 2, "lastObservedTime": "2026-11-24T09:52:22.000000Z"}
    assert api.emulator.install(event(series=series))["series"] == series


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"eventTime": None}, "eventTime: Required value"),
        ({"type": "Bad"}, "type: Invalid value"),
        ({"reason": ""}, "reason: Required value"),
        ({"action": "x" * 129}, "can have at most 128 characters"),
        ({"note": "x" * 1025}, "can have at most 1024 characters"),
        ({"reportingInstance": ""}, "reportingInstance: Required value"),
        ({"series": {"count": 1, "lastObservedTime": "2026-11-24T09:52:22.000000Z"}}, "should be at least 2"),
        ({"deprecatedCount": 1}, "needs to be unset"),
    ],
)
async def test_a_bad_event_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ApiError, match=words):
        emulator_of().install(event(**fields))


async def test_only_the_series_of_an_event_may_change() -> None:
    emulator = emulator_of()
    emulator.install(event())
    with pytest.raises(ApiError, match=r"note: Invalid value: .*field is immutable"):
        emulator.install(event(note="another"))


@pytest.mark.parametrize(("field", "value"), [("leaseDurationSeconds", 0), ("leaseTransitions", -1)])
async def test_a_bad_lease_is_refused(field: str, value: int) -> None:
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {field: value}}
    with pytest.raises(ApiError, match=f"spec.{field}"):
        emulator_of().install(lease)


async def test_access_reviews_allow_everything() -> None:
    review = {"spec": {"resourceAttributes": {"verb": "create", "resource": "pods"}}}
    status, answer = await Api(emulator_of()).ask(
        "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review
    )
    assert (status, answer["status"]) == (201, {"allowed": True})


async def test_two_clients_racing_on_a_lock_leave_one_winner() -> None:
    api = Api(emulator_of())
    job = api.emulator.install(training_job())
    attempts = [{**job, "spec": {**job["spec"], "mode": mode}} for mode in ("File", "Pipe")]
    answers = await asyncio.gather(*(api.ask("PUT", f"{PATH}/one", attempt) for attempt in attempts))
    assert sorted(status for status, _ in answers) == [200, 409]


@pytest.mark.parametrize("body", [b"{}", b"k8s\0", b"k8s\0\x0a\x7f", b"k8s\0\x0a\x06\x12\x04Pods", b"k8s\0\xff"])
async def test_protobuf_that_cannot_be_read_is_415(body: bytes) -> None:
    headers = {"Content-Type": "application/vnd.kubernetes.protobuf"}
    transport = InMemoryTransport(emulator_of())
    answer = await transport.request("POST", "/api/v1/namespaces", headers=headers, body=body, timeout=5)
    assert (answer.status, json.loads(answer.body)["reason"]) == (415, "UnsupportedMediaType")
