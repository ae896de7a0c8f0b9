"""Kill -9 and SIGSTOP at every kind of moment: the same final state, nothing sent twice, a clean audit."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta

import httpx
import pytest
from typing_extensions import override

from controller.api.v1alpha1 import CatalogLedger, SyncOperation
from controller.kube.transport import Json
from tests.simulation import checkers
from tests.simulation.behaviours.cutting import doing, kill_at, pause_at
from tests.simulation.behaviours.stage import Plan, Stage
from tests.simulation.process import Process

SETTLED = timedelta(hours=3)
"""Longest chain: a batch whose answer is lost, abandoned after 30 minutes, and the next full slot."""
BODIES = {"ReplaceFeed": "uploads", "ItemsBatch": "items_batch"}


# Named moments, told by what the ledger, the store and Meta hold


def _ledger(stage: Stage) -> Json:
    found = stage.world.server.all(CatalogLedger)
    return found[0]["ledger"] if found else {}


def _intents(stage: Stage, method: str) -> list[Json]:
    return [one for one in _ledger(stage).get("intents", ()) if one["method"] == method]


def _claims(stage: Stage, method: str) -> list[Json]:
    partitions = _ledger(stage).get("partitions", ())
    return [one for one in partitions if (one.get("claim") or {}).get("method") == method]


def _state(stage: Stage, method: str, state: str) -> bool:
    return any(one.get("state", "Open") == state for one in _intents(stage, method))


def _sent(stage: Stage, method: str) -> bool:
    """The body of the newest operation has reached Meta."""
    intents = _intents(stage, method)
    sent = [one for one in stage.requests() if one.method == "POST" and one.path.endswith(BODIES[method])]
    return bool(intents) and len(sent) > stage.bodies_before


def _journalled(stage: Stage, method: str) -> bool:
    return any(
        f"/journal/{one['epoch']:08d}/{one['operation']}/" in key
        for one in _intents(stage, method)
        for key in stage.world.store.keys("")
    )


def _published(stage: Stage, method: str) -> bool:
    return any(one.get("headOperation") == one["claim"]["operation"] for one in _claims(stage, method))


def _ended(stage: Stage, method: str) -> bool:
    claims = {one["claim"]["operation"] for one in _claims(stage, method)}
    phases = {wire["metadata"]["uid"]: wire["status"].get("phase") for wire in stage.world.server.all(SyncOperation)}
    return any(phases.get(uid) == "Succeeded" for uid in claims)


MOMENTS: dict[str, Callable[[Stage, str], bool]] = {
    "claimed": lambda stage, method: bool(_claims(stage, method)) and not _intents(stage, method),
    "intent written": lambda stage, method: _state(stage, method, "Open") and not _sent(stage, method),
    "body sent": lambda stage, method: _sent(stage, method) and not _journalled(stage, method),
    "handle journalled": lambda stage, method: _journalled(stage, method) and _state(stage, method, "Open"),
    "processing": lambda stage, method: _state(stage, method, "Accepted"),
    "collected": lambda stage, method: _state(stage, method, "Collected"),
    "published": lambda stage, method: _published(stage, method) and not _ended(stage, method),
    "not released": _ended,
}


async def _until_work(stage: Stage, method: str) -> None:
    """Bring the world to where an operation of this method is about to come."""
    if method == "ReplaceFeed":
        await stage.populate()
        return
    first = await stage.begin()
    stage.change_prices()
    first.kill()


async def _settled(stage: Stage) -> None:
    await stage.until(stage.ready, SETTLED)
    await stage.until(stage.in_step, SETTLED)
    await stage.rest(hours=1, minutes=15)
    found = [*await checkers.safety(stage.world), *await checkers.liveness(stage.world)]
    assert not found, "\n".join(found[:5])


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("method", BODIES)
async def test_kill_9_at_a_named_moment(stage: Stage, method: str, moment: str) -> None:
    await _until_work(stage, method)
    stage.count_bodies(BODIES[method])
    process = stage.launch()
    watched = kill_at(process, lambda _: MOMENTS[moment](stage, method))
    await stage.until(lambda: watched.struck, timedelta(minutes=30), f"the moment {moment!r}")
    assert not process.alive
    stage.launch()
    await _settled(stage)
    sent = [one for one in stage.writes() if one.path.endswith(BODIES[method])]
    assert len(sent) == stage.bodies_before + 1, "sent once: what Meta had taken was followed, not repeated"
    assert len(stage.catalogs_at_meta()) == len(stage.feeds_at_meta()) == 1


async def _paused(stage: Stage, method: str, moment: str, *within: str, seconds: int = 240) -> tuple["Told", Process]:
    """Stop the old one at a moment within a call; a successor takes over; the old one goes on."""
    graph = stage.world.graph = Told(stage.world.graph)  # type: ignore[assignment]  # as far as processes see it
    await _until_work(stage, method)
    stage.count_bodies(BODIES[method])
    old = graph.launch(stage)
    watched = pause_at(old, lambda _: doing(*within) and MOMENTS[moment](stage, method))
    await stage.until(lambda: watched.struck, timedelta(minutes=30), f"the moment {moment!r}")
    new = graph.launch(stage)
    await stage.rest(seconds=seconds)
    assert stage.world.lease.holder == new.name
    graph.sent.clear()
    old.resume()
    await _settled(stage)
    assert not old.alive, "it noticed that it lost the lease, and ended"
    return graph, old


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("method", BODIES)
async def test_sigstop_past_the_lease_then_sigcont(stage: Stage, method: str, moment: str) -> None:
    """A successor takes over; the old one wakes up in the middle of what it did, and sends nothing."""
    within = ("_open_intent",) if moment == "intent written" else ()
    graph, old = await _paused(stage, method, moment, *within)
    assert [one for one in graph.sent if one[0] == old.name] == []


@pytest.mark.parametrize("method", BODIES)
async def test_a_request_that_was_frozen_before_its_first_byte_is_repaired(stage: Stage, method: str) -> None:
    """Nobody can fence this one: it leaves when the old process wakes up. The state is right in the end."""
    graph, old = await _paused(stage, method, "intent written", "_post", "__aiter__", seconds=40)
    assert [one[2].rsplit("/", 1)[1] for one in graph.sent if one[0] == old.name] == [BODIES[method]]


PROCESS: ContextVar[str] = ContextVar("PROCESS", default="nobody")


class Told(httpx.AsyncBaseTransport):
    """Remembers which process wrote to Meta."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self.sent: list[tuple[str, str, str]] = []

    def launch(self, stage: Stage) -> Process:
        token = PROCESS.set(f"operator-{len(stage.world.processes) + 1}")
        try:
            return stage.launch()
        finally:
            PROCESS.reset(token)

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """A request that its sender breaks off before the first byte raises, and counts as not sent."""
        response = await self._inner.handle_async_request(request)
        if request.method != "GET":
            self.sent.append((PROCESS.get(), request.method, request.url.path))
        return response


