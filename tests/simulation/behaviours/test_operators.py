"""Operator processes that come and go."""

from datetime import timedelta

from controller.api.conditions import ConditionStatus, ConditionType
from controller.api.v1alpha1 import Catalog, CatalogShard, FeedSchedule, MetaConnection
from controller.kube.transport import Json
from tests.simulation.behaviours.stage import Stage

WATCHED = (Catalog, CatalogShard, FeedSchedule, MetaConnection)


async def test_a_restart_says_nothing_new(stage: Stage) -> None:
    """What was said of a healthy world stays: no condition turns only because the operator started again."""
    first = await stage.begin()
    await stage.rest(minutes=20)
    said: list[tuple[str, str, str, str]] = []

    def heard(_change: str, wire: Json) -> None:
        said.extend(
            (wire["kind"], one["type"], one["status"], one["message"])
            for one in wire.get("status", {}).get("conditions", ())
            if one["type"] in (ConditionType.READY, ConditionType.SYNCED, ConditionType.FRESH)
        )

    for kind in WATCHED:
        stage.world.server.watch(kind, stage.world.server.version, heard, lambda: None)
    first.kill()
    stage.launch()
    await stage.rest(minutes=20)
    assert [one for one in said if one[2] != ConditionStatus.TRUE] == []
    stage.change_prices()
    await stage.until(stage.in_step, timedelta(minutes=16))
    await stage.safe()
