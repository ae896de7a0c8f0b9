"""From watch events, comparisons and the first look to the engine; in virtual time over the in-memory server."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import CollectorRegistry

from controller.api import names
from controller.api.resource import ObjectKey
from controller.api.v1alpha1 import MetaConnection
from controller.kube.transport import ContentType, Json, Request
from controller.operators.comparing import MISSED_MAX, Comparison, fill
from controller.operators.observing import LAST_APPLIED, Observer, trimmed
from controller.reconcile.engine import Engine
from controller.reconcile.metrics import Metrics
from controller.reconcile.objects import ObjectStore
from controller.reconcile.outcome import Outcome
from controller.settings import Settings
from tests.contract.kube.objects import connection, key
from tests.kubernetes_memory import Incarnation, Informer, LoopClock, MemoryApiServer, MemoryCluster, run_virtual

INTERVAL_SECONDS = 600.0


class _Context:
    """The part of the context that the engine itself looks at."""

    def __init__(self, objects: ObjectStore) -> None:
        self.settings = Settings()
        self.clock = LoopClock()
        self.rng = random.Random(0)
        self.objects = objects
        self.metrics = Metrics(CollectorRegistry())


class Stage:
    """A process that notes what it is asked to look at: (name, whether it is there)."""

    def __init__(self) -> None:
        self.server = MemoryApiServer(LoopClock().now)
        self.server.create_namespace("shop")
        self.objects = ObjectStore()
        self.looked: list[tuple[str, bool]] = []
        self.cluster = MemoryCluster(self.server, Incarnation("p"), LoopClock(), known=self.objects.get)
        engine = Engine(_Context(self.objects), self.look, lambda _: ())  # type: ignore[arg-type] # the rest is not read
        self.engine = engine
        loop = asyncio.get_running_loop()
        self.observer = Observer(engine, self.objects, monotonic=loop.time)
        self.registry = CollectorRegistry()
        self.comparison = Comparison(
            self.cluster,
            self.objects,
            self.observer,
            (MetaConnection,),
            interval_seconds=INTERVAL_SECONDS,
            monotonic=loop.time,
            registry=self.registry,
        )
        self.informer = Informer(
            self.server, self.cluster.transport, self.cluster.incarnation, MetaConnection, self.observer.event
        )

    async def look(self, found: ObjectKey) -> Outcome:
        self.looked.append((found.name, self.objects.get(MetaConnection, found) is not None))
        return Outcome()

    async def make(self, name: str = "acme", **metadata: object) -> MetaConnection:
        return await self.cluster.create(connection("shop", name, **metadata))

    def wire(self, name: str = "acme") -> Json:
        found = self.server.peek(MetaConnection, "shop", name)
        assert found is not None
        return found

    def missed(self) -> float:
        return self.registry.get_sample_value("metacatalog_watch_missed_total", {"kind": "MetaConnection"}) or 0.0


def scenario(play: Callable[[Stage], Awaitable[None]], *parts: Callable[[Stage], Awaitable[None]]) -> None:
    async def run() -> None:
        stage = Stage()
        running: list[asyncio.Task[Any]] = [asyncio.ensure_future(part(stage)) for part in (_engine, *parts)]
        await play(stage)
        for task in running:
            task.cancel()

    run_virtual(run())


async def _engine(stage: Stage) -> None:
    await stage.engine.run()


async def _informer(stage: Stage) -> None:
    await stage.informer.run()


async def _comparison(stage: Stage) -> None:
    await stage.comparison.run()


def test_events_reach_the_engine_and_only_what_matters_wakes_it() -> None:
    async def play(stage: Stage) -> None:
        made = await stage.make()
        await asyncio.sleep(1)
        assert stage.looked == [("acme", True)]
        status = made.status.model_copy(update={"app_id": "1"})
        await stage.cluster.apply_status(MetaConnection, made.key, made.uid, status)
        await asyncio.sleep(1)
        assert len(stage.looked) == 1, "our own status write wakes nobody"
        there = stage.objects.get(MetaConnection, made.key)
        assert there is not None
        assert there.status.app_id == "1"
        await stage.cluster.delete(MetaConnection, made.key, made.uid)
        await asyncio.sleep(1)
        assert stage.looked[1:] == [("acme", False)]

    scenario(play, _informer)


def test_late_events_change_nothing() -> None:
    async def play(stage: Stage) -> None:
        made = await stage.make()
        old = stage.wire()
        await stage.cluster.set_finalizer(made, present=True)
        new = stage.wire()
        stage.observer.event(MetaConnection, "MODIFIED", new)
        stage.observer.event(MetaConnection, "MODIFIED", old)
        there = stage.objects.get(MetaConnection, made.key)
        assert there is not None
        assert there.metadata.finalizers == (names.FINALIZER,)
        # A LIST settles it even if the versions went back: etcd may have been restored.
        stage.observer.event(MetaConnection, None, old)
        there = stage.objects.get(MetaConnection, made.key)
        assert there is not None
        assert there.metadata.finalizers == ()

    scenario(play)


def test_a_late_deletion_of_a_predecessor_changes_nothing() -> None:
    async def play(stage: Stage) -> None:
        first = await stage.make()
        old = stage.wire()
        await stage.cluster.delete(MetaConnection, first.key, first.uid)
        second = await stage.make()
        stage.observer.event(MetaConnection, "ADDED", stage.wire())
        stage.observer.event(MetaConnection, "DELETED", old)
        there = stage.objects.get(MetaConnection, second.key)
        assert there is not None
        assert there.uid == second.uid

    scenario(play)


def test_an_object_that_can_not_be_read_harms_nobody() -> None:
    async def play(stage: Stage) -> None:
        await stage.make()
        broken = stage.wire()
        broken["spec"] = {"graph": 7}
        stage.observer.event(MetaConnection, "ADDED", broken)
        assert stage.objects.get(MetaConnection, key("shop")) is None

    scenario(play)


def test_what_nobody_reads_is_not_kept() -> None:
    metadata: Json = {"name": "a", "managedFields": [{}], "annotations": {LAST_APPLIED: "{}", "mine": "x"}}
    assert trimmed({"metadata": metadata, "spec": {"a": 1}}) == {
        "metadata": {"name": "a", "annotations": {"mine": "x"}},
        "spec": {"a": 1},
    }
    assert "managedFields" in metadata, "the original is left alone"


def test_the_first_look_fills_the_store() -> None:
    async def play(stage: Stage) -> None:
        for number in range(3):
            await stage.make(f"c{number}")
        await fill(stage.cluster, stage.observer, (MetaConnection,))
        assert stage.objects.count() == {"MetaConnection": 3}
        await asyncio.sleep(1)
        assert sorted(stage.looked) == [("c0", True), ("c1", True), ("c2", True)]

    scenario(play)


def test_a_deletion_in_the_gap_of_a_restart_is_found_soon() -> None:
    async def play(stage: Stage) -> None:
        made = await stage.make()
        await stage.make("stays")
        await asyncio.sleep(60)
        stage.looked.clear()
        stage.server.restart()
        await stage.cluster.delete(MetaConnection, made.key, made.uid)
        await asyncio.sleep(20)
        assert stage.looked == [("acme", False)]
        assert stage.missed() == 1

    scenario(play, _informer, _comparison)


def test_without_any_watch_the_interval_finds_everything_and_the_watch_is_called_blind() -> None:
    async def play(stage: Stage) -> None:
        for number in range(MISSED_MAX):
            assert not stage.comparison.blind
            await stage.make(f"c{number}")
            await asyncio.sleep(INTERVAL_SECONDS + 1)
            assert (f"c{number}", True) in stage.looked
        assert stage.comparison.blind == ("MetaConnection",)
        stage.observer.event(MetaConnection, "MODIFIED", stage.wire("c0"))
        await stage.make("later")
        await asyncio.sleep(INTERVAL_SECONDS + 1)
        assert not stage.comparison.blind, "a watch that tells something is not blind"

    scenario(play, _comparison)


def test_a_change_that_no_watch_told_is_read() -> None:
    async def play(stage: Stage) -> None:
        made = await stage.make()
        await fill(stage.cluster, stage.observer, (MetaConnection,))
        await stage.cluster.set_finalizer(made, present=True)
        assert await stage.comparison.compare(MetaConnection) == 0, "finalizers and statuses wake nobody"
        there = await stage.cluster.get(MetaConnection, made.key)
        assert there is not None
        await stage.cluster.delete(MetaConnection, made.key, made.uid)
        assert await stage.comparison.compare(MetaConnection) == 1
        known = stage.objects.get(MetaConnection, made.key)
        assert known is not None
        assert known.metadata.deleting

    scenario(play)


def test_what_comes_while_the_list_is_on_its_way_is_not_taken_for_gone() -> None:
    async def play(stage: Stage) -> None:
        stage.cluster.transport.faults.latency_min_seconds = 10.0
        stage.cluster.transport.faults.latency_max_seconds = 10.0
        comparing = asyncio.create_task(stage.comparison.compare(MetaConnection))
        await asyncio.sleep(7)  # the server has answered, the answer travels
        stage.cluster.transport.faults.latency_max_seconds = 0.0
        await stage.make()
        stage.observer.event(MetaConnection, "ADDED", stage.wire())
        assert await comparing == 0
        assert stage.objects.get(MetaConnection, key("shop")) is not None

    scenario(play)


def test_many_unknown_objects_are_read_by_one_list() -> None:
    async def play(stage: Stage) -> None:
        for number in range(60):
            await stage.make(f"c{number}")
        stage.server.requests.clear()
        assert await stage.comparison.compare(MetaConnection) == 60
        assert dict(stage.server.requests) == {("GET", "metaconnections"): 2}

    scenario(play)


def test_an_object_that_can_not_be_read_does_not_hold_up_the_others() -> None:
    async def play(stage: Stage) -> None:
        await stage.make("broken")
        path = "/apis/metacatalog.dev/v1alpha1/namespaces/shop/metaconnections/broken"
        body: Json = {"spec": {"graph": {"businessID": 7}}}
        stage.server.handle(Request("PATCH", path, body=body, content_type=ContentType.MERGE_PATCH))
        await stage.make("whole")
        assert await stage.comparison.compare(MetaConnection) == 1
        assert stage.objects.get(MetaConnection, key("shop", "whole")) is not None
        assert await stage.comparison.compare(MetaConnection) == 0

    scenario(play)


def test_an_api_server_that_is_away_is_compared_with_later() -> None:
    async def play(stage: Stage) -> None:
        stage.server.available = False
        await asyncio.sleep(INTERVAL_SECONDS + 60)
        assert stage.comparison.compared_at == 0.0
        stage.server.available = True
        await stage.make()
        await asyncio.sleep(10)
        assert stage.looked == [("acme", True)]
        assert stage.comparison.compared_at > INTERVAL_SECONDS

    scenario(play, _comparison)
