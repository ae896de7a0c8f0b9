"""Values for one language or country over days: they reach Meta, end with what said them, and never touch an item."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from controller.api.conditions import ConditionStatus, ConditionType
from controller.api.v1alpha1 import FeedSchedule, SyncOperation
from controller.api.v1alpha1.catalog import LocalizedStatus
from controller.api.v1alpha1.sync_operation import Phase
from controller.settings import Timing
from tests.simulation.behaviours.cutting import kill_at
from tests.simulation.behaviours.localized import (
    EDGE,
    SOON,
    bodies,
    entry,
    held,
    operations,
    overlay,
    say,
    shown,
    status,
    titles,
)
from tests.simulation.behaviours.stage import Plan, Stage
from tests.simulation.world import CATALOG

HEALED = timedelta(hours=2)
NOTICED = timedelta(minutes=12)
TOO_MUCH = "1" * 16 + ".00"
"""More digits than Meta takes; our checks leave that to Meta."""


async def test_values_arrive_per_language_and_country(stage: Stage) -> None:
    await stage.begin()
    first, second, *_ = sorted(stage.shop.products)
    say(stage, "french", titles(first, second, "UNHEARD-OF"))
    say(stage, "swiss", {first: {"price": "12.00 CHF", "availability": "in stock"}})
    before = stage.items_at_meta()
    await stage.change(items=[entry(overlay("french"), overlay("swiss"))])
    await stage.until(lambda: held(stage) == titles(first, second), SOON)
    await stage.until(lambda: held(stage, "CH") == {first: {"price": "12.00 CHF", "availability": "in stock"}}, SOON)
    assert stage.items_at_meta() == before, "the items themselves stay as they are"
    await stage.until(lambda: status(stage) == LocalizedStatus(items=2, acknowledged=2), SOON)
    await stage.until(stage.quiet, SOON)
    (items,) = stage.require_catalog().status.items
    assert (items.overlays[0].unknown, items.overlays[0].unknown_sample_ids) == (1, ("UNHEARD-OF",))
    made = [each for each in stage.all(SyncOperation) if each.spec.overlay is not None]
    assert {each.spec.overlay for each in made} == {"french", "swiss"}
    assert {each.status.phase for each in made} == {Phase.SUCCEEDED}
    await stage.rest(hours=26)
    assert held(stage) == titles(first, second), "full sends leave them alone"
    assert "UNHEARD-OF" not in stage.items_at_meta()
    await stage.safe()


async def test_they_are_there_from_the_first_load_on(stage: Stage) -> None:
    items = sorted(stage.shop.products)
    say(stage, "french", titles(*items))
    await stage.begin(items=[entry(overlay("french"))])
    await stage.until(lambda: held(stage) == titles(*items), SOON)
    await stage.safe()


@pytest.mark.parametrize("update", ["merge", "replace"])
async def test_a_changed_value_is_sent_alone_and_one_that_ends_is_cleared(stage: Stage, update: str) -> None:
    """Whether Meta merges what an update says or takes it as everything."""
    stage.world.emulator.world.switches.localized_update = update
    await stage.begin()
    first, second, third, *_ = sorted(stage.shop.products)
    rows = {each: {"title": f"Produit {each}", "color": "rouge"} for each in (first, second, third)}
    say(stage, "french", rows)
    await stage.change(items=[entry(overlay("french", emptyCells="Clear"))])
    await stage.until(lambda: held(stage) == rows, SOON)
    await stage.until(stage.quiet, SOON)
    seen = len(stage.requests())
    say(stage, "french", {**rows, first: {"title": "Autre", "color": "rouge"}})
    await stage.until(lambda: held(stage)[first]["title"] == "Autre", SOON)
    assert held(stage)[first] == {"title": "Autre", "color": "rouge"}
    await stage.until(stage.quiet, SOON)
    assert len(bodies(stage, seen)) == 1
    assert [each.status.totals.update for each in operations(stage) if each.status.totals] == [3, 1]
    say(stage, "french", {**rows, first: {"title": "Autre", "color": ""}, second: {"title": "", "color": ""}})
    await stage.until(lambda: held(stage) == {first: {"title": "Autre"}, third: rows[third]}, SOON)
    await stage.safe()


async def test_values_end_with_their_overlay(stage: Stage) -> None:
    items = sorted(stage.shop.products)[:3]
    await shown(stage, *items)
    before = stage.items_at_meta()
    await stage.change(items=[entry()])
    await stage.until(lambda: not held(stage), SOON)
    await stage.until(stage.quiet, SOON)
    assert all(not record.locales for record in stage.ledger().partitions)
    assert stage.items_at_meta() == before
    seen = len(stage.requests())
    await stage.rest(hours=3)
    assert not bodies(stage, seen)
    await stage.safe()


async def test_another_language_takes_the_place_of_the_first(stage: Stage) -> None:
    items = sorted(stage.shop.products)[:3]
    await shown(stage, *items)
    await stage.change(items=[entry(overlay("french", override={"language": "fr_CA"}))])
    await stage.until(lambda: held(stage, "fr_CA") == titles(*items), SOON)
    await stage.until(lambda: not held(stage), SOON)
    await stage.safe()


async def test_values_go_with_their_item(stage: Stage) -> None:
    """And come again with it, should it ever come again."""
    items = sorted(stage.shop.products)
    say(stage, "french", titles(*items))
    await stage.begin(items=[entry(overlay("french"))])
    await stage.until(lambda: held(stage) == titles(*items), SOON)
    (gone,) = stage.remove_products(1)
    await stage.until(lambda: gone not in stage.items_at_meta(), timedelta(hours=12))
    await stage.until(lambda: status(stage) == LocalizedStatus(items=len(items) - 1, acknowledged=len(items) - 1), SOON)
    assert set(held(stage)) == set(items) - {gone}
    await stage.safe()


async def test_a_row_that_meta_refuses_is_named_and_not_repeated(stage: Stage) -> None:
    await stage.begin()
    first, second, *_ = sorted(stage.shop.products)
    say(stage, "swiss", {first: {"price": f"{TOO_MUCH} CHF"}, second: {"price": "12.00 CHF"}})
    await stage.change(items=[entry(overlay("swiss"))])
    await stage.until(lambda: second in held(stage, "CH"), SOON)
    await stage.until(lambda: status(stage, "swiss") == LocalizedStatus(items=2, acknowledged=1, refused=1), SOON)
    await stage.until(stage.quiet, SOON)
    (operation,) = operations(stage, "swiss")
    assert operation.status.outcome is not None
    assert (operation.status.outcome.accepted, operation.status.outcome.refused) == (1, 1)
    assert operation.status.outcome.errors[0].sample_ids == (first,)
    issues = stage.condition(ConditionType.ITEM_ISSUES)
    assert issues is not None
    assert "values of 1 item for a language or country were refused by Meta: " in issues.message
    assert first in issues.message
    seen = len(stage.requests())
    await stage.rest(hours=6)
    assert not bodies(stage, seen), "it is not sent again as it is"
    assert first not in held(stage, "CH")
    say(stage, "swiss", {first: {"price": "11.00 CHF"}, second: {"price": "12.00 CHF"}})
    await stage.until(lambda: status(stage, "swiss") == LocalizedStatus(items=2, acknowledged=2), SOON)
    issues = stage.condition(ConditionType.ITEM_ISSUES)
    assert issues is None or "language or country" not in issues.message
    assert held(stage, "CH") == {first: {"price": "11.00 CHF"}, second: {"price": "12.00 CHF"}}
    await stage.safe()


async def test_a_value_that_meta_drops_with_a_warning_is_not_taken_for_one_it_has(stage: Stage) -> None:
    await stage.begin()
    first = min(stage.shop.products)
    say(stage, "french", {first: {"title": "Produit", "custom_label_0": "l" * 101}})
    await stage.change(items=[entry(overlay("french"))])
    await stage.until(lambda: held(stage) == {first: {"title": "Produit"}}, SOON)
    await stage.until(lambda: status(stage) == LocalizedStatus(items=1, refused=1), SOON)
    await stage.until(stage.quiet, SOON)
    assert [each.status.outcome.warnings[0].sample_ids for each in operations(stage) if each.status.outcome] == [
        (first,)
    ]
    seen = len(stage.requests())
    await stage.rest(hours=3)
    assert not bodies(stage, seen)
    await stage.safe()


async def test_what_our_checks_reject_stays_as_it_is(stage: Stage) -> None:
    await stage.begin()
    first, second, *_ = sorted(stage.shop.products)
    say(stage, "swiss", {first: {"price": "12.00 CHF"}, second: {"price": "13.00 CHF"}})
    await stage.change(items=[entry(overlay("swiss"))])
    await stage.until(lambda: held(stage, "CH").keys() == {first, second}, SOON)
    say(stage, "swiss", {first: {"price": "a lot"}, second: {"price": "14.00 CHF"}})
    await stage.until(lambda: held(stage, "CH")[second]["price"] == "14.00 CHF", SOON)
    assert held(stage, "CH")[first]["price"] == "12.00 CHF"
    await stage.until(stage.quiet, SOON)
    (found,) = [each for each in stage.require_catalog().status.checks if each.rule == "overlay-swiss"]
    assert (found.count, found.sample_ids) == (1, (first,))
    await stage.safe()


async def test_an_overlay_that_is_down_leaves_meta_as_it_is(stage: Stage) -> None:
    items = sorted(stage.shop.products)[:3]
    await shown(stage, *items)
    seen = len(stage.requests())
    stage.shop.files["/fr.csv"] = None
    said = await stage.until(
        stage.says(ConditionType.SOURCE_UNHEALTHY, ConditionStatus.TRUE, "SourceUnreachable"), NOTICED
    )
    assert "spec.items[products].overlays[french]" in said.message
    await stage.rest(hours=3)
    assert held(stage) == titles(*items)
    assert not bodies(stage, seen)
    await stage.safe()


async def test_an_overlay_without_good_rows_leaves_meta_as_it_is(stage: Stage) -> None:
    items = sorted(stage.shop.products)[:3]
    await shown(stage, *items)
    seen = len(stage.requests())
    stage.shop.files["/fr.csv"] = b"id,title\n"
    await stage.until(stage.says(ConditionType.SOURCE_UNHEALTHY, ConditionStatus.TRUE, "SourceEmpty"), NOTICED)
    await stage.rest(hours=1)
    assert held(stage) == titles(*items)
    assert not bodies(stage, seen)
    await stage.safe()


async def test_nothing_is_sent_while_suspended(stage: Stage) -> None:
    items = sorted(stage.shop.products)[:3]
    await shown(stage, *items)
    await stage.change(suspend=True)
    seen = len(stage.requests())
    say(stage, "french", titles(*items, word="Autre"))
    await stage.rest(hours=2)
    assert not stage.writes(seen)
    assert held(stage) == titles(*items)
    await stage.change(suspend=False)
    await stage.until(lambda: held(stage) == titles(*items, word="Autre"), SOON)
    await stage.safe()


async def test_what_a_guard_holds_waits_and_leaves_meta_as_it_is(stage: Stage) -> None:
    """Who wants operations held while deletions wait for an approval gets these held, too."""
    items = sorted(stage.shop.products)
    say(stage, "french", titles(*items))
    guards = {"onExceed": "HoldOperation", "gracePeriod": "0s", "maxDeletePercent": 5, "alwaysAllow": 2}
    await stage.begin(items=[entry(overlay("french"))], guards=guards)
    await stage.until(lambda: held(stage) == titles(*items), SOON)
    await stage.until(stage.quiet, SOON)
    gone = stage.remove_products(4)
    await stage.until(lambda: stage.condition(ConditionType.DELETIONS_HELD), HEALED)
    seen = len(stage.requests())
    say(stage, "french", titles(*items, word="Autre"))
    waiting = await stage.until(lambda: [each for each in operations(stage) if each.status.phase is Phase.HELD], HEALED)
    await stage.rest(hours=1)
    assert not bodies(stage, seen)
    assert held(stage) == titles(*items)
    assert not stage.in_flight(), "who is held keeps no claims"
    assert waiting[0].spec.overlay == "french"
    found = stage.require_catalog().status.held
    assert found is not None
    await stage.approval(found.digest)
    left = [each for each in items if each not in gone]
    await stage.until(lambda: held(stage) == titles(*left, word="Autre"), timedelta(hours=6))
    await stage.safe()


async def test_an_operation_for_an_overlay_that_is_not_there_sends_nothing(stage: Stage) -> None:
    await stage.begin()
    seen = len(stage.requests())
    await stage.operation("by-hand", method="ItemsBatch", overlay="nobody")
    said = await stage.until(
        stage.says(ConditionType.STALLED, ConditionStatus.TRUE, "InvalidSpec", kind=SyncOperation, of="by-hand"), SOON
    )
    assert "spec.overlay: the Catalog has no overlay nobody" in said.message
    assert not stage.writes(seen)
    await stage.safe()


async def test_a_dry_run_says_what_would_be_sent(stage: Stage) -> None:
    items = sorted(stage.shop.products)[:3]
    await shown(stage, *items)
    schedule = {"catalogRef": {"name": CATALOG}, "method": "ItemsBatch", "interval": "24h", "suspend": True}
    await stage.create(FeedSchedule, "mine", schedule)
    await stage.until(stage.gone(FeedSchedule, f"{CATALOG}-batch"), SOON)
    seen = len(stage.requests())
    say(stage, "french", titles(*items[:2], word="Autre") | titles(items[2]))
    await stage.until(lambda: status(stage) == LocalizedStatus(items=3, acknowledged=1, pending=2), SOON)
    await stage.operation("by-hand", method="ItemsBatch", overlay="french", dryRun=True)
    await stage.until(lambda: stage.phase("by-hand") is Phase.PLANNED, SOON)
    planned = stage.require(SyncOperation, "by-hand").status.plan
    assert planned is not None
    assert planned.sample_ids is not None
    assert (planned.update, planned.sample_ids.update) == (2, tuple(items[:2]))
    assert not bodies(stage, seen)
    await stage.operation("now", method="ItemsBatch", overlay="french", itemIDs=[items[0]])
    await stage.until(lambda: stage.phase("now") is Phase.SUCCEEDED, SOON)
    assert held(stage) == titles(items[0], word="Autre") | titles(*items[1:])
    await stage.safe()


async def test_prices_go_first_and_nothing_overlaps(stage: Stage) -> None:
    """A batch of values per language and one of prices never touch one item at a time: the audit sees it."""
    items = sorted(stage.shop.products)
    await shown(stage, *items)
    for number in range(6):
        say(stage, "french", titles(*items, word=f"Mot {number}"))
        stage.change_prices()
        await stage.until(stage.in_step, SOON)
        await stage.rest(minutes=2)
    await stage.until(lambda: held(stage) == titles(*items, word="Mot 5"), SOON)
    await stage.until(stage.quiet, SOON)
    assert len([one for one in stage.writes() if one.path.endswith("/items_batch")]) >= 6
    await stage.safe()


async def test_shards_with_prices_to_send_hold_up_no_other(stages: Callable[..., Stage]) -> None:
    """Shards are claimed one by one; each change of an item has it to itself."""
    stage = stages(Plan(products=40, spec={"sharding": {"shards": 4}}))
    items = sorted(stage.shop.products)
    await shown(stage, *items)
    for number in range(3):
        say(stage, "french", titles(*items, word=f"Mot {number}"))
        stage.shop.products[items[number]].price_cents += 100
        stage.shop_changes()
        await stage.rest(minutes=5)
    await stage.until(lambda: held(stage) == titles(*items, word="Mot 2"), SOON)
    await stage.until(stage.in_step, SOON)
    await stage.until(stage.quiet, SOON)
    assert len(stage.ledger().partitions) == 4
    assert status(stage) == LocalizedStatus(items=40, acknowledged=40)
    await stage.safe()


async def test_when_the_quota_is_gone_nothing_is_lost_and_prices_come_first(stage: Stage) -> None:
    items = sorted(stage.shop.products)[:3]
    await shown(stage, *items)
    stage.arm("throttle", path="localized_items_batch", code=80014, minutes=20, count=1)
    seen = len(stage.requests())
    say(stage, "french", titles(*items, word="Autre"))
    await stage.until(lambda: [one for one in stage.requests(seen) if one.told_minutes], SOON)
    stage.change_prices()
    await stage.until(stage.in_step, HEALED)
    await stage.until(lambda: held(stage) == titles(*items, word="Autre"), HEALED)
    sent = [one.path.rsplit("/", 1)[1] for one in stage.writes(seen) if one.path.endswith("items_batch")]
    assert sent == ["localized_items_batch", "items_batch", "localized_items_batch"]
    await stage.safe()


async def test_a_lost_answer_is_read_back_and_not_repeated(stage: Stage) -> None:
    items = sorted(stage.shop.products)[:3]
    await shown(stage, *items)
    seen = len(stage.requests())
    stage.arm("drop_after", method="POST", path="localized_items_batch", count=1)
    say(stage, "french", titles(*items, word="Autre"))
    await stage.until(lambda: held(stage) == titles(*items, word="Autre"), HEALED)
    await stage.until(lambda: status(stage) == LocalizedStatus(items=3, acknowledged=3), HEALED)
    await stage.rest(hours=2)
    assert len(bodies(stage, seen)) == 1, "all values were read back: the batch had been applied"
    await stage.safe()


async def test_values_that_a_given_up_batch_may_have_left_prove_nothing_of_the_next_one(stage: Stage) -> None:
    """Read back equal at once, it may still be at work: what follows waits until it is too old for that."""
    items = sorted(stage.shop.products)[:3]
    await shown(stage, *items)
    seen = len(stage.requests())
    stage.arm("handle_lost", method="POST", path="localized_items_batch", count=1)
    say(stage, "french", titles(*items, word="Autre"))
    await stage.until(lambda: len(bodies(stage, seen)) == 1, HEALED)
    stage.arm("drop_after", method="POST", path="localized_items_batch", count=1)
    await stage.until(lambda: len(bodies(stage, seen)) == 2, HEALED)
    say(stage, "french", titles(*items, word="Encore"))
    await stage.until(lambda: held(stage) == titles(*items, word="Encore"), HEALED)
    _, second, third = (one.first_byte for one in bodies(stage, seen))
    assert third - second >= Timing().batch_abandon.total_seconds()
    await stage.safe()


async def test_an_answer_that_is_lost_with_the_request_is_planned_anew(stage: Stage) -> None:
    items = sorted(stage.shop.products)[:3]
    await shown(stage, *items)
    stage.arm("drop_before", method="POST", path="localized_items_batch", count=1)
    say(stage, "french", titles(*items, word="Autre"))
    await stage.until(lambda: held(stage) == titles(*items, word="Autre"), HEALED)
    assert Phase.ABANDONED in {each.status.phase for each in operations(stage)}
    await stage.until(lambda: not stage.ledger().followed, HEALED, "the abandoned body is looked at once more")
    await stage.safe()


async def test_more_than_can_be_read_back_is_sent_again_once_it_is_abandoned(stages: Callable[..., Stage]) -> None:
    stage = stages(Plan(products=230))
    items = sorted(stage.shop.products)
    say(stage, "french", titles(*items))
    stage.arm("drop_after", method="POST", path="localized_items_batch", count=1)
    await stage.begin(items=[entry(overlay("french"))])
    await stage.until(lambda: status(stage) == LocalizedStatus(items=230, acknowledged=230), HEALED)
    assert held(stage) == titles(*items)
    assert len(bodies(stage)) == 2
    assert not [one for one in stage.requests() if one.path.endswith("/override_details")]
    await stage.safe()


READINGS: dict[str, dict[str, Any]] = {
    "an unknown removal is no error": {"delete_unknown_override": "ok"},
    "values are read by the names of feeds": {"override_values_named": "feed"},
    "an update replaces": {"localized_update": "replace"},
    "not every error is named": {"listed_batch_errors": 1},
}


@pytest.mark.parametrize("reading", READINGS)
async def test_every_reading_of_what_meta_does_not_publish_ends_the_same(stage: Stage, reading: str) -> None:
    for name, value in READINGS[reading].items():
        assert hasattr(stage.world.emulator.world.switches, name)
        setattr(stage.world.emulator.world.switches, name, value)
    await stage.begin()
    first, second, third, *_ = sorted(stage.shop.products)
    say(stage, "french", titles(first, second, third))
    bad = {each: {"price": f"{TOO_MUCH} CHF"} for each in (first, second)}
    say(stage, "swiss", {**bad, third: {"price": "12.00 CHF"}})
    await stage.change(items=[entry(overlay("french"), overlay("swiss"))])
    await stage.until(lambda: held(stage) == titles(first, second, third), SOON)
    await stage.until(lambda: held(stage, "CH") == {third: {"price": "12.00 CHF"}}, SOON)
    stage.arm("drop_after", method="POST", path="localized_items_batch", count=1)
    say(stage, "french", titles(first, second, third, word="Autre"))
    await stage.until(lambda: held(stage) == titles(first, second, third, word="Autre"), HEALED)
    await stage.until(lambda: status(stage) == LocalizedStatus(items=3, acknowledged=3), HEALED)
    await stage.change(items=[entry()])
    await stage.until(lambda: not held(stage) and not held(stage, "CH"), HEALED)
    await stage.safe()


@pytest.mark.parametrize("moment", ["intent", "sent", "accepted", "collected"])
async def test_kill_9_at_every_moment_ends_the_same(stage: Stage, moment: str) -> None:
    items = sorted(stage.shop.products)[:3]
    await stage.begin()
    first = stage.world.processes[0]
    say(stage, "french", titles(*items))
    await stage.change(items=[entry(overlay("french"))])
    first.kill()
    process = stage.launch()

    def there(_: int) -> bool:
        intents = [one for one in stage.ledger().intents if one.overlay is not None]
        if not intents:
            return False
        state = str(intents[0].state)
        sent = bool([one for one in stage.requests() if one.path.endswith(EDGE)])
        return {
            "intent": state == "Open" and not sent,
            "sent": state == "Open" and sent,
            "accepted": state == "Accepted",
            "collected": state == "Collected",
        }[moment]

    watched = kill_at(process, there)
    await stage.until(lambda: watched.struck, timedelta(minutes=30), f"the moment {moment!r}")
    stage.launch()
    await stage.until(lambda: held(stage) == titles(*items), HEALED)
    await stage.until(lambda: status(stage) == LocalizedStatus(items=3, acknowledged=3), HEALED)
    await stage.rest(hours=1)
    assert len(bodies(stage)) <= (2 if moment == "intent" else 1), "nothing that Meta had is sent again"
    await stage.safe()


async def test_a_lost_store_heals_and_leaves_nothing_behind(stage: Stage) -> None:
    """What the overlay said before and says no more is gone from Meta as well: nobody remembers it."""
    items = sorted(stage.shop.products)[:3]
    await shown(stage, *items)
    before = set(stage.items_at_meta())
    stage.world.processes[0].kill()
    shutil.rmtree(stage.directory)
    say(stage, "french", titles(*items[:2], word="Autre"))
    stage.launch()
    await stage.until(lambda: held(stage) == titles(*items[:2], word="Autre"), HEALED)
    await stage.until(lambda: status(stage) == LocalizedStatus(items=2, acknowledged=2), HEALED)
    assert set(stage.items_at_meta()) == before
    await stage.safe()


async def test_a_restart_sends_nothing_again(stage: Stage) -> None:
    items = sorted(stage.shop.products)[:3]
    await shown(stage, *items)
    seen = len(stage.requests())
    stage.world.processes[0].kill()
    stage.launch()
    await stage.rest(hours=2)
    assert not bodies(stage, seen)
    assert status(stage) == LocalizedStatus(items=3, acknowledged=3)
    assert stage.require_catalog().name == CATALOG
    await stage.safe()
