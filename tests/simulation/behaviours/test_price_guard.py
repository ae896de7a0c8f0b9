"""More prices would change than the guard allows: they stay, everything else goes, an approval releases them."""

from datetime import timedelta
from typing import Any

from controller.api.conditions import ConditionStatus, ConditionType
from controller.api.v1alpha1 import DeletionApproval
from tests.simulation.behaviours.stage import Stage, usual_spec

NOTICED = timedelta(minutes=15)
SENT = timedelta(minutes=20)
GUARDS: dict[str, Any] = {
    **usual_spec()["guards"],
    "maxPriceChange": {"percent": 50, "ofItemsPercent": 10},
}


def prices_at_meta(stage: Stage) -> dict[str, str]:
    return {item: row["price"] for item, row in stage.items_at_meta().items()}


def wanted(stage: Stage) -> dict[str, str]:
    return {product.id: product.row()["price"] for product in stage.shop.products.values()}


async def a_slip_of_the_decimal_point(stage: Stage) -> dict[str, str]:
    """All prices fall to a hundredth, and one product gets another stock; returns the prices that Meta has."""
    for product in stage.shop.products.values():
        product.price_cents, product.quantity = 100_00, 5
    await stage.begin(guards=GUARDS)
    before = prices_at_meta(stage)
    for product in stage.shop.products.values():
        product.price_cents //= 100
    next(iter(stage.shop.products.values())).quantity = 7
    stage.shop_changes()
    held = stage.says(ConditionType.PRICES_HELD, ConditionStatus.TRUE, "PriceGuard")
    said = await stage.until(held, NOTICED)
    assert "12 of 12 items would change their price by more than 50 % (100 %, limit 10 %)" in said.message
    assert "kind: DeletionApproval" in said.message
    return before


async def test_the_prices_stay_and_everything_else_is_sent(stage: Stage) -> None:
    before = await a_slip_of_the_decimal_point(stage)
    first = next(iter(stage.shop.products))
    await stage.until(lambda: stage.items_at_meta()[first]["quantity_to_sell_on_facebook"] == "7", SENT)
    await stage.rest(hours=26)
    assert prices_at_meta(stage) == before, "neither batches nor the full send of every day took the prices along"
    assert stage.condition(ConditionType.DELETIONS_HELD) is None
    assert stage.condition(ConditionType.STALLED) is None
    assert stage.ready()
    await stage.safe()


async def test_the_approval_releases_them(stage: Stage) -> None:
    await a_slip_of_the_decimal_point(stage)
    held = stage.require_catalog().status.held
    assert held is not None
    await stage.approval(held.digest)
    await stage.until(lambda: prices_at_meta(stage) == wanted(stage), SENT)
    assert stage.condition(ConditionType.PRICES_HELD) is None
    assert stage.require(DeletionApproval, "yes").status.released_items == 12
    await stage.safe()


async def test_the_source_mends_it(stage: Stage) -> None:
    before = await a_slip_of_the_decimal_point(stage)
    for product in stage.shop.products.values():
        product.price_cents *= 100
    stage.shop_changes()
    await stage.until(lambda: stage.condition(ConditionType.PRICES_HELD) is None, NOTICED)
    await stage.until(stage.in_step, SENT)
    assert prices_at_meta(stage) == before
    await stage.safe()


async def test_other_limits_release_them(stage: Stage) -> None:
    """The source stands still; the guard is asked again because its limits are others."""
    await a_slip_of_the_decimal_point(stage)
    await stage.change(guards={**GUARDS, "maxPriceChange": {"percent": 99, "ofItemsPercent": 10}})
    await stage.until(lambda: prices_at_meta(stage) == wanted(stage), SENT)
    assert stage.condition(ConditionType.PRICES_HELD) is None
    await stage.safe()
