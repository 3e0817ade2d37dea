"""`run`: the composition root. The only place that reads the real clock, the real random and the process's signals."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import socket
import sys
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from sagemaker_operator.aws.calls import Aws
from sagemaker_operator.aws.endpoints import configured_endpoint
from sagemaker_operator.aws.limiter import CEILINGS, Limiter
from sagemaker_operator.aws.sessions import Sessions
from sagemaker_operator.cli.flags import settings_from, settings_options, without_effect
from sagemaker_operator.cli.types import meant
from sagemaker_operator.clock import wall_clock
from sagemaker_operator.errors import (
    ConfigurationError,
    Forbidden,
    KubeError,
    NotFound,
    NotServed,
    Unauthorized,
    Unavailable,
)
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kube.client import KubeClient
from sagemaker_operator.kube.config import load_config
from sagemaker_operator.kube.http import HttpTransport
from sagemaker_operator.logs import configure, get_logger
from sagemaker_operator.manager import Manager, observe_aws, observe_kube
from sagemaker_operator.metrics import Metrics
from sagemaker_operator.settings import endpoint_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from sagemaker_operator.clock import Clock
    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.kube.transport import Transport
    from sagemaker_operator.settings import Settings


@settings_options
def run(**values: Any) -> None:
    """Run the operator, in a cluster or against a kubeconfig."""
    settings = with_configured_endpoints(settings_from(values))
    configure(level=settings.log_level, format_=settings.log_format, clock=wall_clock)
    for option in without_effect(values):
        get_logger("setup").warning("Flag has no effect", flag=option.flag, err=option.help)
    run_loop(operate(settings))


def with_configured_endpoints(settings: Settings) -> Settings:
    """Fill endpoints without a flag from botocore's variables and config file. Raises ConfigurationError."""
    found = {}
    for setting, service in (("aws_endpoint_url", "sagemaker"), ("aws_identity_endpoint_url", "sts")):
        configured = configured_endpoint(service) if getattr(settings, setting) is None else None
        if configured is None:
            continue
        if problem := endpoint_problem(configured.url, unsafe=settings.allow_unsafe_aws_endpoint_urls):
            raise ConfigurationError(f"{configured.source} {problem}")
        found[setting] = configured.url
    return msgspec.structs.replace(settings, **found)


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run in uvloop, which takes a quarter less CPU under load; not on Windows. Ctrl-C ends without a traceback."""
    try:
        if sys.platform == "win32":
            asyncio.run(main)
        else:
            import uvloop

            uvloop.run(main)
    except KeyboardInterrupt:
        sys.exit(130)


_LISTED = "; `sagemaker-operator kinds` lists them"


def chosen_kinds(settings: Settings) -> Mapping[str, Kind]:
    """The descriptors of the kinds to reconcile. Raises ConfigurationError for a flag with an unknown kind."""
    known = catalog()
    for flag, names in (
        ("--reconcile-resources", settings.reconcile_resources),
        ("--reconcile-resource-max-concurrent-syncs", settings.max_concurrent_syncs_of),
        ("--reconcile-resource-resync-seconds", settings.resync_seconds_of),
    ):
        for name in names:
            if name not in known:
                raise ConfigurationError(f"{flag}: there is no kind {name!r}{meant(name, known, otherwise=_LISTED)}")
    chosen = settings.reconcile_resources
    return {name: kind for name, kind in known.items() if not chosen or name in chosen}


async def operate(
    settings: Settings,
    *,
    credentials: tuple[str, str] | None = None,
    through: Callable[[Transport], Transport] = lambda transport: transport,
    stop: asyncio.Event | None = None,
    clock: Clock = wall_clock,
) -> None:
    """One operator from start to stop. Raises ConfigurationError if it cannot start.

    Without `stop` it listens to SIGTERM and SIGINT: the first stops in order, a second one at once. `through` may wrap
    the connection to Kubernetes (the demo counts with it); `credentials` replace AWS's default chain, and `clock` is the
    one that resources' times are compared with (the sandbox's runs faster).
    """
    stopping = stop or asyncio.Event()
    if stop is None:
        # Before anything else: the start waits for servers, and PID 1 without a handler ignores SIGTERM.
        _stop_on_signals(stopping)
    started = asyncio.Event()
    running = asyncio.create_task(
        _operate(settings, stopping, started, credentials=credentials, through=through, clock=clock)
    )
    stopped = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done() and not started.is_set():
            return  # nothing has started that would have to be stopped in order
        await running
    finally:
        for task in (running, stopped):
            task.cancel()
        await asyncio.gather(running, stopped, return_exceptions=True)


async def _operate(
    settings: Settings,
    stop: asyncio.Event,
    started: asyncio.Event,
    *,
    credentials: tuple[str, str] | None,
    through: Callable[[Transport], Transport],
    clock: Clock,
) -> None:
    """Sets `started` once the manager exists, which `stop` ends in order."""
    kinds = chosen_kinds(settings)
    rng = random.Random()
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        access = await load_config(kubeconfig=settings.kubeconfig, context=settings.context)
        transport = through(await stack.enter_async_context(HttpTransport(access)))
        kube = KubeClient(transport, observer=partial(observe_kube, metrics, urlsplit(access.server).netloc))
        await _check_cluster(kube, kinds, settings, access.source)
        sessions = await stack.enter_async_context(_sessions(settings, credentials))

        def fence(budget: float) -> bool:
            return not settings.leader_election or manager.elector.fenced(budget)

        aws = Aws(
            sessions,
            Limiter(rng=rng, ceilings={**CEILINGS, **settings.aws_rate_limits}, shards=settings.total_shards),
            rng=rng,
            observe=partial(observe_aws, metrics),
            fence=fence,
        )
        manager = Manager(
            settings,
            kinds=kinds,
            kube=kube,
            sessions=sessions,
            aws=aws,
            metrics=metrics,
            identity=f"{os.environ.get('HOSTNAME') or socket.gethostname()}_{rng.getrandbits(32):08x}",
            default_namespace=access.namespace,
            clock=clock,
            rng=rng,
            on_synced=settle_memory,
        )
        watcher = asyncio.create_task(_stop_on_event(stop, manager))
        started.set()
        try:
            await manager.run()
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)


def _sessions(settings: Settings, credentials: tuple[str, str] | None) -> Sessions:
    tags = (tag.partition("=") for tag in settings.assume_role_session_tags)
    return Sessions(
        clock=wall_clock,
        credentials=credentials,
        read_timeout=settings.http_client_timeout,
        external_id=settings.assume_role_external_id or None,
        session_tags={key: value for key, _, value in tags},
        sts_endpoint_url=settings.aws_identity_endpoint_url,
    )


def settle_memory() -> None:
    """Exclude all objects that exist when the caches are synced from garbage collection.

    They are permanent. The service model alone is 300,000 objects: each full collection would block the loop for 90 ms.
    """
    gc.collect()
    gc.freeze()


async def _stop_on_event(stop: asyncio.Event, manager: Manager) -> None:
    await stop.wait()
    manager.stop()


def _stop_on_signals(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)


async def _check_cluster(kube: KubeClient, kinds: Mapping[str, Kind], settings: Settings, source: str) -> None:
    """Check access to the kinds: without it the operator would be idle. Raises ConfigurationError."""
    for kind in kinds.values():
        for namespace in settings.watch_namespaces or (None,):
            where = f"in namespace {namespace}" if namespace else "in the cluster"
            try:
                await kube.list_page(
                    kind.resource, namespace=namespace, limit=1, label_selector=settings.watch_selectors or None
                )
            except (NotFound, NotServed) as error:
                raise ConfigurationError(
                    f"the cluster has no {kind.crd_name}: install it with `sagemaker-operator crds | kubectl apply -f -`"
                ) from error
            except Forbidden as error:
                raise ConfigurationError(
                    f"not allowed to list {kind.plural} {where}: apply manifests/rbac.yaml for this identity ({error.message})"
                ) from error
            except Unauthorized as error:
                raise ConfigurationError(
                    f"the API server does not accept the credentials of {source}: {error.message}"
                ) from error
            except Unavailable as error:
                raise ConfigurationError(f"cannot reach the API server of {source}: {error.message}") from error
            except KubeError as error:
                if error.status == 400 and settings.watch_selectors:
                    raise ConfigurationError(
                        f"--watch-selectors: {settings.watch_selectors!r} is not a label selector: {error.message}"
                    ) from error
                raise ConfigurationError(f"the API server of {source} answered: {error.message}") from error
