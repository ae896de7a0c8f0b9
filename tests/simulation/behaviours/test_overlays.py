"""Overlays over days: what they say reaches Meta soon, what they break names them, and they end with the spec."""

import shutil
from datetime import timedelta
from typing import Any

import pytest

from controller.api.conditions import ConditionStatus, ConditionType
from controller.api.v1alpha1.catalog import OverlayStatus
from tests.simulation.behaviours.stage import Stage, usual_spec
from tests.simulation.shop import Witness

PATH = "/stock.csv"
COLUMNS = {"availability": "state", "price": "amount", "quantity_to_sell_on_facebook": "units"}
SOON = timedelta(minutes=16)
"""Price and stock are promised within 15 minutes of a change, plus Meta's own two."""
NOTICED = timedelta(minutes=12)


def entry(*overlays: dict[str, Any]) -> dict[str, Any]:
    return {**usual_spec()["items"][0], "overlays": list(overlays)}


def stock(**fields: Any) -> dict[str, Any]:
    return {
        "name": "stock",
        "interval": "2m",
        "source": {"http": {"url": f"http://shop.example{PATH}"}},
        "idColumn": "sku",
        "columns": [{"field": field, "column": column} for field, column in COLUMNS.items()],
        **fields,
    }


def say(stage: Stage, rows: dict[str, tuple[str, str]]) -> None:
    """The stock system says this now; the auditor hears it too."""
    lines = [f"{sku},{state},{amount}," for sku, (state, amount) in rows.items()]
    stage.shop.files[PATH] = "\n".join(["sku,state,amount,units", *lines, ""]).encode()
    stage.shop.sequence += 1
    at = stage.world.clock.unix()
    stage.world.testify(
        Witness(
            [
                {"item": sku, "field": name, "value": value, "sequence": stage.shop.sequence, "at": at}
                for sku, values in rows.items()
                for name, value in zip(("availability", "price"), values, strict=True)
                if value and sku in stage.shop.products
            ]
        )
    )


def other(availability: str) -> str:
    return "out of stock" if availability == "in stock" else "in stock"


def at_meta(stage: Stage, item: str) -> tuple[str, str]:
    found = stage.items_at_meta()[item]
    return found["availability"], found["price"]


def overlay_status(stage: Stage) -> OverlayStatus:
    (items,) = stage.require_catalog().status.items
    (found,) = items.overlays
    return found


async def test_what_an_overlay_says_reaches_meta_by_a_batch(stage: Stage) -> None:
    await stage.begin()
    first, second, *_ = sorted(stage.shop.products)
    before = {name: stage.items_at_meta()[name]["availability"] for name in (first, second)}
    say(stage, {first: (other(before[first]), "77.00 EUR"), "UNHEARD-OF": ("in stock", "1.00 EUR")})
    await stage.change(items=[entry(stock())])
    await stage.until(lambda: at_meta(stage, first) == (other(before[first]), "77.00 EUR"), SOON)
    seen = len(stage.world.emulator.journal.requests)
    exports = stage.shop.export()
    say(stage, {first: (other(before[first]), "78.00 EUR"), second: (other(before[second]), ""), "NEITHER": ("", "")})
    await stage.until(lambda: at_meta(stage, first)[1] == "78.00 EUR", SOON)
    await stage.until(lambda: at_meta(stage, second)[0] == other(before[second]), SOON)
    assert any(one.path.endswith("/items_batch") for one in stage.writes(seen))
    assert stage.shop.export() == exports, "the full source stood still"
    assert {"UNHEARD-OF", "NEITHER"}.isdisjoint(stage.items_at_meta())
    status = overlay_status(stage)
    assert (status.rows, status.items, status.unknown) == (3, 2, 1)
    assert status.unknown_sample_ids == ("UNHEARD-OF",)
    assert {"overlay-stock-unknown"} <= {each.rule for each in stage.require_catalog().status.checks}
    await stage.rest(hours=26)
    assert {"UNHEARD-OF", "NEITHER"}.isdisjoint(stage.items_at_meta())
    assert at_meta(stage, first) == (other(before[first]), "78.00 EUR"), "full sends carry what the overlay said"
    await stage.safe()


async def test_an_overlay_that_is_down_stops_nothing_else(stage: Stage) -> None:
    await stage.begin()
    first, second, *_ = sorted(stage.shop.products)
    say(stage, {first: ("", "77.00 EUR")})
    await stage.change(items=[entry(stock())])
    await stage.until(lambda: at_meta(stage, first)[1] == "77.00 EUR", SOON)
    stage.shop.files[PATH] = None
    said = await stage.until(
        stage.says(ConditionType.SOURCE_UNHEALTHY, ConditionStatus.TRUE, "SourceUnreachable"), NOTICED
    )
    assert "spec.items[products].overlays[stock]" in said.message
    assert "the last good state stays; next try by" in said.message
    assert overlay_status(stage).reason == "SourceUnreachable"
    stage.shop.products[second].price_cents = 4_200
    stage.shop_changes()
    await stage.until(lambda: at_meta(stage, second)[1] == "42.00 EUR", SOON)
    await stage.rest(minutes=30)
    assert at_meta(stage, first)[1] == "77.00 EUR", "the last good state stays"
    fresh = stage.condition(ConditionType.FRESH)
    assert fresh is not None
    assert fresh.status is ConditionStatus.FALSE
    assert "overlay stock was not read since" in fresh.message
    say(stage, {first: ("", "79.00 EUR")})
    await stage.until(lambda: at_meta(stage, first)[1] == "79.00 EUR", SOON)
    await stage.until(lambda: stage.condition(ConditionType.SOURCE_UNHEALTHY) is None, NOTICED)
    assert overlay_status(stage).reason is None
    await stage.safe()


