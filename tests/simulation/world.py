"""The whole simulated world: API server, Meta, shop, people, and operator processes that come and go.

Everything is drawn from one seed, with an independent child seed per component, so that one more draw in one place
shifts nothing in the others. The operator under test is the real one from `controller.reconcile` down; what is judged
is what Meta saw.
"""

import asyncio
import base64
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from typing_extensions import override

from controller.api import names
from controller.api.resource import Resource
from controller.api.v1alpha1 import Catalog, CatalogLedger, MetaConnection, SyncOperation
from controller.kube import paths
from controller.kube.transport import ContentType, Json, Request
from controller.settings import Settings, Timing
from controller.stores.local import LocalStore
from hack.emulator import auditor, jsons
from hack.emulator.app import Emulator
from hack.emulator.faults import FaultPlan, Strike
from hack.emulator.journal import WitnessRecord, WitnessRemoval
from hack.emulator.switches import Switches
from hack.emulator.transport import EmulatorTransport
from hack.emulator.world import TEST_BUSINESS, TEST_TOKEN
from tests.kubernetes_memory import Faults, Incarnation, MemoryApiServer, MemoryTransport
from tests.random_catalogs import held
from tests.simulation.additions import Kind
from tests.simulation.process import Lease, Process, Surroundings
from tests.simulation.shop import Shop, Witness
from tests.virtual_time import SimulatedClock

NAMESPACE = "shop"
CATALOG = "germany"
SHOP_HOST = "http://shop.example"
SHOP_URL = f"{SHOP_HOST}/export.csv"
RESERVE_PERCENT = 10.0
ENDED = frozenset({"Succeeded", "Failed", "Superseded", "Cancelled", "Abandoned"})


@dataclass(frozen=True, slots=True)
class Options:
    """What one run of the world is like."""

    seed: int
    products: int = 40
    shards: int = 2
    grace: timedelta = timedelta(hours=6)
    interval: timedelta = timedelta(minutes=5)
    switches: Switches = field(default_factory=Switches)
    overlays: tuple[Kind, ...] = ()


class CountedFaults(FaultPlan):
    """Tells of each fault at the moment it strikes."""

    on_strike: Callable[[str], None] = staticmethod(lambda _kind: None)

    @override
    def strike(self, method: str, path: str) -> Strike:
        strike = super().strike(method, path)
        for kind in sorted(strike.hits):
            self.on_strike(kind)
        return strike


