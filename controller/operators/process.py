"""The life of the operator process.

HTTP port, lease, use cases (with the installation id), a first look at everything, then workers and watches; until a
signal, a lost lease or a failure. What is composed of adapters and use cases comes from the caller, so that tests run
the same process with an engine of their own. Exit codes: 0 asked to end, 1 something failed, 3 the lease was lost.
"""

import asyncio
import logging
import random
import signal
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge

from controller.api import names
from controller.api.v1alpha1 import KINDS, RECORDS
from controller.clock import Clock
from controller.faults import Fault
from controller.kube import paths
from controller.kube.client import AioTransport, load_configuration
from controller.kube.cluster import KubernetesCluster
from controller.kube.events import EventRecorder
from controller.kube.lease import Lease, LeaseTiming, boot_seconds
from controller.kube.transport import Failure, Refused, Request, Transport
from controller.operators.comparing import Comparison, fill
from controller.operators.flags import Invocation
from controller.operators.http import Health, HttpPort
from controller.operators.observing import Observer
from controller.operators.redaction import Redactor
from controller.operators.watching import Watching
from controller.reconcile.engine import Engine
from controller.reconcile.metrics import Metrics
from controller.reconcile.objects import ObjectStore
from controller.settings import Settings

LOG = logging.getLogger(__name__)

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_LEASE_LOST = 3

LEASE_NAME = "meta-catalog-operator"
WATCHED = tuple(kind for kind in KINDS if kind not in RECORDS)
"""The ledgers are written by the operator alone and read when they are needed."""
START_RETRY_SECONDS = 5.0
FLUSH_SECONDS = 2.0
"""At the end, for events that nobody has written yet."""
PULSE_SECONDS = 1.0
LAG_SECONDS_MAX = 30.0
LAG_REMEMBERED = 60
OVERDUE_SECONDS_MAX = 600.0
"""A reconcile never waits for Meta's results, so a key that is due for so long means that all workers hang."""
COMPARISON_INTERVALS_MAX = 3
COMPARISON_GRACE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What the process brings; the composition adds everything about catalogs."""

    settings: Settings
    clock: Clock
    rng: random.Random
    cluster: KubernetesCluster
    objects: ObjectStore
    metrics: Metrics
    lease_valid: Callable[[], bool]
    incarnation: str


@dataclass(frozen=True, slots=True)
class Composed:
    """What works."""

    engine: Engine
    start: Callable[[], Awaitable[None]]
    """Called once the store is filled, before the workers start. Raises Fault; then all is composed anew."""
    close: Callable[[], Awaitable[None]]
    """Ends what the engine has started, handing over what is on its way."""


Compose = Callable[[Parts], Awaitable[Composed]]
"""Raises Fault where something that it needs is not there yet."""


@dataclass(frozen=True, slots=True)
class _Started:
    composed: Composed
    observer: Observer
    comparison: Comparison


class Pulse:
    """How late the event loop runs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._gauge = Gauge(
            "metacatalog_event_loop_lag_seconds", "Delay of the event loop, worst of a minute", registry=registry
        )
        self._gauge.set_function(self.worst)
        self._lags: deque[float] = deque(maxlen=LAG_REMEMBERED)

    def worst(self) -> float:
        return max(self._lags, default=0.0)

    async def run(self) -> None:
        while True:
            before = boot_seconds()
            await asyncio.sleep(PULSE_SECONDS)
            self._lags.append(max(boot_seconds() - before - PULSE_SECONDS, 0.0))


class Signals:
    """The first SIGTERM or SIGINT asks to end, the second to hurry."""

    def __init__(self) -> None:
        self.end = asyncio.Event()
        self.hurry = asyncio.Event()

    def install(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._received, number.name)

    def _received(self, name: str) -> None:
        LOG.info("signal received", extra={"signal": name})
        (self.hurry if self.end.is_set() else self.end).set()


