"""`--write-late-init` writes SageMaker's defaults into spec, as ACK does; without the flag none is written."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.annotations import READ_ONLY
from sagemaker_operator.conditions import LATE_INITIALIZED, TERMINAL
from sagemaker_operator.control.spec.create_input import desired_input
from sagemaker_operator.crds.generate import crd_manifest
from sagemaker_operator.kinds.late_init import LATE_INIT
from sagemaker_operator.kinds.naming import field_name
from sagemaker_operator.sandbox.kubernetes.memory import InMemoryTransport
from sagemaker_operator.settings import FeatureGates
from tests.e2e.harness import build, operator
from tests.e2e.kinds import NAMELESS, VIRTUAL, Stage, at
from tests.transports import ForwardingTransport, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from sagemaker_operator.kube.transport import Response
    from sagemaker_operator.manager import Manager

pytestmark = VIRTUAL

LATE_KINDS = tuple(LATE_INIT)
RESYNC_SECONDS = 60.0
LATE_FIELDS = {
    kind: tuple(".".join(field_name(member) for member in late.path.split(".")) for late in fields)
    for kind, fields in LATE_INIT.items()
}


def bare(kind: str) -> Stage:
    """A stage whose sample has none of the fields in question that it can do without."""
    stage = Stage(kind)
    for path in LATE_FIELDS[kind]:
        if path.endswith(("resourceConfig.instanceCount", "securityGroups", "metricDefinitions")):
            continue  # required in all but name, or of the sample's own meaning
        *parents, last = path.split(".")
        place: Any = stage.manifest["spec"]
        for parent in parents:
            place = place.get(parent, {})
        place.pop(last, None)
    return stage


def spec_writes(stage: Stage) -> int:
    """Patches of the object itself, without those that put the finalizer on and say what was created."""
    return stage.writes().count(f"patch {stage.kind.plural}") - 1 - (stage.kind.name in NAMELESS)


async def lived(stage: Stage, *, write_late_init: bool) -> tuple[dict[str, Any], Counter[str]]:
    """The settled object, and the mutating calls until then."""
    async with operator(stage.cloud, write_late_init=write_late_init, resync_seconds=RESYNC_SECONDS) as manager:
        await stage.prepare()
        stage.cloud.forget()
        await stage.apply()
        await stage.settled()
        await stage.idle(manager)
        stored, changes = await stage.get(), Counter(stage.mutating())
        before = len(stage.writes())
        await stage.cloud.annotate(stage.name, {"example.com/note": "x"}, kind=stage.kind.name)
        await stage.cloud.pass_time(3 * RESYNC_SECONDS)
        assert len(stage.writes()) == before, "a settled object is not written"
        assert Counter(stage.mutating()) == changes
        return stored, changes


@pytest.mark.parametrize("kind", LATE_KINDS)
async def test_without_the_flag_spec_is_unchanged_and_no_condition_is_set(kind: str) -> None:
    stage = bare(kind)
    stored, _ = await lived(stage, write_late_init=False)
    assert stored["spec"] == stage.manifest["spec"]
    assert stored["metadata"]["generation"] == 1
    assert spec_writes(stage) == 0
    assert LATE_INITIALIZED not in await stage.conditions()


@pytest.mark.parametrize("kind", LATE_KINDS)
async def test_with_the_flag_empty_fields_are_filled_once(kind: str) -> None:
    stage, plain = bare(kind), bare(kind)
    _, usual = await lived(plain, write_late_init=False)
    stored, changes = await lived(stage, write_late_init=True)
    assert changes == usual
    assert spec_writes(stage) == 1
    assert stored["metadata"]["generation"] == 2
    assert stored["status"]["observedGeneration"] == 2
    describes = [call.at for call in stage.cloud.sagemaker.calls.of(stage.kind.describe)]
    assert all(later - earlier > 1.0 for earlier, later in pairwise(describes)), "no Describe follows it"
    condition = (await stage.conditions())[LATE_INITIALIZED]
    assert (condition["status"], condition["reason"]) == ("True", "Late initialization successful")
    kept, filled = _without_late(stored["spec"], kind), _late(stored["spec"], kind)
    assert kept == _without_late(stage.manifest["spec"], kind), "no other field is touched"
    assert filled != _late(stage.manifest["spec"], kind)
    reported = await stage.describe()
    wanted = desired_input(stage.kind, stored["spec"])
    for late in LATE_INIT[kind]:
        if at(wanted, late.path) is not None and not late.path.endswith("MetricDefinitions"):
            assert at(reported, late.path) == at(wanted, late.path)


def _late(spec: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {path: at(spec, path) for path in LATE_FIELDS[kind] if at(spec, path) is not None}


def _without_late(spec: Mapping[str, Any], kind: str) -> dict[str, Any]:
    def pruned(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            return value
        below = {name: (item, f"{path}.{name}".lstrip(".")) for name, item in value.items()}
        return {name: pruned(item, where) for name, (item, where) in below.items() if where not in LATE_FIELDS[kind]}

    return dict(pruned(spec, ""))


async def test_an_object_from_before_the_flag_is_filled_at_its_next_describe() -> None:
    """Its fields cannot change by then: the CRD lets them be filled once the status says that they are not."""
    stage = bare("Model")
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
    stage.cloud.forget()
    async with operator(stage.cloud, write_late_init=True, resync_seconds=RESYNC_SECONDS, identity="two"):
        await stage.condition(LATE_INITIALIZED)
        assert (await stage.get())["spec"] == {**stage.manifest["spec"], "enableNetworkIsolation": False}
        assert stage.writes() == ["patch status", "patch models", "patch status"]
        assert stage.mutating() == []


async def test_a_complete_spec_is_reported_at_once_and_never_written() -> None:
    stage = Stage("Model")
    stage.manifest["spec"]["enableNetworkIsolation"] = True
    stored, _ = await lived(stage, write_late_init=True)
    assert stored["spec"] == stage.manifest["spec"]
    assert spec_writes(stage) == 0
    assert (await stage.conditions())[LATE_INITIALIZED]["status"] == "True"


async def test_a_field_taken_out_again_is_filled_again() -> None:
    stage = bare("Domain")
    async with operator(stage.cloud, write_late_init=True):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        assert (await stage.get())["spec"]["defaultUserSettings"]["studioWebPortal"] == "ENABLED"
        stage.cloud.forget()
        await stage.edit({"defaultUserSettings": {"studioWebPortal": None}})

        async def filled() -> bool:
            return bool((await stage.get())["spec"]["defaultUserSettings"].get("studioWebPortal"))

        await stage.cloud.until(filled)
        await stage.settled()
        assert stage.mutating() == []


async def test_a_filled_field_that_the_user_changes_is_an_edit_like_any_other() -> None:
    stage = bare("Model")
    async with operator(stage.cloud, write_late_init=True):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        with pytest.raises(
            Exception, match=r"SageMaker cannot change spec\.enableNetworkIsolation of an existing Model"
        ):
            await stage.edit({"enableNetworkIsolation": True})


async def test_a_crd_of_an_older_version_refuses_and_the_condition_says_why() -> None:
    """Its rule knows nothing of defaults that are to come. The resource is as well as ever."""
    stage = bare("Model")
    crd = json.dumps(crd_manifest(stage.kind)).replace("ACK.LateInitialized", "ACK.Other")
    stage.cloud.kubernetes.install(json.loads(crd))
    stored, _ = await lived(stage, write_late_init=True)
    assert stored["spec"] == stage.manifest["spec"]
    conditions = await stage.conditions()
    assert conditions["Ready"]["status"] == "True"
    assert conditions[LATE_INITIALIZED]["status"] == "False"
    assert "SageMaker cannot change spec.enableNetworkIsolation" in conditions[LATE_INITIALIZED]["message"]


class Meddler(ForwardingTransport):
    """A user edits the object just before the operator fills its spec."""

    def __init__(self, stage: Stage, edit: Callable[[], Awaitable[None]]) -> None:
        super().__init__(InMemoryTransport(stage.cloud.kubernetes))
        self._path = stage.kind.resource.path("default", stage.name)
        self._edit: Callable[[], Awaitable[None]] | None = edit

    async def answer(self, request: Request) -> Response:
        fills = (request.method, request.path) == ("PATCH", self._path) and b'"spec"' in (request.body or b"")
        if fills and self._edit is not None:
            edit, self._edit = self._edit, None
            await edit()
        return await super().answer(request)


@asynccontextmanager
async def meddled(stage: Stage, edit: Callable[[], Awaitable[None]]) -> AsyncIterator[Manager]:
    async with AsyncExitStack() as stack:
        manager = build(stage.cloud, stack, write_late_init=True, transport=Meddler(stage, edit))
        task = asyncio.create_task(manager.run())
        try:
            yield manager
        finally:
            manager.stop()
            await task


@pytest.mark.parametrize(
    ("kind", "edit"),
    [
        ("Domain", {"appNetworkAccessType": "VpcOnly"}),
        ("Domain", {"defaultUserSettings": {"studioWebPortal": "DISABLED"}}),
        ("NotebookInstance", {"volumeSizeInGB": 20}),
    ],
)
async def test_a_concurrent_edit_by_the_user_wins(kind: str, edit: dict[str, Any]) -> None:
    stage = bare(kind)

    async def user() -> None:
        await stage.edit(edit)

    async with meddled(stage, user) as manager:
        await stage.prepare()
        await stage.apply()
        await stage.condition(LATE_INITIALIZED)
        await stage.settled()
        await stage.idle(manager)
    spec = (await stage.get())["spec"]
    [(name, value)] = edit.items()
    reported = await stage.describe()
    member = desired_input(stage.kind, edit)
    if isinstance(value, dict):
        assert spec[name].items() >= value.items()
    else:
        assert spec[name] == value
    assert _contains(reported, member), "and SageMaker received it"
    assert spec_writes(stage) == 2, "one that lost, and one that did not"


def _contains(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return all(_contains(whole.get(name), value) for name, value in part.items())
    return bool(whole == part)


async def test_an_impossible_edit_beside_it_is_reported_and_kept() -> None:
    """While defaults are awaited the CRD takes any edit; the operator judges it."""
    stage = bare("Model")

    async def user() -> None:
        await stage.edit({"enableNetworkIsolation": True})

    async with meddled(stage, user):
        await stage.prepare()
        await stage.apply()
        condition = await stage.condition(TERMINAL)
        assert condition["message"].startswith("spec.enableNetworkIsolation is immutable")
        assert (await stage.get())["spec"]["enableNetworkIsolation"] is True
        await stage.edit({"enableNetworkIsolation": None})
        await stage.settled()
        assert (await stage.get())["spec"]["enableNetworkIsolation"] is False


async def test_a_read_only_object_is_never_written() -> None:
    stage = bare("Model")
    async with operator(
        stage.cloud,
        write_late_init=True,
        feature_gates=FeatureGates(read_only_resources=True),
        resync_seconds=RESYNC_SECONDS,
    ):
        await stage.prepare()
        await stage.cloud.ask(stage.kind.create, **stage.create_input())
        stage.manifest["metadata"]["annotations"] = {READ_ONLY: "true"}
        await stage.apply()
        await stage.settled()
        await stage.cloud.pass_time(3 * RESYNC_SECONDS)
    assert (await stage.get())["spec"] == stage.manifest["spec"]
    assert set(stage.writes()) == {"patch status"}


async def test_an_object_in_deletion_is_never_written() -> None:
    stage = bare("TrainingJob")

    async def user() -> None:
        await stage.cloud.user.delete(stage.kind.resource, "default", stage.name)

    async with meddled(stage, user):
        await stage.apply()
        await stage.cloud.until_gone(stage.name)
    assert stage.writes().count("patch trainingjobs") == 3, "finalizer on, the fill that came too late, finalizer off"


async def test_a_field_that_describe_never_returns_is_named_without_extra_calls() -> None:
    """ACK polls every 5 seconds indefinitely."""
    stage = bare("TransformJob")
    behaviour = stage.cloud.sagemaker
    real = behaviour.handle

    async def forgetful(*args: Any, **kwargs: Any) -> Any:
        answer = await real(*args, **kwargs)
        body = answer.body.replace(b'"SplitType":', b'"Splat":').replace(b'"SplitType" :', b'"Splat":')
        return type(answer)(answer.status, answer.headers, body)

    behaviour.handle = forgetful  # type: ignore[method-assign]
    stored, _ = await lived(stage, write_late_init=True)
    assert stored["spec"]["transformInput"]["compressionType"] == "None"
    assert "splitType" not in stored["spec"]["transformInput"]
    condition = (await stage.conditions())[LATE_INITIALIZED]
    assert (condition["status"], condition["reason"]) == ("False", "Delayed Late Initialization")
    assert condition["message"].endswith("SageMaker has not reported spec.transformInput.splitType")
