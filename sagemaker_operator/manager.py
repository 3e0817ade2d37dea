"""The operator as a whole: starts and stops its parts in order.

Start: identity at AWS, caches synced (also those of a standby), leadership, workers. Stop: no new reconciles, calls in flight
finish with their status patch, the lease is released.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from sagemaker_operator import __version__
from sagemaker_operator.aws.calls import SERVICE
from sagemaker_operator.aws.target import Target
from sagemaker_operator.awsidentity import AwsIdentity
from sagemaker_operator.control.controller import Controller
from sagemaker_operator.control.features.adopted_resource import ADOPTED_RESOURCES
from sagemaker_operator.control.features.adopted_resource_controller import Adopter
from sagemaker_operator.control.features.field_export import FIELD_EXPORTS
from sagemaker_operator.control.features.field_export_controller import Exporter
from sagemaker_operator.control.interfaces import Services
from sagemaker_operator.control.placement.namespace_config import NamespaceConfigs
from sagemaker_operator.control.polling.poller import Poller
from sagemaker_operator.control.reconcile.reconciler import Reconciler
from sagemaker_operator.control.spec.references import Dependants
from sagemaker_operator.control.status.trouble import ObjectTrouble, record_internal_error
from sagemaker_operator.guard import Guard, leaf
from sagemaker_operator.health import metrics_app, probes_app, serve
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kube.collection import Collection
from sagemaker_operator.kube.events import EventRecorder
from sagemaker_operator.kube.layout import Rivals, holder_identity, lease_name
from sagemaker_operator.kube.lease import LeaderElector, LeadershipLost
from sagemaker_operator.logs import Event, emit, get_logger
from sagemaker_operator.runtime.shard import Shard
from sagemaker_operator.scrape import AwsState, ControllerState, Guarded, ObjectStates, ProcessState, WatchState
from sagemaker_operator.settings import Settings, split_address

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Mapping

    from sagemaker_operator.aws.calls import Aws, Outcome
    from sagemaker_operator.aws.sessions import Sessions
    from sagemaker_operator.aws.target import Identity
    from sagemaker_operator.clock import Clock
    from sagemaker_operator.control.placement.namespace_config import Concerned
    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.kube.client import KubeClient
    from sagemaker_operator.metrics import Metrics
    from sagemaker_operator.objects import KubeObject, ObjectKey, Resource

COMPONENT = "sagemaker-operator"

# The heartbeat of the event loop; without one for _LOOP_STALL_SECONDS the liveness probe fails.
_HEARTBEAT_SECONDS = 1.0
_LOOP_STALL_SECONDS = 15.0
# A reconcile is one read and one write; four keep up with 100 sources a second.
_FEATURE_WORKERS = 4


class Manager:
    """Owns the tasks of one operator. `run()` ends when `stop()` was called, or leadership was lost."""

    def __init__(
        self,
        settings: Settings,
        *,
        kinds: Mapping[str, Kind],
        kube: KubeClient,
        sessions: Sessions,
        aws: Aws,
        metrics: Metrics,
        identity: str,
        default_namespace: str,
        clock: Clock,
        rng: random.Random,
        on_synced: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_synced` is called once when the caches of all kinds are full."""
        self._on_synced = on_synced
        self._settings = settings
        self._kinds = kinds
        self._kube = kube
        self._sessions = sessions
        self._aws = aws
        self.metrics = metrics
        self._clock = clock
        self._rng = rng
        self._log = get_logger("operator")
        self._stopping = asyncio.Event()
        self.guard = Guard(
            rng=rng,
            count=metrics.panicked,
            report=lambda obj, error: record_internal_error(self.events, obj, error),
        )
        """Contains unexpected exceptions of all parts."""
        self.events = EventRecorder(
            kube, component=COMPONENT, instance=identity, clock=clock, rng=rng, guard=self.guard
        )
        self._aws_identity = AwsIdentity(
            sessions, aws.expiry, settings, renewed=partial(self._wake, lambda resource, meta: True)
        )
        self._beat = 0.0
        self._owns = Shard(settings.shard, settings.total_shards).owns
        self.controllers = {name: self._controller(kind) for name, kind in kinds.items()}
        self.poller = Poller(
            aws, enqueue=self._enqueue, cadence=settings.cadence, clock=clock, rng=rng, guard=self.guard
        )
        self.features = self._features()
        """Controllers of features. If one's CRD or permission is missing, only that feature does not work."""
        namespace = settings.leader_election_namespace or default_namespace
        self.elector = LeaderElector(
            kube,
            namespace=namespace,
            name=lease_name(settings.shard),
            identity=holder_identity(identity, settings.total_shards),
            rivals=Rivals(kube, namespace=namespace, shard=settings.shard, total=settings.total_shards),
            lease_seconds=settings.lease_seconds,
            renew_deadline=settings.renew_deadline,
            retry_seconds=settings.retry_period,
            clock=clock,
            rng=rng,
        )
        dependants = Dependants(self._enqueue)
        for controller in self.controllers.values():
            controller.informer.listen(dependants.changed, own_writes=True)
        self.namespace_configs = NamespaceConfigs(
            kube,
            settings,
            system_namespace=settings.system_namespace or default_namespace,
            rng=rng,
            wake=self._wake,
            guard=self.guard,
        )
        self._register_collectors()

    def _register_collectors(self) -> None:
        settings = self._settings
        controllers = self.controllers | self.features
        for collector in (
            ControllerState(controllers),
            WatchState(
                lambda: [*(c.informer for c in controllers.values()), *self.namespace_configs.informers],
                now=asyncio.get_running_loop().time,
            ),
            ObjectStates(controllers, each=settings.object_metrics),
            AwsState(self._aws, self._sessions, self.poller, self.controllers),
            ProcessState(
                version=__version__,
                lease=lease_name(settings.shard),
                elector=self.elector if settings.leader_election else None,
                recorder=self.events,
            ),
        ):
            self.metrics.registry.register(Guarded(collector, self.guard))

    def _controller(self, kind: Kind) -> Controller:
        settings = self._settings
        collection = Collection(self._kube, kind.resource, label_selector=settings.watch_selectors or None)
        return self._controller_of(kind.resource, collection, settings.workers(kind.name))

    def _controller_of(self, resource: Resource, collection: Collection, workers: int) -> Controller:
        settings = self._settings
        controller = Controller(
            resource,
            collection,
            namespaces=settings.watch_namespaces,
            workers=workers,
            timeout=settings.reconcile_timeout,
            rng=self._rng,
            metrics=self.metrics,
            owns=self._owns,
            guard=self.guard,
        )
        controller.explain_with(ObjectTrouble(resource, controller, self._kube, self.events, self._clock))
        return controller

    def _features(self) -> dict[str, Controller]:
        settings = self._settings
        features = {}
        if settings.enable_field_export:
            features["FieldExport"] = self._field_export()
        if settings.enable_adopted_resource:
            features["AdoptedResource"] = self._adopted_resource()
        return features

    def _feature(self, resource: Resource) -> Controller:
        return self._controller_of(resource, Collection(self._kube, resource), _FEATURE_WORKERS)

    def _adopted_resource(self) -> Controller:
        controller = self._feature(ADOPTED_RESOURCES)
        adopter = Adopter(
            requests=controller,
            sources=self.controllers,
            kinds=catalog(),
            settings=self._settings,
            enqueue=controller.add,
            kube=self._kube,
            recorder=self.events,
            clock=self._clock,
        )
        controller.attach(adopter)
        controller.informer.listen(adopter.request_changed, own_writes=True)
        for target in self.controllers.values():
            target.informer.listen(adopter.target_changed, own_writes=True)
        return controller

    def _field_export(self) -> Controller:
        controller = self._feature(FIELD_EXPORTS)
        exporter = Exporter(
            exports=controller,
            sources=self.controllers,
            known=tuple(catalog()),
            cross_namespace=self._settings.enable_cross_namespace,
            enqueue=controller.add,
            kube=self._kube,
            recorder=self.events,
            clock=self._clock,
        )
        controller.attach(exporter)
        controller.informer.listen(exporter.export_changed, own_writes=True)
        for source in self.controllers.values():
            source.informer.listen(exporter.source_changed, own_writes=True)
        return controller

    def _other_object(self, key: ObjectKey) -> KubeObject | None:
        """Raises LookupError for a kind that is not reconciled."""
        return self.controllers[key.kind].get(key)

    def _enqueue(self, key: ObjectKey) -> None:
        self.controllers[key.kind].add(key)

    def _wake(self, concerned: Concerned) -> None:
        """The namespace configuration of these objects has changed: reconcile them."""
        for controller in self.controllers.values():
            controller.wake(partial(concerned, controller.resource))

    # --- probes ------------------------------------------------------------------------------------------------------

    def live(self) -> str | None:
        lag = asyncio.get_running_loop().time() - self._beat
        return f"the event loop was blocked for {lag:.0f} s" if self._beat and lag > _LOOP_STALL_SECONDS else None

    def ready(self) -> str | None:
        """Why the operator is not ready, or None. A standby is ready when its caches are. Calls neither AWS nor the API server."""
        if self._stopping.is_set():
            return "stopping"
        if trouble := self._aws_identity.trouble:
            return trouble
        if waiting := self.namespace_configs.waiting:
            return waiting
        for name, controller in self.controllers.items():
            if controller.degraded:
                return f"{name}: {controller.degraded}"
            if not controller.synced:
                return f"{name}: the first list is not complete"
        return self._trouble()

    def _trouble(self) -> str | None:
        """Why the operator cannot work although its caches are synced; None: it can."""
        if self._settings.leader_election and self.elector.refused:
            return self.elector.refused
        return self.guard.degraded or self._kube.refusals.current()

    # --- lifecycle ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Makes `run()` end in order. Idempotent; safe in a signal handler."""
        self._stopping.set()

    async def run(self) -> None:
        """Raises ConfigurationError if the operator cannot start, LeadershipLost if another replica took over."""
        settings = self._settings
        async with AsyncExitStack() as stack:
            probes = probes_app(live=self.live, ready=self.ready)
            await stack.enter_async_context(
                serve(probes, split_address("--healthz-addr", settings.healthz_addr), "--healthz-addr")
            )
            debug = {"poller": self.poller.explain} if settings.debug_endpoints else {}
            metrics = metrics_app(self.metrics.registry, debug=debug)
            await stack.enter_async_context(
                serve(metrics, split_address("--metrics-addr", settings.metrics_addr), "--metrics-addr")
            )
            emit(
                self._log,
                Event.OPERATOR_STARTED,
                version=__version__,
                kinds=list(self._kinds),
                region=settings.aws_region,
                watchNamespaces=list(settings.watch_namespaces) or ["(all)"],
            )
            main = asyncio.create_task(self._main(), name="manager")
            stopping = asyncio.create_task(self._stopping.wait(), name="stop signal")
            try:
                await asyncio.wait({main, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not main.done():
                    await self._drain()
            finally:
                for task in (main, stopping):
                    task.cancel()
                await asyncio.gather(main, stopping, return_exceptions=True)
                await self._close()
            if not main.cancelled():
                failure = main.exception()
                if failure is not None:
                    failure = leaf(failure)
                    if isinstance(failure, LeadershipLost):
                        emit(self._log, Event.LEADER_LOST, identity=self.elector.identity, err=str(failure))
                    raise failure

    async def _main(self) -> None:
        async with asyncio.TaskGroup() as group:

            def keep(part: str, name: str, run: Callable[[], Awaitable[object]]) -> None:
                """Run a task in the guard. Only tasks outside of it can end the operator: the lease's, and this one."""
                group.create_task(self.guard.keep(part, name, run), name=name)

            keep("operator", "heartbeat", self._heartbeat)
            settings = self._settings
            identity = await self._aws_identity.establish()
            keep("operator", "credentials", self._aws_identity.watch)
            # Parsing the service model takes 0.15 s: better now than in the first create.
            async with self._sessions.client(
                SERVICE, Target(identity.account, settings.aws_region, None, settings.aws_endpoint_url)
            ):
                pass
            for kind, controller in self.controllers.items():
                controller.attach(self._reconciler(self._kinds[kind], controller, identity))
            for kind, controller in (self.controllers | self.features).items():
                keep(kind.lower(), f"watch {kind}", controller.watch)
            keep("namespace-config", "watch namespace configuration", self.namespace_configs.run)
            keep("events", "events", self.events.run)
            keep("operator", "ready", self._announce_ready)
            keep("operator", "synced", self._synced)
            # Wait for the role maps before becoming leader: without them a reconcile could only guess the account.
            await self.namespace_configs.wait()
            if self._settings.leader_election:
                group.create_task(self.elector.run(), name="lease")
                await self.elector.leading.wait()
                emit(self._log, Event.LEADER_ACQUIRED, identity=self.elector.identity)
            for kind, controller in (self.controllers | self.features).items():
                keep(kind.lower(), f"work {kind}", controller.work)

    def _reconciler(self, kind: Kind, controller: Controller, identity: Identity) -> Reconciler:
        return Reconciler(
            kind,
            Services(
                settings=self._settings,
                identity=identity,
                cache=controller,
                kube=self._kube,
                aws=self._aws,
                other_objects=self._other_object,
                tracker=self.poller,
                recorder=self.events,
                count_transition=controller.metrics.count_transition,
                namespace_configs=self.namespace_configs,
                regions=self._sessions.region_problem,
                clock=self._clock,
                rng=self._rng,
            ),
        )

    async def _synced(self) -> None:
        await asyncio.gather(*(controller.informer.synced.wait() for controller in self.controllers.values()))
        self._on_synced()

    async def _announce_ready(self) -> None:
        """Log once when everything is ready, and the reason each time when it is degraded."""
        reported: str | None = ""
        while True:
            state = self.ready()
            if state != reported and (state is None or self._is_degraded()):
                reported = state
                if state is None:
                    emit(self._log, Event.OPERATOR_READY)
                else:
                    emit(self._log, Event.OPERATOR_DEGRADED, err=state)
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    def _is_degraded(self) -> bool:
        return bool(self._aws_identity.expired or self.namespace_configs.degraded or self._trouble()) or any(
            c.degraded for c in self.controllers.values()
        )

    async def _heartbeat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._beat = loop.time()
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            self.metrics.loop_lag.observe(max(0.0, loop.time() - self._beat - _HEARTBEAT_SECONDS))

    async def _drain(self) -> None:
        """Let reconciles in flight finish, so that a create's ARN is recorded; all else is observed again at the next start."""
        emit(self._log, Event.OPERATOR_STOPPING)
        await self.poller.close()
        controllers = (self.controllers | self.features).values()
        for controller in controllers:
            controller.queue.shutdown()
        async with asyncio.timeout(self._settings.drain_seconds + 1.0):
            await asyncio.gather(*(c.queue.join(self._settings.drain_seconds) for c in controllers))
        await self.events.flush(2.0)

    async def _close(self) -> None:
        await self.poller.close()
        if self._settings.leader_election:
            await self.elector.release()


def observe_aws(metrics: Metrics, outcome: Outcome) -> None:
    """Count a call of `Aws` in the metrics."""
    metrics.aws_call(
        outcome.operation,
        requests=outcome.attempts,
        failures=[(error.category, error.code, error.http_status) for error in outcome.failures],
        seconds=outcome.seconds,
        long_waits=sum(error.asked_to_wait is not None for error in outcome.failures),
    )


def observe_kube(
    metrics: Metrics, host: str, method: str, plural: str, subresource: str, status: int, seconds: float
) -> None:
    """Count a request of a `KubeClient` to the API server at `host` in the metrics."""
    metrics.kube_request(host, method, status, seconds)
