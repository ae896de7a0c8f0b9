"""A context of real parts in memory: API server, store on a temporary directory, no Meta and no shop."""

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client import CollectorRegistry
from typing_extensions import override

from controller.api import names
from controller.kube.cluster import KubernetesCluster
from controller.kube.events import EventRecorder
from controller.meta.client import HttpxGraphFactory
from controller.preparing.inline import InlinePreparing
from controller.reconcile.context import Context
from controller.reconcile.ledgers import LedgerBook
from controller.reconcile.metrics import Metrics
from controller.reconcile.objects import ObjectStore
from controller.scheduling.governor import LedgerGovernor
from controller.settings import Settings
from controller.sources.probe import SourceProbe
from controller.stores.local import LocalStore
from tests.kubernetes_memory import Faults, Incarnation, MemoryApiServer, MemoryTransport
from tests.simulation.process import GatedStore
from tests.virtual_time import SimulatedClock


class Nowhere(httpx.AsyncBaseTransport):
    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("there is nobody", request=request)


@dataclass(frozen=True, slots=True)
class Life:
    """One operator process without anything running in it."""

    context: Context
    book: LedgerBook
    faults: Faults


class Surroundings:
    """What processes have in common."""

    def __init__(self, directory: Path) -> None:
        self.clock = SimulatedClock(asyncio.get_running_loop())
        self.server = MemoryApiServer(self.clock.now)
        self.server.create_namespace(names.OPERATOR_NAMESPACE)
        self.store = LocalStore(directory / "store", durable=False)
        self.store.claim_identity("test")
        self._lives = 0

    def life(self) -> Life:
        self._lives += 1
        name = f"life-{self._lives}"
        incarnation = Incarnation(name)
        faults = Faults()
        transport = MemoryTransport(self.server, incarnation, rng=random.Random(self._lives), faults=faults)
        settings = Settings(endpoint="http://127.0.0.1:1", workers=2)
        recorder = EventRecorder(transport, self.clock, namespace=settings.namespace, instance=name)
        objects = ObjectStore()
        cluster = KubernetesCluster(transport, recorder, namespace=settings.namespace, known=objects.get)
        governor = LedgerGovernor(self.clock, lambda: True)
        store = GatedStore(self.store, incarnation)
        nowhere = Nowhere()
        context = Context(
            clock=self.clock,
            rng=random.Random(self._lives),
            cluster=cluster,
            graphs=HttpxGraphFactory(
                settings.endpoint, governor, self.clock, transport_factory=lambda: nowhere, traced=True
            ),
            preparing=InlinePreparing(),
            store=store,
            probe=SourceProbe(allowed_networks=()),
            governor=governor,
            objects=objects,
            settings=settings,
            metrics=Metrics(CollectorRegistry()),
            incarnation=name,
        )
        busy = settings.timing.batch_abandon
        book = LedgerBook(cluster, store, self.clock, governor, settings.namespace, busy)
        return Life(context, book, faults)