class Process:
    """One start. `run` returns the exit code."""

    def __init__(
        self, invocation: Invocation, compose: Compose, redactor: Redactor, clock: Clock, rng: random.Random
    ) -> None:
        self._settings = invocation.settings
        self._kubeconfig = invocation.kubeconfig
        self._compose = compose
        self._redactor = redactor
        self._clock = clock
        self._rng = rng
        self._identity = f"{socket.gethostname()}_{rng.getrandbits(64):016x}"
        self._metrics = Metrics(CollectorRegistry())
        self._objects = ObjectStore()
        self._health = Health()
        self._signals = Signals()
        self._pulse = Pulse(self._metrics.registry)

    async def run(self) -> int:
        self._signals.install()
        async with AsyncExitStack() as stack:
            port = HttpPort(self._settings.http_host, self._settings.http_port, self._health, self._metrics.registry)
            await stack.enter_async_context(port)
            transport = AioTransport(await load_configuration(self._kubeconfig))
            await stack.enter_async_context(transport)
            lease = self._lease(transport)
            self._health.ready["api-server"] = lambda: None if lease.reached else "not reached"
            self._health.live["event-loop"] = self._loop_check
            background = [_task(self._pulse.run()), _task(self._signals.end.wait())]
            stack.push_async_callback(_cancel, *background)
            if not await _before(lease.acquire(), background[1]):
                return EXIT_DONE
            try:
                return await self._lead(transport, lease)
            finally:
                self._metrics.leader.set(0)
                await lease.release()

    async def _lead(self, transport: Transport, lease: Lease) -> int:
        keeping = _task(lease.keep())
        ending = _task(self._signals.end.wait())
        self._metrics.leader.set_function(lambda: float(lease.valid()))
        self._health.live["lease"] = lambda: None if lease.valid() else "overdue"
        self._lease_gauge(lease)
        recorder = self._recorder(transport)
        recording = _task(recorder.run())
        cluster = self._cluster(transport, recorder)
        try:
            starting = _task(self._start(transport, self._parts(cluster, lease)))
            await asyncio.wait([keeping, ending, starting], return_when=asyncio.FIRST_COMPLETED)
            if keeping.done() or ending.done():
                await _cancel(starting)
                return _why(keeping, ending)
            code = await self._work(starting.result(), keeping, ending)
            if lease.valid():
                await recorder.flush(FLUSH_SECONDS)
            return code
        finally:
            await _cancel(keeping, ending, recording)

    async def _work(self, started: _Started, keeping: asyncio.Task[None], ending: asyncio.Task[bool]) -> int:
        engine = started.composed.engine
        watching = Watching(
            WATCHED, started.observer.event, kubeconfig=self._kubeconfig, namespaces=self._settings.watch_namespaces
        )
        workers = [_task(engine.run()), _task(started.comparison.run())]
        watching.start()
        LOG.info("working", extra={"identity": self._identity, "objects": self._objects.count()})
        try:
            ends: list[asyncio.Future[Any]] = [keeping, ending, watching.ended, *workers]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            return _why(keeping, ending, *ends[2:])
        finally:
            # No new work; what is on its way is handed over while the watches and the lease still run.
            await _cancel(*workers)
            hurry = _task(self._signals.hurry.wait())
            await _before(started.composed.close(), hurry)
            await _cancel(hurry)
            await watching.close()

    async def _start(self, transport: Transport, parts: Parts) -> _Started:
        """Compose and fill, again and again until it succeeds: what is missing may come at any time."""
        said = ""
        while True:
            try:
                missing = await missing_kinds(transport)
                if not missing:
                    started = await self._start_once(parts)
                    self._health.ready.pop("start", None)
                    return started
                trouble = f"kinds are not served: {', '.join(missing)}; install the CRDs"
            except Failure as failure:
                trouble = str(failure)
            except Fault as fault:
                trouble = fault.message
            self._health.ready["start"] = partial(str, trouble)
            if trouble != said:
                LOG.warning("can't start yet", extra={"why": trouble})
                said = trouble
            await asyncio.sleep(START_RETRY_SECONDS)

    async def _start_once(self, parts: Parts) -> _Started:
        composed = await self._compose(parts)
        observer = Observer(composed.engine, self._objects, monotonic=boot_seconds)
        try:
            await fill(parts.cluster, observer, WATCHED)
            await composed.start()
        except BaseException:
            await composed.close()
            raise
        comparison = Comparison(
            parts.cluster,
            self._objects,
            observer,
            WATCHED,
            interval_seconds=self._settings.timing.relist.total_seconds(),
            monotonic=boot_seconds,
            registry=self._metrics.registry,
        )
        self._watch_over(composed.engine, observer, comparison)
        return _Started(composed, observer, comparison)

    def _lease(self, transport: Transport) -> Lease:
        timing = LeaseTiming(
            self._settings.lease_seconds, self._settings.lease_renew_seconds, self._settings.lease_retry_seconds
        )
        return Lease(
            transport,
            self._clock,
            namespace=self._settings.namespace,
            name=LEASE_NAME,
            identity=self._identity,
            timing=timing,
            rng=self._rng,
        )

    def _recorder(self, transport: Transport) -> EventRecorder:
        dropped = Counter(
            "metacatalog_events_dropped_total", "Events that nobody will see", registry=self._metrics.registry
        )
        return EventRecorder(
            transport,
            self._clock,
            namespace=self._settings.namespace,
            instance=self._identity,
            on_drop=dropped.inc,
        )

    def _cluster(self, transport: Transport, recorder: EventRecorder) -> KubernetesCluster:
        return KubernetesCluster(
            transport,
            recorder,
            namespace=self._settings.namespace,
            watch_namespaces=self._settings.watch_namespaces,
            known=self._objects.get,
            on_secret=self._redactor.register,
        )

    def _parts(self, cluster: KubernetesCluster, lease: Lease) -> Parts:
        return Parts(
            settings=self._settings,
            clock=self._clock,
            rng=self._rng,
            cluster=cluster,
            objects=self._objects,
            metrics=self._metrics,
            lease_valid=lease.valid,
            incarnation=self._identity,
        )

    def _watch_over(self, engine: Engine, observer: Observer, comparison: Comparison) -> None:
        """Let metrics and probes look at what works now."""
        compared_max = (
            self._settings.timing.relist.total_seconds() * COMPARISON_INTERVALS_MAX + COMPARISON_GRACE_SECONDS
        )

        def watches() -> str | None:
            if comparison.blind:
                return f"blind: {', '.join(comparison.blind)}"
            return None if boot_seconds() - comparison.compared_at < compared_max else "not compared for too long"

        def queue() -> str | None:
            return None if engine.queue.overdue() < OVERDUE_SECONDS_MAX else "due keys are not taken"

        self._health.live["watches"] = watches
        self._health.live["queue"] = queue
        self._metrics.queue_depth.set_function(lambda: float(len(engine.queue)))
        started = boot_seconds()
        for kind in WATCHED:
            self._metrics.last_event_age.labels(kind.KIND).set_function(
                partial(_age, observer.last_event_at, kind.KIND, started)
            )

    def _lease_gauge(self, lease: Lease) -> None:
        Gauge(
            "metacatalog_lease_seconds_left", "How long the lease is still believed", registry=self._metrics.registry
        ).set_function(lease.seconds_left)

    def _loop_check(self) -> str | None:
        return None if self._pulse.worst() < LAG_SECONDS_MAX else f"late by {self._pulse.worst():.0f} s"