async def test_a_full_source_that_is_down_stops_no_overlay(stage: Stage) -> None:
    await stage.begin()
    first = min(stage.shop.products)
    say(stage, {first: ("", "77.00 EUR")})
    await stage.change(items=[entry(stock())])
    await stage.until(lambda: at_meta(stage, first)[1] == "77.00 EUR", SOON)
    stage.shop.down = True
    await stage.until(stage.says(ConditionType.SOURCE_UNHEALTHY, ConditionStatus.TRUE, "SourceUnreachable"), NOTICED)
    say(stage, {first: ("", "78.00 EUR")})
    await stage.until(lambda: at_meta(stage, first)[1] == "78.00 EUR", SOON)
    stage.shop.down = False
    await stage.until(lambda: stage.condition(ConditionType.SOURCE_UNHEALTHY) is None, NOTICED)
    await stage.safe()


async def test_an_overlay_that_never_came_holds_nothing_up(stage: Stage) -> None:
    stage.shop.files[PATH] = None
    await stage.begin(items=[entry(stock())])
    first = min(stage.shop.products)
    assert overlay_status(stage).reason == "SourceUnreachable"
    say(stage, {first: ("", "77.00 EUR")})
    await stage.until(lambda: at_meta(stage, first)[1] == "77.00 EUR", SOON)
    await stage.safe()


async def test_the_values_of_an_overlay_end_with_it(stage: Stage) -> None:
    await stage.begin()
    first = min(stage.shop.products)
    own = stage.items_at_meta()[first]["price"]
    say(stage, {first: ("", "77.00 EUR")})
    await stage.change(items=[entry(stock())])
    await stage.until(lambda: at_meta(stage, first)[1] == "77.00 EUR", SOON)
    stage.shop.sequence += 1
    again = {"item": first, "field": "price", "value": own, "sequence": stage.shop.sequence}
    stage.world.testify(Witness([again | {"at": stage.world.clock.unix()}]))
    await stage.change(items=[entry()])
    await stage.until(stage.in_step, SOON)
    assert at_meta(stage, first)[1] == own
    assert stage.require_catalog().status.items[0].overlays == ()
    await stage.safe()


async def test_rows_that_an_overlay_breaks_name_it_and_come_back(stage: Stage) -> None:
    await stage.begin()
    first = min(stage.shop.products)
    own = stage.items_at_meta()[first]["price"]
    say(stage, {first: ("", "cheap")})
    await stage.change(items=[entry(stock())])
    await stage.until(stage.says(ConditionType.ITEM_ISSUES, ConditionStatus.TRUE, "ItemsRefused"), NOTICED)
    assert "overlay-stock" in {each.rule for each in stage.require_catalog().status.checks}
    await stage.rest(hours=2)
    assert at_meta(stage, first)[1] == own, "the last good version stays"
    say(stage, {first: ("", "55.00 EUR")})
    await stage.until(lambda: at_meta(stage, first)[1] == "55.00 EUR", SOON)
    await stage.until(lambda: stage.condition(ConditionType.ITEM_ISSUES) is None, NOTICED)
    await stage.safe()


@pytest.mark.parametrize("killed_after", [0.5, 3.0, 20.0])
async def test_a_crash_loses_nothing_of_an_overlay(stage: Stage, killed_after: float) -> None:
    process = await stage.begin()
    first = min(stage.shop.products)
    say(stage, {first: ("", "77.00 EUR")})
    await stage.change(items=[entry(stock())])
    await stage.until(lambda: at_meta(stage, first)[1] == "77.00 EUR", SOON)
    say(stage, {first: ("", "78.00 EUR")})
    await stage.rest(minutes=2, seconds=killed_after)
    process.kill()
    stage.launch()
    await stage.until(lambda: at_meta(stage, first)[1] == "78.00 EUR", SOON + timedelta(minutes=30))
    await stage.safe()


async def test_a_store_that_was_lost_is_filled_from_all_sources(stage: Stage) -> None:
    process = await stage.begin()
    first = min(stage.shop.products)
    say(stage, {first: ("", "77.00 EUR")})
    await stage.change(items=[entry(stock())])
    await stage.until(lambda: at_meta(stage, first)[1] == "77.00 EUR", SOON)
    process.kill()
    shutil.rmtree(stage.directory)
    say(stage, {first: ("", "78.00 EUR")})
    stage.launch()
    await stage.until(lambda: at_meta(stage, first)[1] == "78.00 EUR", SOON + timedelta(minutes=30))
    assert overlay_status(stage).reason is None
    await stage.safe()


async def test_a_stale_export_beside_a_stock_file_that_is_always_right(stage: Stage) -> None:
    """Prices and stock move for hours in the overlay alone, while items come and go in the export."""
    await stage.begin()
    tell_all(stage)
    await stage.change(items=[entry(stock())])
    await stage.until(stage.in_step, SOON)
    rng = stage.world.rng("overlays")
    export = stage.shop.export()
    for turn in range(24):
        stage.shop.said = export
        stage.shop.change_some(0.3)
        tell_all(stage)
        await stage.rest(minutes=rng.uniform(1, 12))
        if turn % 6 == 5:
            stage.shop.add()
            tell_all(stage)
            export = stage.shop.export()
    stage.shop.said = None
    await stage.until(stage.in_step, timedelta(hours=2))
    await stage.safe()


def tell_all(stage: Stage) -> None:
    """The stock file says what is true now."""
    rows = [product.row() for product in stage.shop.products.values()]
    lines = [f"{row['id']},{row['availability']},{row['price']},{row['quantity_to_sell_on_facebook']}" for row in rows]
    stage.shop.files[PATH] = "\n".join(["sku,state,amount,units", *lines, ""]).encode()
    stage.shop_changes()
