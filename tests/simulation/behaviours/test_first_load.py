"""The way from the smallest useful input to Ready."""

from datetime import timedelta

from controller.api.conditions import ConditionStatus, ConditionType
from tests.simulation import checkers
from tests.simulation.behaviours.stage import Stage


async def test_the_smallest_input_becomes_ready_synced_and_fresh(stage: Stage) -> None:
    await stage.begin()
    for kind in (ConditionType.READY, ConditionType.SYNCED, ConditionType.FRESH):
        found = stage.condition(kind)
        assert found is not None
        assert found.status is ConditionStatus.TRUE, found
    assert len(stage.catalogs_at_meta()) == 1
    assert len(stage.feeds_at_meta()) == 1
    assert await checkers.safety(stage.world) == []
    assert await checkers.liveness(stage.world) == []


async def test_changed_prices_arrive_within_the_promise(stage: Stage) -> None:
    await stage.begin()
    stage.change_prices()
    await stage.until(stage.in_step, timedelta(minutes=15))
    await stage.safe()
