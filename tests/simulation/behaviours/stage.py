"""A small simulated world with handles for tests: objects as people write them, and waiting in virtual time.

`until` polls with a deadline on the virtual clock. A condition that does not come fails with what the world looks like.
"""

import asyncio
import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
from typing_extensions import override

from controller.api import names
from controller.api.conditions import Condition, ConditionStatus, ConditionType, find_condition
from controller.api.resource import ConditionedStatus, Declared, Resource, Spec
from controller.api.v1alpha1 import (
    KINDS,
    Catalog,
    CatalogLedger,
    DeletionApproval,
    MetaConnection,
    SyncOperation,
)
from controller.api.v1alpha1.catalog_ledger import LedgerContent
from controller.api.v1alpha1.sync_operation import Phase
from controller.kube import paths
from controller.kube.transport import ContentType, Json, Request
from hack.emulator.auditor import comparable
from hack.emulator.journal import RequestRecord
from hack.emulator.switches import Switches
from hack.emulator.world import TEST_BUSINESS, TEST_TOKEN, Token
from tests.kubernetes_memory import Incarnation, MemoryTransport
from tests.simulation import checkers
from tests.simulation.process import LeaseLostError, Process
from tests.simulation.shop import Shop
from tests.simulation.world import CATALOG, NAMESPACE, SHOP_URL, Options, World

CONNECTION = "acme"
SECRET = "meta"
POLL_SECONDS = 2.0
HOLD_SECONDS = 30.0

T = TypeVar("T")
R = TypeVar("R", bound=Resource)
D = TypeVar("D", bound=Declared[Spec, ConditionedStatus])


@dataclass(frozen=True, slots=True)
class Plan:
    """What one small world is like."""

    seed: int = 1
    products: int = 12
    spec: dict[str, Any] = field(default_factory=dict)
    """Fields of the Catalog's spec that differ from the usual ones."""
    switches: Switches = field(default_factory=Switches)


def usual_spec() -> dict[str, Any]:
    """The spec of a small Catalog whose guard bites at small numbers."""
    return {
        "connectionRef": {"name": CONNECTION},
        "name": "ACME Germany",
        "sharding": {"shards": 1},
        "guards": {"gracePeriod": "6h", "maxDeletePercent": 5, "alwaysAllow": 2},
        "items": [
            {"name": "products", "interval": "5m", "currency": "EUR", "source": {"http": {"url": SHOP_URL}}},
        ],
    }


class ScriptedShop(Shop):
    """A shop whose export a test can replace."""

    said: bytes | None = None

    @override
    def export(self) -> bytes:
        return super().export() if self.said is None else self.said


