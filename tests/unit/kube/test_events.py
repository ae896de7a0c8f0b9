"""The recorder in virtual time: series, limits, failures, namespaces that go."""

import asyncio
from collections.abc import Awaitable, Callable

from controller.api.resource import ObjectKey
from controller.kube import events
from controller.kube.events import BURST, PENDING_MAX, SERIES_WRITE_SECONDS, EventRecorder
from controller.kube.transport import Json, Request
from controller.ports.kubernetes import Event
from tests.kubernetes_memory import Faults, Incarnation, LoopClock, MemoryApiServer, MemoryTransport, run_virtual

HOME = "meta-catalog-system"
GERMANY = ObjectKey("Catalog", "shop", "germany")


def event(reason: str = "Available", message: str = "fine", **rest: object) -> Event:
    return Event(regarding=GERMANY, uid="u-1", type="Normal", reason=reason, message=message, **rest)  # type: ignore[arg-type]


class Stage:
    def __init__(self) -> None:
        self.server = MemoryApiServer(LoopClock().now)
        self.server.create_namespace(HOME)
        self.server.create_namespace("shop")
        self.faults = Faults()
        transport = MemoryTransport(self.server, Incarnation("p"), faults=self.faults)
        self.recorder = EventRecorder(transport, LoopClock(), namespace=HOME, instance="p")

    def written(self) -> list[Json]:
        return self.server.all("Event")


def scenario(play: Callable[[Stage], Awaitable[None]]) -> None:
    async def run() -> None:
        stage = Stage()
        running = asyncio.create_task(stage.recorder.run())
        await play(stage)
        running.cancel()

    run_virtual(run())


def test_an_event_is_written_as_the_api_wants_it() -> None:
    async def play(stage: Stage) -> None:
        stage.recorder.record(event())
        await asyncio.sleep(1)
        (wire,) = stage.written()
        assert wire["metadata"]["namespace"] == "shop"
        assert wire["metadata"]["name"].startswith("germany.")
        assert wire["regarding"] == {
            "apiVersion": "metacatalog.dev/v1alpha1",
            "kind": "Catalog",
            "namespace": "shop",
            "name": "germany",
            "uid": "u-1",
        }
        assert (wire["type"], wire["reason"], wire["note"]) == ("Normal", "Available", "fine")
        assert wire["eventTime"] == "2026-01-05T00:00:00.000000Z"
        assert "series" not in wire

    scenario(play)


def test_equal_events_are_one_series_that_is_written_rarely() -> None:
    async def play(stage: Stage) -> None:
        for _ in range(50):
            stage.recorder.record(event())
            await asyncio.sleep(2)
        await asyncio.sleep(SERIES_WRITE_SECONDS)
        (wire,) = stage.written()
        assert wire["series"]["count"] == 50
        assert stage.server.requests["PATCH", "events"] <= 3
        assert stage.recorder.dropped == 0

    scenario(play)


def test_after_ten_quiet_minutes_a_new_one_begins() -> None:
    async def play(stage: Stage) -> None:
        stage.recorder.record(event())
        await asyncio.sleep(601)
        stage.recorder.record(event())
        await asyncio.sleep(1)
        assert len(stage.written()) == 2

    scenario(play)


def test_one_object_can_not_flood() -> None:
    async def play(stage: Stage) -> None:
        for number in range(BURST + 10):
            stage.recorder.record(event(message=f"problem {number}"))
        other = Event(ObjectKey("Catalog", "shop", "france"), "u-2", "Warning", "Available", "fine")
        stage.recorder.record(other)
        await asyncio.sleep(1)
        assert len(stage.written()) == BURST + 1
        assert stage.recorder.dropped == 10
        await asyncio.sleep(301)
        stage.recorder.record(event(message="later"))
        await asyncio.sleep(1)
        assert len(stage.written()) == BURST + 2

    scenario(play)


