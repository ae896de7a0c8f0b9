"""What the in-memory server adds to the contract: death, pauses, loss, and how a process hears of changes."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from controller.api.resource import Resource
from controller.api.v1alpha1 import MetaConnection
from controller.faults import Disposition, Fault
from controller.kube.transport import AnswerLost, Json, Request
from tests.contract.kube.objects import connection, key
from tests.kubernetes_memory import (
    Crashed,
    Faults,
    Incarnation,
    Informer,
    LoopClock,
    MemoryApiServer,
    MemoryCluster,
    run_virtual,
)
from tests.virtual_time import DeadlockError


def server() -> MemoryApiServer:
    made = MemoryApiServer(LoopClock().now)
    made.create_namespace("shop")
    return made


def cluster(api: MemoryApiServer, faults: Faults | None = None) -> MemoryCluster:
    return MemoryCluster(api, Incarnation("p"), LoopClock(), known=lambda _kind, _key: None, faults=faults)


def scenario(play: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await play()

    run_virtual(run())


def test_after_a_cut_nothing_gets_out_not_even_by_finally() -> None:
    async def play() -> None:
        api = server()
        process = cluster(api, Faults(latency_min_seconds=1.0, latency_max_seconds=1.0))

        async def work() -> None:
            try:
                await process.create(connection("shop", "first"))
                await process.create(connection("shop", "second"))
            finally:
                await process.create(connection("shop", "third"))

        working = asyncio.create_task(work())
        await asyncio.sleep(1.2)  # the first answer has arrived, the second request is on its way
        process.cut()
        await asyncio.wait([working])
        assert working.cancelled()
        assert [wire["metadata"]["name"] for wire in api.all(MetaConnection)] == ["first"]
        with pytest.raises(Crashed):
            await process.get(MetaConnection, key("shop"))

    scenario(play)


def test_a_pause_holds_everything_back_and_then_goes_on() -> None:
    async def play() -> None:
        api = server()
        process = cluster(api)
        process.incarnation.pause()
        making = asyncio.create_task(process.create(connection("shop")))
        await asyncio.sleep(100)
        assert not making.done()
        assert api.all(MetaConnection) == []
        process.incarnation.resume()
        assert (await making).name == "acme"

    scenario(play)


def test_a_request_that_left_before_the_pause_arrives_and_its_answer_waits() -> None:
    async def play() -> None:
        api = server()
        process = cluster(api, Faults(latency_min_seconds=2.0, latency_max_seconds=2.0))
        making = asyncio.create_task(process.create(connection("shop")))
        await asyncio.sleep(0.5)
        process.incarnation.pause()
        await asyncio.sleep(100)
        assert len(api.all(MetaConnection)) == 1
        assert not making.done()
        process.incarnation.resume()
        await making

    scenario(play)


@pytest.mark.parametrize(
    ("faults", "disposition", "made"),
    [
        (Faults(not_sent=1.0), Disposition.RETRY, 0),
        (Faults(lost_before=1.0), Disposition.UNCERTAIN, 0),
        (Faults(lost_after=1.0), Disposition.UNCERTAIN, 1),
    ],
)
def test_what_is_lost_on_the_way(faults: Faults, disposition: Disposition, made: int) -> None:
    async def play() -> None:
        api = server()
        with pytest.raises(Fault) as fault:
            await cluster(api, faults).create(connection("shop"))
        assert fault.value.disposition is disposition
        assert len(api.all(MetaConnection)) == made

    scenario(play)


def test_an_update_of_a_status_that_is_refused_or_lost_is_not_remembered_as_written() -> None:
    async def play() -> None:
        api = server()
        faults = Faults()
        process = cluster(api, faults)
        made = await process.create(connection("shop"))
        faults.lost_before = 1.0
        status = made.status.model_copy(update={"app_id": "1"})
        with pytest.raises(Fault):
            await process.apply_status(MetaConnection, made.key, made.uid, status)
        faults.lost_before = 0.0
        applied = await process.apply_status(MetaConnection, made.key, made.uid, status)
        assert applied is not None
        assert applied.status.app_id == "1"

    scenario(play)


class Listener:
    def __init__(self, api: MemoryApiServer, process: MemoryCluster, delay: float = 0.0) -> None:
        self.heard: list[tuple[str | None, str]] = []
        self.informer = Informer(
            api,
            process.transport,
            process.incarnation,
            MetaConnection,
            self.deliver,
            rng=random.Random(1),
            delay_max_seconds=delay,
        )

    def deliver(self, _kind: type[Resource], change: str | None, wire: Json) -> None:
        self.heard.append((change, wire["metadata"]["name"]))


def test_an_informer_lists_watches_and_lists_again_after_a_restart() -> None:
    async def play() -> None:
        api = server()
        process = cluster(api)
        await process.create(connection("shop", "one"))
        made = await process.create(connection("shop", "two"))
        listener = Listener(api, process, delay=0.5)
        running = asyncio.create_task(listener.informer.run())
        await asyncio.sleep(1)
        assert listener.heard == [(None, "one"), (None, "two")]
        await process.create(connection("shop", "three"))
        await asyncio.sleep(1)
        assert listener.heard[2:] == [("ADDED", "three")]
        api.restart()
        await process.delete(MetaConnection, made.key, made.uid)
        await asyncio.sleep(10)
        # The deletion falls into the gap: a LIST shows what is there, and nobody tells of what is not.
        assert listener.heard[3:] == [(None, "one"), (None, "three")]
        running.cancel()

    scenario(play)


def test_a_compaction_does_not_end_a_watch_that_runs() -> None:
    async def play() -> None:
        api = server()
        process = cluster(api)
        listener = Listener(api, process)
        running = asyncio.create_task(listener.informer.run())
        await asyncio.sleep(1)
        api.compact()
        await process.create(connection("shop"))
        await asyncio.sleep(1)
        assert listener.heard == [("ADDED", "acme")]
        running.cancel()

    scenario(play)


def test_uids_come_from_the_seed_and_are_never_given_twice() -> None:
    def made(seed: int) -> list[str]:
        api = MemoryApiServer(seed=seed)
        return [api.create_namespace(f"n{number}")["metadata"]["uid"] for number in range(50)]

    assert made(1) == made(1)
    assert len(set(made(1) + made(2))) == 100


def test_what_is_handed_out_is_a_copy() -> None:
    api = MemoryApiServer()
    api.create_namespace("shop")
    api.all("Namespace")[0]["metadata"]["name"] = "changed"
    found = api.peek("Namespace", "", "shop")
    assert found is not None
    assert found["metadata"]["name"] == "shop"


def test_a_world_in_which_nothing_can_happen_any_more_is_said() -> None:
    with pytest.raises(DeadlockError):
        run_virtual(asyncio.wait_for(asyncio.Event().wait(), None))


def test_requests_are_counted() -> None:
    async def play() -> None:
        api = server()
        process = cluster(api)
        await process.list(MetaConnection)
        process.transport.faults.lost_before = 1.0
        with pytest.raises(AnswerLost):
            await process.transport.send(Request("GET", "/api/v1/namespaces"))
        assert dict(api.requests) == {("GET", "metaconnections"): 1}

    scenario(play)