class World:
    def __init__(self, options: Options, directory: Path) -> None:
        self.options = options
        loop = asyncio.get_running_loop()
        self.clock = SimulatedClock(loop)
        self.shop = Shop(self.rng("shop"), options.products, options.overlays)
        self.emulator = Emulator(clock=self.clock.unix, seed=options.seed, switches=options.switches)
        self.faults = CountedFaults(self.rng("faults"))
        self.emulator.faults = self.faults
        self.graph = EmulatorTransport(self.emulator)
        self.server = MemoryApiServer(self.clock.now, seed=options.seed)
        self.server.create_namespace(NAMESPACE)
        self.server.create_namespace(names.OPERATOR_NAMESPACE)
        self.store = LocalStore(directory, durable=False)
        self.lease = Lease()
        self.kubernetes_faults = Faults()
        self.settings = Settings(
            endpoint="http://127.0.0.1:1",
            store_url=self.store.url,
            allow_source_network=("127.0.0.0/8",),
            workers=4,
            timing=Timing(),
        )
        self.processes: list[Process] = []
        self._people = MemoryTransport(self.server, Incarnation("people"))
        self._phases: dict[str, str] = {}
        self._watch_phases()

    def rng(self, component: str) -> random.Random:
        """An independent stream for each component."""
        return random.Random(f"{self.options.seed}/{component}")

    # Operator processes

    def launch(self) -> Process:
        number = len(self.processes) + 1
        around = Surroundings(
            server=self.server,
            graph=self.graph,
            store=self.store,
            shop=self.shop,
            settings=self.settings,
            lease=self.lease,
            kubernetes_faults=self.kubernetes_faults,
        )
        process = Process(f"operator-{number}", around, self.rng(f"process-{number}"))
        self.processes.append(process)
        process.start()
        return process

    # People

    async def apply(self, wire: Json, kind: type[Resource]) -> None:
        await self._people.send(Request("POST", paths.collection(kind, NAMESPACE), body=wire))

    async def populate(self) -> None:
        """The smallest useful input, with shards and a grace period that fit into a simulation."""
        secret: Json = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "meta", "namespace": NAMESPACE, "labels": {names.LABEL_CREDENTIAL: "true"}},
            "data": {"token": base64.b64encode(TEST_TOKEN.encode()).decode()},
        }
        await self._people.send(Request("POST", f"{paths.namespace(NAMESPACE)}/secrets", body=secret))
        await self.apply(
            {
                **head(MetaConnection, "acme"),
                "spec": {"graph": {"businessID": TEST_BUSINESS, "tokenSecretRef": {"name": "meta", "key": "token"}}},
            },
            MetaConnection,
        )
        hours = int(self.options.grace.total_seconds() // 3600)
        await self.apply(
            {
                **head(Catalog, CATALOG),
                "spec": {
                    "connectionRef": {"name": "acme"},
                    "name": "ACME Germany",
                    "sharding": {"shards": self.options.shards},
                    "guards": {"gracePeriod": f"{hours}h", "maxDeletePercent": 20, "alwaysAllow": 5},
                    "items": self._items(),
                },
            },
            Catalog,
        )
        self.testify(self.shop.testimony(self.clock.unix()))

    def _items(self) -> list[Json]:
        minutes = int(self.options.interval.total_seconds() // 60)
        entry: Json = {
            "name": "products",
            "interval": f"{minutes}m",
            "currency": "EUR",
            "source": {"http": {"url": SHOP_URL}},
            "overlays": [addition.kind.entry(SHOP_HOST) for addition in self.shop.additions],
        }
        return [entry]

    async def drop_overlay(self, name: str) -> None:
        """People take an overlay out of the Catalog."""
        self.shop.additions = [each for each in self.shop.additions if each.kind.name != name]
        patch = {"spec": {"items": self._items()}}
        path = paths.item(Catalog, NAMESPACE, CATALOG)
        query = (("fieldManager", "people"),)
        await self._people.send(Request("PATCH", path, query=query, body=patch, content_type=ContentType.MERGE_PATCH))

    def testify(self, witness: Witness) -> None:
        self.emulator.journal.witness(
            [WitnessRecord(**record) for record in witness.records],  # type: ignore[arg-type]  # written by the shop
            [WitnessRemoval(**removal) for removal in witness.removals],  # type: ignore[arg-type]  # written by the shop
        )

    async def objects(self, kind: type[Resource]) -> list[Json]:
        namespace = names.OPERATOR_NAMESPACE if kind is CatalogLedger else NAMESPACE
        answer = await self._people.send(Request("GET", paths.collection(kind, namespace)))
        items: list[Json] = answer["items"]
        return items

    async def catalog(self) -> Catalog:
        answer = await self._people.send(Request("GET", paths.item(Catalog, NAMESPACE, CATALOG)))
        return Catalog.from_wire(answer)

    async def operations(self) -> list[SyncOperation]:
        return [SyncOperation.from_wire(wire) for wire in await self.objects(SyncOperation)]

    def _watch_phases(self) -> None:
        listed = self.server.handle(Request("GET", paths.collection(SyncOperation, None)))
        self._phases.clear()
        for wire in listed["items"]:
            self._saw_operation("ADDED", wire)
        again = asyncio.get_running_loop().call_soon
        version = int(listed["metadata"]["resourceVersion"])
        self.server.watch(SyncOperation, version, self._saw_operation, lambda: void(again(self._watch_phases)))

    def _saw_operation(self, change: str, wire: Json) -> None:
        name = str(wire["metadata"]["name"])
        phase = str(wire.get("status", {}).get("phase", "Pending"))
        if change == "DELETED" or phase in ENDED:
            self._phases.pop(name, None)
        else:
            self._phases[name] = phase

    def phases(self) -> list[str]:
        """Phases of the operations under way, or idle."""
        return sorted(set(self._phases.values())) or ["idle"]

    # What Meta holds and saw

    async def audit(self) -> jsons.Object:
        await self.emulator.advance()
        return auditor.audit(self.emulator.journal, self.emulator.switches, reserve_percent=RESERVE_PERCENT)

    def items_at_meta(self) -> dict[str, dict[str, str]]:
        """Item id → its fields in the names of feeds."""
        return held(self.emulator)

    def overrides_at_meta(self) -> dict[str, dict[str, dict[str, str]]]:
        """Item id → key of a language or country → its values."""
        world = self.emulator.world
        found: dict[str, dict[str, dict[str, str]]] = {}
        for catalog in world.catalogs:
            rows = world.items.page(catalog, None, after=0, limit=100_000)
            held = world.overrides.between(rows[0].n, rows[-1].n) if rows else {}
            found |= {item.rid: {one.key: one.values for one in held.get(item.n, ())} for item in rows}
        return found


def void(_: object) -> None:
    """Drop a result where a callback must return nothing."""


def head(kind: type[Resource], name: str) -> Json:
    return {
        "apiVersion": kind.api_version(),
        "kind": kind.KIND,
        "metadata": {"name": name, "namespace": NAMESPACE},
    }