def test_a_full_queue_drops_and_counts() -> None:
    async def play(stage: Stage) -> None:
        for number in range(PENDING_MAX + 7):
            key = ObjectKey("Catalog", "shop", f"c{number}")
            stage.recorder.record(Event(key, f"u-{number}", "Normal", "Available", "fine"))
        assert stage.recorder.dropped == 7
        await asyncio.sleep(1)
        assert len(stage.written()) == PENDING_MAX

    scenario(play)


def test_a_lost_answer_makes_no_second_event() -> None:
    async def play(stage: Stage) -> None:
        stage.faults.lost_after = 1.0
        stage.recorder.record(event())
        await asyncio.sleep(1)
        stage.faults.lost_after = 0.0
        await asyncio.sleep(30)
        assert len(stage.written()) == 1
        assert stage.recorder.dropped == 0

    scenario(play)


def test_an_api_server_that_is_away_is_asked_again_but_not_for_ever() -> None:
    async def play(stage: Stage) -> None:
        stage.server.available = False
        stage.recorder.record(event())
        await asyncio.sleep(events.RETRY_SECONDS + 1)
        stage.server.available = True
        stage.recorder.record(event(message="other"))
        await asyncio.sleep(60)
        assert {wire["note"] for wire in stage.written()} == {"fine", "other"}
        stage.server.available = False
        stage.recorder.record(event(message="never"))
        await asyncio.sleep(60)
        assert stage.recorder.dropped == 1

    scenario(play)


def test_an_expired_event_is_made_again() -> None:
    async def play(stage: Stage) -> None:
        stage.recorder.record(event())
        await asyncio.sleep(1)
        (wire,) = stage.written()

        stage.server.handle(
            Request("DELETE", f"/apis/events.k8s.io/v1/namespaces/shop/events/{wire['metadata']['name']}")
        )
        stage.recorder.record(event())
        await asyncio.sleep(SERIES_WRITE_SECONDS + 1)
        (again,) = stage.written()
        assert again["series"]["count"] == 2

    scenario(play)


def test_in_a_namespace_that_goes_it_is_said_at_the_ledger() -> None:
    async def play(stage: Stage) -> None:
        holder = {"metadata": {"name": "stays", "finalizers": ["example.org/held"]}}

        stage.server.handle(Request("POST", "/api/v1/namespaces/shop/configmaps", body=holder))
        stage.server.delete_namespace("shop")
        ledger = ObjectKey("CatalogLedger", HOME, "catalog-1")
        stage.recorder.record(event("OrphanedAtMeta", "left 1", ledger=ledger, ledger_uid="l-1"))
        stage.recorder.record(event("OrphanedAtMeta", "left 2"))
        await asyncio.sleep(1)
        first, second = sorted(stage.written(), key=lambda wire: str(wire["note"]))
        assert first["metadata"]["namespace"] == second["metadata"]["namespace"] == HOME
        assert (first["regarding"]["kind"], first["regarding"]["uid"]) == ("CatalogLedger", "l-1")
        assert first["note"] == "Catalog shop/germany: left 1"
        assert first["related"]["name"] == "germany"
        assert second["regarding"]["kind"] == "ServiceAccount"
        stage.recorder.record(event("OrphanedAtMeta", "left 1", ledger=ledger, ledger_uid="l-1"))
        await asyncio.sleep(SERIES_WRITE_SECONDS + 1)
        assert sorted(wire.get("series", {}).get("count", 1) for wire in stage.written()) == [1, 2]

    scenario(play)


def test_a_flush_at_the_end_is_bounded() -> None:
    async def run() -> None:
        stage = Stage()
        stage.recorder.record(event())
        await stage.recorder.flush(2.0)
        assert len(stage.written()) == 1
        stage.faults.latency_min_seconds = stage.faults.latency_max_seconds = 1000
        stage.recorder.record(event(message="other"))
        before = asyncio.get_running_loop().time()
        await stage.recorder.flush(2.0)
        assert asyncio.get_running_loop().time() - before == 2.0

    run_virtual(run())