def _age(last: Mapping[str, float], kind: str, started: float) -> float:
    return boot_seconds() - last.get(kind, started)


async def missing_kinds(transport: Transport) -> tuple[str, ...]:
    """Our kinds that the API server does not serve. (kopf would watch none of them, silently.) Raises Failure."""
    try:
        answer = await transport.send(Request("GET", paths.group()))
    except Refused as refused:
        if refused.status != 404:
            raise
        served = set()
    else:
        served = {resource["name"] for resource in answer.get("resources", ())}
    return tuple(f"{kind.PLURAL}.{names.GROUP}" for kind in KINDS if kind.PLURAL not in served)


def _task(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(work)


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _before(work: Awaitable[None], end: asyncio.Task[Any]) -> bool:
    """Await the work unless the end comes first. Whether the work was done."""
    working = asyncio.ensure_future(work)
    await asyncio.wait([working, end], return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        working.result()
        return True
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    return False


def _why(keeping: asyncio.Future[Any], ending: asyncio.Future[Any], *works: asyncio.Future[Any]) -> int:
    """What ended first, as an exit code."""
    for ended in (keeping, *works):
        if ended.done():
            error = ended.exception() or ended.result()
            if isinstance(error, BaseException):
                LOG.error("something ended that never should", exc_info=error)
    if keeping.done():
        return EXIT_LEASE_LOST
    return EXIT_DONE if ending.done() else EXIT_FAILED
