"""What our checks found of a row is in status as long as the row is so, and no longer."""

from datetime import timedelta

from controller.api.conditions import ConditionType
from controller.api.v1alpha1.catalog import CheckResult
from tests.simulation.behaviours.stage import Stage

NOTICED = timedelta(minutes=25)


def errors(stage: Stage) -> list[CheckResult]:
    """Findings that reject rows; advice is there for every catalog."""
    return [check for check in stage.require_catalog().status.checks if check.level == "Error"]


async def test_a_finding_goes_with_the_row_that_it_was_about(stage: Stage) -> None:
    await stage.begin()
    broken = next(iter(stage.shop.products.values()))
    broken.broken = True
    stage.shop_changes()
    await stage.until(lambda: errors(stage), NOTICED)
    (found,) = errors(stage)
    assert (found.count, found.sample_ids) == (1, (broken.id,))
    broken.broken = False
    stage.shop_changes()
    await stage.until(lambda: not errors(stage), NOTICED)
    assert stage.condition(ConditionType.ITEM_ISSUES) is None
    await stage.safe()
