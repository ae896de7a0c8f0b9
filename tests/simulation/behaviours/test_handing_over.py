"""A process that loses its lease, or is asked to end, waits for answers on their way and writes them down."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from controller.api.v1alpha1 import CatalogLedger
from tests.simulation import checkers
from tests.simulation.behaviours.stage import Stage

ANSWER_SECONDS = 12
"""Longer than it takes to lose the lease, shorter than the send may take."""
BODIES = {"ReplaceFeed": "uploads", "ItemsBatch": "items_batch"}
SOON = timedelta(minutes=2)


def bodies(stage: Stage, method: str) -> int:
    return len([one for one in stage.writes() if one.path.endswith(BODIES[method])])


def on_its_way(stage: Stage, method: str) -> list[str]:
    """Operations whose body has reached Meta and whose answer has not come."""
    if bodies(stage, method) == stage.bodies_before:
        return []
    found = stage.world.server.all(CatalogLedger)
    intents = found[0]["ledger"].get("intents", ()) if found else ()
    return [one["operation"] for one in intents if one["method"] == method and one.get("state", "Open") == "Open"]


def journalled(stage: Stage, operation: str) -> list[str]:
    return [key for key in stage.world.store.keys("") if "/journal/" in key and operation in key]


def lose_the_lease(stage: Stage) -> None:
    stage.world.lease.holder = "somebody else"
    stage.world.lease.until = 0.0


def ask_to_end(stage: Stage) -> None:
    stage.world.lease.until = 0.0
    stage.world.processes[-1].stop()


@pytest.mark.parametrize("end", [lose_the_lease, ask_to_end])
@pytest.mark.parametrize("method", BODIES)
async def test_an_answer_on_its_way_is_awaited(stage: Stage, method: str, end: Callable[[Stage], None]) -> None:
    await stage.begin()
    stage.count_bodies(BODIES[method])
    if method == "ReplaceFeed":
        stage.shop.add()
        stage.shop_changes()
    else:
        stage.change_prices()
    stage.arm("latency", seconds=ANSWER_SECONDS, phase="answer", method="POST", path=f"/{BODIES[method]}$", count=1)
    (operation,) = await stage.until(lambda: on_its_way(stage, method), timedelta(hours=2), "a body is on its way")
    old = stage.world.processes[-1]
    end(stage)
    await stage.until(lambda: journalled(stage, operation), SOON, "the handle stands in the journal")
    await stage.until(lambda: not old.alive, SOON, "the old process has ended")
    stage.disarm()
    stage.launch()
    await stage.until(stage.in_step, timedelta(hours=2))
    assert bodies(stage, method) == stage.bodies_before + 1, (
        "the answer was not lost, so nothing was looked for or repeated"
    )
    found = [*await checkers.safety(stage.world), *await checkers.liveness(stage.world)]
    assert not found, found[:5]
