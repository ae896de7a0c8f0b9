"""What our checks found of a row is in status and in reports as long as the row is so, and no longer."""

from datetime import timedelta

from controller.api.conditions import ConditionType
from controller.api.v1alpha1 import Catalog, DiagnosticReport
from controller.api.v1alpha1.catalog import CheckResult
from controller.api.v1alpha1.diagnostic_report import Priority
from tests.simulation.behaviours.stage import Stage
from tests.simulation.world import CATALOG

NOTICED = timedelta(minutes=25)


def errors(stage: Stage) -> list[CheckResult]:
    """Findings that reject rows; advice is there for every catalog."""
    return [check for check in stage.require_catalog().status.checks if check.level == "Error"]


def reported(stage: Stage) -> dict[str, tuple[str, ...]]:
    """Items by issue, as `kubectl get mdiag` would show them; advice left out."""
    return {
        each.report.issue.type: tuple(item.id for item in each.report.items)
        for each in stage.all(DiagnosticReport)
        if each.report.issue.priority is Priority.HIGH
    }


async def test_every_row_with_an_issue_is_reported_until_it_is_mended(stage: Stage) -> None:
    await stage.begin()
    assert not reported(stage)
    broken = list(stage.shop.products.values())[:3]
    for product in broken:
        product.broken = True
    stage.shop_changes()
    await stage.until(lambda: reported(stage), NOTICED)
    ((issue, items),) = reported(stage).items()
    assert items == tuple(product.id for product in broken)
    (first,) = [each for each in stage.all(DiagnosticReport) if each.report.issue.type == issue]
    broken[0].broken = False
    stage.shop_changes()
    await stage.until(lambda: len(reported(stage)[issue]) == 2, NOTICED)
    (second,) = [each for each in stage.all(DiagnosticReport) if each.report.issue.type == issue]
    assert second.uid == first.uid
    assert second.report.items == first.report.items[1:], "the others keep the time since which they are reported"
    for product in broken:
        product.broken = False
    stage.shop_changes()
    await stage.until(lambda: not reported(stage), NOTICED)
    await stage.safe()


async def test_reports_that_a_crash_kept_from_being_written_are_written(stage: Stage) -> None:
    process = await stage.begin()
    next(iter(stage.shop.products.values())).broken = True
    stage.shop_changes()
    await stage.until(lambda: reported(stage), NOTICED)
    for each in stage.all(DiagnosticReport):
        await stage.delete(DiagnosticReport, each.name)
    assert not reported(stage)
    process.kill()
    stage.launch()
    await stage.until(lambda: reported(stage), NOTICED)
    await stage.safe()


async def test_reports_go_with_their_catalog(stage: Stage) -> None:
    await stage.begin()
    await stage.until(lambda: stage.all(DiagnosticReport), NOTICED)
    await stage.delete(Catalog, CATALOG)
    await stage.until(stage.gone(Catalog, CATALOG), NOTICED)
    assert not stage.all(DiagnosticReport)
    await stage.safe()


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
