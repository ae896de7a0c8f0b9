"""One operator process in the simulated world, built from the real use cases over gated ports.

Gated: when the process is cut (kill -9) no effect gets out of any port, and while it is paused (SIGSTOP) nothing does.
What has left before arrives.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import httpx
from prometheus_client import CollectorRegistry
from typing_extensions import override

from controller.api.resource import ObjectKey, Resource
from controller.api.v1alpha1 import KINDS, RECORDS
from controller.kube.cluster import KubernetesCluster
from controller.kube.events import EventRecorder
from controller.kube.transport import Json
from controller.meta.client import HttpxGraphFactory
from controller.ports.preparing import Limits, Request, Result, SourceCredentials
from controller.preparing.inline import InlinePreparing
from controller.reconcile import wiring
from controller.reconcile.context import Context
from controller.reconcile.metrics import Metrics
from controller.reconcile.objects import ObjectStore
from controller.scheduling.governor import LedgerGovernor
from controller.settings import Settings
from controller.sources.http import HTTPReader
from controller.sources.probe import SourceProbe
from controller.stores.local import LocalStore
from tests.kubernetes_memory import Faults, Incarnation, Informer, MemoryApiServer, MemoryTransport
from tests.simulation.shop import Shop, ShopTransport
from tests.virtual_time import SimulatedClock

LEASE_SECONDS = 15.0
RENEW_SECONDS = 10.0
SHOP_ADDRESS = "127.0.0.9"
ENDPOINT = "http://127.0.0.1:1"


class GatedTransport(httpx.AsyncBaseTransport):
    """The process's way to Meta."""

    def __init__(self, inner: httpx.AsyncBaseTransport, incarnation: Incarnation) -> None:
        self._inner = inner
        self._incarnation = incarnation

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self._incarnation.gate()
        stream = request.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        gated = httpx.Request(
            request.method,
            request.url,
            headers=request.headers,
            stream=_GatedStream(stream, self._incarnation),
            extensions=request.extensions,
        )
        response = await self._inner.handle_async_request(gated)
        await self._incarnation.gate()
        return response


class _GatedStream(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, incarnation: Incarnation) -> None:
        self._inner = inner
        self._incarnation = incarnation

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._inner:
            await self._incarnation.gate()
            yield piece


class GatedStore:
    """controller.ports.stores.Store over the real local store, without threads."""

    def __init__(self, store: LocalStore, incarnation: Incarnation) -> None:
        self._store = store
        self._incarnation = incarnation
        self.url = store.url

    async def identity(self) -> str | None:
        await self._incarnation.gate()
        return self._store.identity()

    async def claim_identity(self, identity: str) -> None:
        await self._incarnation.gate()
        self._store.claim_identity(identity)

    async def read(self, key: str) -> bytes | None:
        await self._incarnation.gate()
        return self._store.read(key)

    async def write(self, key: str, content: bytes) -> None:
        await self._incarnation.gate()
        self._store.write(key, content)

    async def keys(self, prefix: str) -> tuple[str, ...]:
        await self._incarnation.gate()
        return tuple(self._store.keys(prefix))

    async def delete(self, keys: tuple[str, ...]) -> None:
        await self._incarnation.gate()
        self._store.delete(keys)

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        await self._incarnation.gate()
        content = self._store.read(key)
        assert content is not None, key
        yield content


class GatedPreparing:
    """Steps run in this process and take virtual time: a crash in the middle leaves what a killed child leaves."""

    def __init__(self, shop: Shop, incarnation: Incarnation, rng: random.Random) -> None:
        self._inner = InlinePreparing(
            http=lambda networks: HTTPReader(
                networks, transport=ShopTransport(shop), resolver=lambda _host, _port: [SHOP_ADDRESS]
            )
        )
        self._incarnation = incarnation
        self._rng = rng
        # Half of the processes keep what a large catalog needs, so that each way reads what the other one left.
        self._limits = Limits(incremental_rows_min=rng.choice((0, Limits().incremental_rows_min)))

    async def run(self, request: Request, credentials: SourceCredentials | None = None) -> Result:
        await self._incarnation.gate()
        await asyncio.sleep(self._rng.uniform(0.0, 3.0))
        await self._incarnation.gate()
        request = request.model_copy(update={"limits": self._limits})
        result = await self._inner.run(request, credentials)
        await asyncio.sleep(self._rng.uniform(0.0, 0.5))
        await self._incarnation.gate()
        return result


async def _resolve(_host: str, _port: int) -> list[str]:
    return [SHOP_ADDRESS]