STORY = 1_600
"""Passages of the gate in a first load of a small world and a change of prices."""


async def _killed_at(stage: Stage, nth: int) -> None:
    await stage.populate()
    process = stage.launch()
    watched = kill_at(process, lambda passage: passage >= nth)
    changed = False
    while not watched.struck:
        await asyncio.sleep(1)
        if not changed and stage.items_at_meta() and stage.in_step():
            changed = True
            stage.change_prices()
    stage.launch()
    if not changed:
        await stage.until(stage.in_step, SETTLED)
        stage.change_prices()
    await _settled(stage)
    assert len(stage.catalogs_at_meta()) == len(stage.feeds_at_meta()) == 1


@pytest.mark.parametrize("nth", range(1, STORY, 67))
async def test_kill_9_at_the_nth_effect(stages: Callable[[Plan], Stage], nth: int) -> None:
    await _killed_at(stages(Plan(products=8)), nth)


@pytest.mark.soak
@pytest.mark.parametrize("nth", range(1, STORY, 3))
async def test_kill_9_at_every_third_effect(stages: Callable[[Plan], Stage], nth: int) -> None:
    await _killed_at(stages(Plan(products=8, seed=nth)), nth)


async def test_kill_9_again_and_again_in_one_world(stage: Stage) -> None:
    """Each life is a few effects longer than the last one, until one is long enough."""
    await stage.populate()
    effects = 3
    lives = 0
    while not (stage.items_at_meta() and stage.in_step() and stage.ready()):
        limit = effects
        process = stage.launch()
        watched = kill_at(process, lambda passage, limit=limit: passage >= limit)  # type: ignore[misc]  # bound now
        await stage.until(lambda watched=watched: watched.struck or stage.ready(), timedelta(hours=2))  # type: ignore[misc]
        process.kill()
        effects += 9
        lives += 1
        assert lives < 60, stage.describe()
        await stage.rest(seconds=20)
    stage.launch()
    stage.change_prices()
    await _settled(stage)
    assert len(stage.catalogs_at_meta()) == len(stage.feeds_at_meta()) == 1


async def test_the_second_operator_waits_and_takes_over_within_the_lease(stage: Stage) -> None:
    await stage.populate()
    first = stage.launch()
    second = stage.launch()
    await stage.until(stage.in_step, SETTLED)
    holder, waiting = (first, second) if stage.world.lease.holder == first.name else (second, first)
    holder.kill()
    killed_at = stage.now()
    await stage.until(lambda: stage.world.lease.holder == waiting.name, timedelta(seconds=20))
    assert stage.now() - killed_at <= timedelta(seconds=17)
    stage.change_prices()
    await stage.until(stage.in_step, timedelta(minutes=16))
    await stage.safe()