class Stage:
    """One world, the people in it, and what can be seen."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self.plan = plan
        self.directory = directory
        self.world = World(Options(seed=plan.seed, products=plan.products, switches=plan.switches), directory)
        self.shop = self.world.shop = ScriptedShop(self.world.rng("shop"), plan.products)
        self._people = MemoryTransport(self.world.server, Incarnation("people"))
        self.bodies_before = 0
        """Bodies of the kind in question that Meta had seen at `count_bodies`."""

    # People

    async def send(self, request: Request) -> Json:
        return await self._people.send(request)

    async def secret(
        self, token: str = TEST_TOKEN, *, name: str = SECRET, labelled: bool = True, namespace: str = NAMESPACE
    ) -> None:
        """Write the Secret of the token, or another token into it."""
        wire: Json = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {names.LABEL_CREDENTIAL: "true"} if labelled else {},
            },
            "data": {"token": base64.b64encode(token.encode()).decode()},
        }
        if self.world.server.peek("Secret", namespace, name) is None:
            await self.send(Request("POST", f"{paths.namespace(namespace)}/secrets", body=wire))
        else:
            await self.send(Request("PUT", paths.secret(namespace, name), body=wire))

    async def delete_secret(self, name: str = SECRET, namespace: str = NAMESPACE) -> None:
        await self.send(Request("DELETE", paths.secret(namespace, name)))

    async def create(self, kind: type[Resource], name: str, spec: Json, *, namespace: str = NAMESPACE) -> None:
        wire = {
            "apiVersion": kind.api_version(),
            "kind": kind.KIND,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        await self.send(Request("POST", paths.collection(kind, namespace), body=wire))

    async def connection(self, name: str = CONNECTION, *, namespace: str = NAMESPACE, **spec: Any) -> None:
        graph = {"businessID": TEST_BUSINESS, "tokenSecretRef": {"name": SECRET, "key": "token"}}
        await self.create(MetaConnection, name, {"graph": graph, **spec}, namespace=namespace)

    async def catalog(self, name: str = CATALOG, *, namespace: str = NAMESPACE, **spec: Any) -> None:
        await self.create(Catalog, name, {**usual_spec(), **self.plan.spec, **spec}, namespace=namespace)

    async def approval(self, digest: str, *, name: str = "yes", valid: timedelta = timedelta(days=1)) -> None:
        spec = {
            "catalogRef": {"name": CATALOG},
            "digest": digest,
            "approvedBy": "catalog-admins@shop.example",
            "expiresAt": (self.now() + valid).isoformat(),
        }
        await self.create(DeletionApproval, name, spec)

    async def operation(self, name: str, **spec: Any) -> None:
        wanted = {"catalogRef": {"name": CATALOG}, "shards": [f"{CATALOG}-1-0"], "method": "ReplaceFeed", **spec}
        await self.create(SyncOperation, name, wanted)

    async def patch(self, kind: type[Resource], name: str, patch: Json, *, namespace: str = NAMESPACE) -> None:
        path = paths.item(kind, namespace, name)
        query = (("fieldManager", "people"),)
        await self.send(Request("PATCH", path, query=query, body=patch, content_type=ContentType.MERGE_PATCH))

    async def change(self, **spec: Any) -> None:
        """Change fields of the Catalog's spec."""
        await self.patch(Catalog, CATALOG, {"spec": spec})

    async def annotate(self, name: str, value: str, *, kind: type[Resource] = Catalog, of: str = CATALOG) -> None:
        await self.patch(kind, of, {"metadata": {"annotations": {name: value}}})

    async def delete(self, kind: type[Resource], name: str, *, namespace: str = NAMESPACE) -> None:
        await self.send(Request("DELETE", paths.item(kind, namespace, name)))

    def shop_changes(self, *, removed: Sequence[str] = ()) -> None:
        """Tell the auditor what the shop says now."""
        self.world.testify(self.shop.testimony(self.world.clock.unix(), removed=list(removed)))

    def remove_products(self, count: int) -> list[str]:
        gone = self.shop.remove(count)
        self.shop_changes(removed=gone)
        return gone

    def change_prices(self) -> None:
        for product in self.shop.products.values():
            product.price_cents += 100
        self.shop_changes()

    def arm(self, kind: str, **wish: Any) -> None:
        """Arm a fault at Meta."""
        self.world.emulator.faults.arm({"kind": kind, **wish})

    def disarm(self) -> None:
        self.world.emulator.faults.disarm()

    def issue_token(self, value: str, **fields: Any) -> Token:
        """Another token at Meta; of the well-known one's app."""
        known = self.world.emulator.world.tokens[TEST_TOKEN]
        token = Token(value=value, app=known.app, **fields)
        self.world.emulator.world.tokens[value] = token
        return token

    # Time

    def now(self) -> datetime:
        return self.world.clock.now()

    async def until(self, condition: Callable[[], T | bool | None], within: timedelta, what: str = "") -> T:
        """Wait until the condition is true and return what it returned. Fails when `within` has passed."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + within.total_seconds()
        while True:
            found = condition()
            if found:
                return found  # type: ignore[return-value]  # True only where T is bool
            if loop.time() >= ends:
                name = what or getattr(condition, "__name__", "the condition")
                raise AssertionError(f"{name} did not come within {within}\n{self.describe()}")
            self._fail_if_process_fell()
            await asyncio.sleep(POLL_SECONDS)

    async def hold(self, condition: Callable[[], bool], during: timedelta, what: str = "") -> None:
        """Fail when the condition stops to hold within `during`."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + during.total_seconds()
        while loop.time() < ends:
            assert condition(), f"{what or 'the condition'} stopped to hold\n{self.describe()}"
            await asyncio.sleep(HOLD_SECONDS)

    async def rest(self, **duration: float) -> None:
        await asyncio.sleep(timedelta(**duration).total_seconds())

    def _fail_if_process_fell(self) -> None:
        for process in self.world.processes:
            if process.failed is not None and not _lost_lease(process.failed):
                raise AssertionError(f"{process.name} fell over") from process.failed

    # What can be seen

    def find(self, kind: type[R], name: str, namespace: str = NAMESPACE) -> R | None:
        wire = self.world.server.peek(kind, namespace, name)
        return None if wire is None else kind.from_wire(wire)

    def require(self, kind: type[R], name: str, namespace: str = NAMESPACE) -> R:
        found = self.find(kind, name, namespace)
        assert found is not None, f"there is no {kind.KIND} {name}"
        return found

    def require_catalog(self) -> Catalog:
        return self.require(Catalog, CATALOG)

    def all(self, kind: type[R]) -> list[R]:
        return [kind.from_wire(wire) for wire in self.world.server.all(kind)]

    def gone(self, kind: type[Resource], name: str, namespace: str = NAMESPACE) -> Callable[[], bool]:
        return lambda: self.world.server.peek(kind, namespace, name) is None

    def condition(
        self,
        type_: ConditionType,
        *,
        kind: type[D] = Catalog,  # type: ignore[assignment]  # the usual one
        of: str = CATALOG,
        namespace: str = NAMESPACE,
    ) -> Condition | None:
        found = self.find(kind, of, namespace)
        if found is None or found.status.observed_generation < found.metadata.generation:
            return None
        return find_condition(found.status.conditions, type_)

    def says(
        self,
        type_: ConditionType,
        status: ConditionStatus,
        reason: str,
        *,
        kind: type[Any] = Catalog,
        of: str = CATALOG,
        namespace: str = NAMESPACE,
    ) -> Callable[[], Condition | None]:
        """Build a condition for `until`: the object's condition has this status and reason."""

        def look() -> Condition | None:
            found = self.condition(type_, kind=kind, of=of, namespace=namespace)
            return found if found is not None and (found.status, found.reason) == (status, reason) else None

        look.__name__ = f"{kind.KIND} {of}: {type_}={status} {reason}"
        return look

    def ready(self, name: str = CATALOG, namespace: str = NAMESPACE) -> bool:
        ready = self.condition(ConditionType.READY, of=name, namespace=namespace)
        return ready is not None and ready.status is ConditionStatus.TRUE

    def ledger(self, catalog_id: str | None = None) -> LedgerContent:
        found = self.all(CatalogLedger)
        if catalog_id is not None:
            found = [one for one in found if one.name == f"catalog-{catalog_id}"]
        assert len(found) == 1, [one.name for one in found]
        return found[0].ledger

    def phase(self, name: str) -> Phase | None:
        found = self.find(SyncOperation, name)
        return None if found is None else found.status.phase

    def in_flight(self) -> bool:
        return any(record.claim is not None for one in self.all(CatalogLedger) for record in one.ledger.partitions)

    def quiet(self) -> bool:
        """Nothing is claimed, and no operation waits."""
        waiting = [op for op in self.all(SyncOperation) if op.status.phase is None or not _over(op)]
        return not self.in_flight() and not waiting

    def in_step(self) -> bool:
        """Meta holds what the shop has, and nothing is under way."""
        return self.quiet() and not self.differences()

    def differences(self) -> list[str]:
        """Where Meta holds something else than the shop has."""
        at_meta = self.items_at_meta()
        found = [f"{item} is not in the shop" for item in sorted(set(at_meta) - set(self.shop.products))]
        for product in self.shop.products.values():
            item, row = at_meta.get(product.id), product.row()
            if product.broken:
                continue
            if item is None:
                found.append(f"{product.id} is not at Meta")
                continue
            found += [
                f"{product.id}: {name} is {item.get(name)!r}, not {row[name]!r}"
                for name in checkers.COMPARED
                if comparable(name, item.get(name, "")) != comparable(name, row[name])
            ]
        return found

    def requests(self, since: int = 0) -> list[RequestRecord]:
        return self.world.emulator.journal.requests[since:]

    def writes(self, since: int = 0) -> list[RequestRecord]:
        return [one for one in self.requests(since) if one.method != "GET"]

    def request_count(self) -> int:
        return len(self.world.emulator.journal.requests)

    async def ask_meta(self, method: str, path: str, **fields: str) -> Json:
        """Somebody else calls Meta."""
        parameters = {"access_token": TEST_TOKEN, **fields}
        async with httpx.AsyncClient(transport=self.world.graph, base_url=self.world.settings.endpoint) as client:
            answer = await client.request(method, f"/v26.0/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    async def make_catalog_at_meta(self, name: str) -> str:
        made = await self.ask_meta("POST", f"{TEST_BUSINESS}/owned_product_catalogs", name=name, vertical="commerce")
        return str(made["id"])

    def catalogs_at_meta(self) -> list[int]:
        return sorted(self.world.emulator.world.catalogs)

    def feeds_at_meta(self) -> list[int]:
        return sorted(self.world.emulator.world.feeds)

    def items_at_meta(self) -> dict[str, dict[str, str]]:
        return self.world.items_at_meta()

    def count_bodies(self, edge: str) -> None:
        self.bodies_before = len([one for one in self.writes() if one.path.endswith(edge)])

    def events(self, reason: str) -> list[Json]:
        return [event for event in self.world.server.all("Event") if event["reason"] == reason]

    async def safe(self) -> None:
        """Nothing that must never happen has happened."""
        found = await checkers.safety(self.world)
        assert not found, "\n".join(found[:5])

    def describe(self) -> str:
        """What the world looks like, for a test that failed."""
        lines = [f"now {self.now():%d %H:%M:%S}"]
        for kind in KINDS:
            for wire in self.world.server.all(kind):
                status = wire.get("status", {})
                meta = wire["metadata"]
                mark = " deleting" if "deletionTimestamp" in meta else ""
                lines.append(f"{kind.KIND} {meta.get('namespace')}/{meta['name']}{mark} {status.get('phase', '')}")
                lines += [
                    f"    {one['type']}={one['status']} {one['reason']}: {one.get('message', '')[:160]}"
                    for one in status.get("conditions", ())
                ]
        for record in self.requests()[-8:]:
            lines.append(f"  {record.method} {record.path} {record.status} {record.code} at {record.first_byte:.0f}")
        return "\n".join(lines)

    # Beginnings

    async def populate(self, **spec: Any) -> None:
        """The smallest useful input."""
        await self.secret()
        await self.connection()
        await self.catalog(**spec)
        self.shop_changes()

    def launch(self) -> Process:
        return self.world.launch()

    async def begin(self, **spec: Any) -> Process:
        """A world that has come to rest after the first load."""
        await self.populate(**spec)
        process = self.launch()
        await self.until(self.ready, timedelta(minutes=10), "Ready")
        await self.until(self.in_step, timedelta(minutes=30), "Meta holds what the shop has")
        return process

    def close(self) -> None:
        for process in self.world.processes:
            process.kill()


def _over(operation: SyncOperation) -> bool:
    phase = operation.status.phase
    return phase is not None and (phase.terminal or phase in (Phase.HELD, Phase.PLANNED))


def _lost_lease(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_lost_lease(inner) for inner in error.exceptions)
    return isinstance(error, LeaseLostError) or getattr(error, "reason", "") == "LeaseLost"