@dataclass(slots=True)
class Lease:
    """The coordination Lease of the simulated world: who holds it, and until when by the world's clock."""

    holder: str = ""
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all processes share."""

    server: MemoryApiServer
    graph: httpx.AsyncBaseTransport
    store: LocalStore
    shop: Shop
    settings: Settings
    lease: Lease
    kubernetes_faults: Faults


class Process:
    """Started, then cut or paused by the world."""

    def __init__(self, name: str, around: Surroundings, rng: random.Random) -> None:
        self.name = name
        self.incarnation = Incarnation(name)
        self._around = around
        self._rng = rng
        self._deadline = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._recorder: EventRecorder | None = None
        self.failed: BaseException | None = None
        self._operator: wiring.Operator | None = None

    def start(self) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(self._run(), name=self.name))

    def kill(self) -> None:
        """Kill -9: no effect of anything gets out any more."""
        self.incarnation.cut()
        for task in self._tasks:
            task.cancel()

    def stop(self) -> None:
        """SIGTERM: nothing new starts, and what is on its way is handed over."""
        for task in self._tasks:
            task.cancel()

    def pause(self) -> None:
        self.incarnation.pause()

    def resume(self) -> None:
        self.incarnation.resume()

    @property
    def alive(self) -> bool:
        return not self.incarnation.cut_off and any(not task.done() for task in self._tasks)

    def _lease_valid(self) -> bool:
        return not self.incarnation.paused and asyncio.get_running_loop().time() < self._deadline

    async def _run(self) -> None:
        try:
            await self._acquire()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._renew())
                await self._operate(group)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - kept for the world to judge
            if not self.incarnation.cut_off:
                self.failed = error
        finally:
            if self._operator is not None and not self.incarnation.cut_off:
                await self._operator.close()

    async def _acquire(self) -> None:
        lease = self._around.lease
        loop = asyncio.get_running_loop()
        while True:
            await self.incarnation.gate()
            if lease.holder in ("", self.name) or loop.time() >= lease.until:
                lease.holder, lease.until = self.name, loop.time() + LEASE_SECONDS
                self._deadline = loop.time() + LEASE_SECONDS
                return
            await asyncio.sleep(2.0)

    async def _renew(self) -> None:
        """Renew in time, or end the process."""
        lease = self._around.lease
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await self.incarnation.gate()
            if lease.holder != self.name or loop.time() >= self._deadline:
                raise LeaseLostError(self.name)
            lease.until = self._deadline = loop.time() + LEASE_SECONDS

    async def _operate(self, group: asyncio.TaskGroup) -> None:
        context = self._context()
        assert self._recorder is not None
        group.create_task(self._recorder.run())
        operator = self._operator = await wiring.build(context)
        for kind in KINDS:
            if kind in RECORDS:
                continue
            informer = Informer(
                self._around.server,
                self._transport(),
                self.incarnation,
                kind,
                _deliver(operator.engine.observed, operator.engine.vanished),
                rng=random.Random(self._rng.random()),
                delay_max_seconds=1.0,
            )
            group.create_task(informer.run())
        await wiring.start(operator)
        group.create_task(operator.engine.run())

    def _transport(self) -> MemoryTransport:
        return MemoryTransport(
            self._around.server,
            self.incarnation,
            rng=random.Random(self._rng.random()),
            faults=self._around.kubernetes_faults,
        )

    def _context(self) -> Context:
        clock = SimulatedClock(asyncio.get_running_loop())
        settings = self._around.settings
        objects = ObjectStore()
        transport = self._transport()
        recorder = self._recorder = EventRecorder(transport, clock, namespace=settings.namespace, instance=self.name)
        cluster = KubernetesCluster(transport, recorder, namespace=settings.namespace, known=objects.get)
        governor = LedgerGovernor(clock, self._lease_valid)
        graph = GatedTransport(self._around.graph, self.incarnation)
        return Context(
            clock=clock,
            rng=random.Random(self._rng.random()),
            cluster=cluster,
            graphs=HttpxGraphFactory(ENDPOINT, governor, clock, transport_factory=lambda: graph, traced=True),
            preparing=GatedPreparing(self._around.shop, self.incarnation, random.Random(self._rng.random())),
            store=GatedStore(self._around.store, self.incarnation),
            probe=SourceProbe(
                allowed_networks=settings.allow_source_network,
                transport=ShopTransport(self._around.shop),
                resolver=_resolve,
            ),
            governor=governor,
            objects=objects,
            settings=settings,
            metrics=Metrics(CollectorRegistry()),
            incarnation=self.name,
        )


class LeaseLostError(RuntimeError):
    """The process noticed that it lost the lease, and ends."""


def _deliver(
    observed: Callable[[Resource], None], vanished: Callable[[ObjectKey], None]
) -> Callable[[type[Resource], str | None, Json], None]:
    def deliver(kind: type[Resource], change: str | None, wire: Json) -> None:
        resource = kind.from_wire(wire)
        if change == "DELETED":
            vanished(resource.key)
        else:
            observed(resource)

    return deliver
