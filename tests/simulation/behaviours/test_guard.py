"""More would leave than the guard allows: it is held and told, everything else is sent, and an approval releases it."""

from datetime import timedelta
from typing import Any

import pytest
import yaml

from controller.api.conditions import Condition, ConditionStatus, ConditionType
from controller.api.v1alpha1 import CatalogLedger, DeletionApproval, SyncOperation
from controller.api.v1alpha1.sync_operation import Phase
from controller.kube import paths
from controller.kube.transport import Json, Request
from tests.simulation.behaviours.stage import Stage, usual_spec
from tests.simulation.world import CATALOG, NAMESPACE

HELD = timedelta(minutes=15)
"""Two complete looks, an interval of five minutes apart."""
SENT = timedelta(minutes=20)
FULL = timedelta(minutes=70)
"""Deletions wait for the next full send."""
THIRD = 4


def guards(**fields: Any) -> dict[str, Any]:
    return {**usual_spec()["guards"], **fields}


async def held(stage: Stage) -> Condition:
    return await stage.until(stage.says(ConditionType.DELETIONS_HELD, ConditionStatus.TRUE, "DeletionGuard"), HELD)


def digest(stage: Stage) -> str:
    found = stage.require_catalog().status.held
    assert found is not None
    return found.digest


def released(stage: Stage) -> bool:
    return stage.condition(ConditionType.DELETIONS_HELD) is None


def available(stage: Stage, items: list[str]) -> set[str]:
    """What Meta says of these items; "gone" where it has none."""
    at_meta = stage.items_at_meta()
    return {at_meta[item]["availability"] if item in at_meta else "gone" for item in items}


async def a_third_leaves(stage: Stage, **spec: Any) -> list[str]:
    """A third of the rows leaves the source and is held; returns the ids, all of which were in stock."""
    for product in stage.shop.products.values():
        product.quantity = 5
    await stage.begin(**spec)
    gone = stage.remove_products(THIRD)
    await held(stage)
    return gone


async def test_the_rest_is_sent_and_the_message_has_numbers_and_the_approval(stage: Stage) -> None:
    gone = await a_third_leaves(stage)
    stage.change_prices()
    await stage.until(
        lambda: not [one for one in stage.differences() if "price" in one],
        SENT,
        "prices of what stays",
    )
    await stage.rest(hours=3)
    assert available(stage, gone) == {"in stock"}
    said = await held(stage)
    for word in ("4 of 12 items would be deleted", "33 %", "limit 5 %", "everything else was sent", digest(stage)):
        assert word in said.message
    assert any(item in said.message for item in gone)
    assert stage.ready()
    assert stage.condition(ConditionType.STALLED) is None, "a guard never stalls a release"
    assert stage.events("DeletionGuard")
    await stage.safe()


async def test_the_approval_of_the_message_releases_exactly_these(stage: Stage) -> None:
    gone = await a_third_leaves(stage)
    said = await held(stage)
    text = said.message[said.message.index("{") :]
    expires = (stage.now() + timedelta(days=1)).isoformat()
    wire: Json = yaml.safe_load(text.replace("<you>", "me@shop.example").replace("<when>", f"'{expires}'"))
    await stage.send(Request("POST", paths.collection(DeletionApproval, NAMESPACE), body=wire))
    await stage.until(lambda: released(stage), timedelta(minutes=2))
    await stage.until(lambda: available(stage, gone) == {"out of stock"}, SENT)
    approval = stage.require(DeletionApproval, wire["metadata"]["name"])
    assert approval.status.used_at is not None
    assert approval.status.released_items == THIRD
    assert stage.require_catalog().status.held is None
    await stage.rest(hours=5)
    assert available(stage, gone) == {"out of stock"}, "grace is not over"
    await stage.until(lambda: available(stage, gone) == {"gone"}, timedelta(hours=1) + FULL)
    await stage.until(stage.in_step, FULL)
    await stage.safe()


async def test_without_grace_released_means_out_of_stock_then_gone(stage: Stage) -> None:
    gone = await a_third_leaves(stage, guards=guards(gracePeriod="0s"))
    await stage.approval(digest(stage))
    seen: dict[str, list[str]] = {item: [] for item in gone}

    def left() -> bool:
        for item, states in seen.items():
            (now,) = available(stage, [item])
            if states[-1:] != [now]:
                states.append(now)
        return available(stage, gone) == {"gone"}

    await stage.until(left, FULL + SENT)
    assert list(seen.values()) == [["in stock", "out of stock", "gone"]] * THIRD
    await stage.until(stage.in_step, FULL)
    await stage.safe()


async def _quiet_hour(stage: Stage) -> dict[str, int]:
    """What one hour costs: writes of the ledger, requests to Meta, objects in the store."""
    version = stage.world.server.requests[("PUT", "catalogledgers")]
    calls, objects = stage.request_count(), len(stage.world.store.keys(""))
    await stage.rest(hours=1)
    return {
        "ledger": stage.world.server.requests[("PUT", "catalogledgers")] - version,
        "calls": stage.request_count() - calls,
        "objects": len(stage.world.store.keys("")) - objects,
    }


@pytest.mark.parametrize("case", ["wrong", "expired", "of another catalog"])
async def test_an_approval_that_does_not_fit_does_nothing(stage: Stage, case: str) -> None:
    """It also costs nothing: it is tried once and not again and again."""
    gone = await a_third_leaves(stage)
    await stage.rest(hours=1)
    before = await _quiet_hour(stage)
    if case == "wrong":
        await stage.approval("sha256:" + "0" * 64)
    elif case == "expired":
        await stage.approval(digest(stage), valid=timedelta(minutes=-1))
    else:
        spec = {
            "catalogRef": {"name": "austria"},
            "digest": digest(stage),
            "approvedBy": "me",
            "expiresAt": (stage.now() + timedelta(days=1)).isoformat(),
        }
        await stage.create(DeletionApproval, "yes", spec)
    await stage.rest(minutes=10)
    after = await _quiet_hour(stage)
    assert not released(stage)
    assert available(stage, gone) == {"in stock"}
    assert stage.require(DeletionApproval, "yes").status.used_at is None
    for cost, value in after.items():
        assert value <= before[cost] + 3, (cost, before, after)
    await stage.safe()


async def test_an_approval_that_comes_first_waits_for_its_set(stage: Stage) -> None:
    """From Git: the approval may be there before the operator has seen the departure a second time."""
    gone = await a_third_leaves(stage)
    fits = digest(stage)
    # Everything comes back, and leaves again: the same set has the same digest.
    products = dict(stage.shop.products)
    for item in gone:
        stage.shop.products[item] = type(next(iter(products.values())))(item, f"mug {item}", 1000, 5)
    stage.shop_changes()
    await stage.until(lambda: released(stage), HELD)
    await stage.approval(fits)
    await stage.rest(minutes=30)
    for item in gone:
        del stage.shop.products[item]
    stage.shop_changes(removed=gone)
    await stage.until(lambda: available(stage, gone) == {"out of stock"}, HELD + SENT)
    await stage.safe()


async def test_items_that_come_back_leave_the_held_set(stage: Stage) -> None:
    before = {item: product.row() for item, product in stage.shop.products.items()}
    gone = await a_third_leaves(stage)
    first = digest(stage)
    product = type(next(iter(stage.shop.products.values())))
    back = gone[0]
    stage.shop.products[back] = product(back, before[back]["title"], 1234, 5)
    stage.shop_changes()
    await stage.until(lambda: digest(stage) != first, HELD, "another digest for another set")
    assert "3 of 12" in (await held(stage)).message
    # The approval of the larger set releases those of its ids that are still held, and nothing else.
    await stage.approval(first)
    await stage.until(lambda: available(stage, gone[1:]) == {"out of stock"}, SENT)
    assert available(stage, [back]) == {"in stock"}
    for item in gone[1:]:
        stage.shop.products[item] = product(item, before[item]["title"], 1234, 5)
    stage.shop_changes()
    await stage.until(stage.in_step, FULL)
    assert released(stage)
    await stage.safe()


async def test_few_leavers_go_without_asking_after_their_grace(stage: Stage) -> None:
    for product in stage.shop.products.values():
        product.quantity = 5
    await stage.begin()
    gone = stage.remove_products(2)
    left_at = stage.now()
    await stage.until(lambda: available(stage, gone) == {"out of stock"}, HELD + SENT)
    assert stage.now() - left_at >= timedelta(minutes=5), "absence counts from the second look on"
    await stage.rest(hours=5, minutes=40)
    assert available(stage, gone) == {"out of stock"}
    await stage.until(lambda: available(stage, gone) == {"gone"}, timedelta(minutes=30) + FULL)
    assert released(stage)
    await stage.until(stage.in_step, FULL)
    await stage.safe()


async def test_the_guard_counts_over_a_day_and_all_refreshes(stage: Stage) -> None:
    """Two now, two more later: together they are too many."""
    for product in stage.shop.products.values():
        product.quantity = 5
    await stage.begin()
    gone = stage.remove_products(2)
    await stage.until(lambda: available(stage, gone) == {"out of stock"}, HELD + SENT)
    more = stage.remove_products(2)
    await held(stage)
    await stage.rest(hours=3)
    assert available(stage, more) == {"in stock"}
    await stage.safe()


async def test_without_out_of_stock_first_they_stay_as_they_are_until_they_go(stage: Stage) -> None:
    for product in stage.shop.products.values():
        product.quantity = 5
    await stage.begin(guards=guards(outOfStockFirst=False, gracePeriod="2h"))
    gone = stage.remove_products(2)
    await stage.rest(hours=1, minutes=50)
    assert available(stage, gone) == {"in stock"}
    await stage.until(lambda: available(stage, gone) == {"gone"}, timedelta(minutes=20) + FULL)
    await stage.safe()


async def test_a_wave_of_unsellable_items_is_held(stage: Stage) -> None:
    for product in stage.shop.products.values():
        product.quantity = 5
    await stage.begin()
    dark = sorted(stage.shop.products)[:6]
    for item in dark:
        stage.shop.products[item].quantity = 0
        stage.shop.products[item].price_cents += 100
    stage.shop_changes()
    said = await held(stage)
    assert "6 of 12 items would go out of stock (50 %, limit 30 %)" in said.message
    await stage.rest(hours=2)
    assert available(stage, dark) == {"in stock"}
    await stage.approval(digest(stage))
    await stage.until(lambda: available(stage, dark) == {"out of stock"}, SENT)
    await stage.until(stage.in_step, FULL)
    assert released(stage)
    await stage.safe()


async def test_hold_operation_sends_nothing_until_it_is_approved(stage: Stage) -> None:
    gone = await a_third_leaves(stage, guards=guards(onExceed="HoldOperation", gracePeriod="0s"))
    before = stage.items_at_meta()
    stage.change_prices()
    await stage.rest(hours=3)
    assert stage.items_at_meta() == before
    assert not stage.in_flight(), "who is held keeps no claims"
    waiting = [op for op in stage.all(SyncOperation) if op.status.phase is Phase.HELD]
    assert waiting
    assert len(waiting) <= 4, "what is held is not made again and again"
    said = stage.condition(ConditionType.HELD, kind=SyncOperation, of=waiting[0].name)
    assert said is not None
    assert (said.status, said.reason) == (ConditionStatus.TRUE, "DeletionGuard")
    await stage.approval(digest(stage))
    await stage.until(lambda: available(stage, gone) == {"gone"}, SENT + FULL)
    await stage.until(stage.in_step, FULL)
    await stage.safe()


async def test_what_is_held_survives_a_restart(stage: Stage) -> None:
    gone = await a_third_leaves(stage)
    known = digest(stage)
    stage.world.processes[0].kill()
    stage.launch()
    await stage.rest(hours=1)
    assert digest(stage) == known
    await stage.approval(known)
    await stage.until(lambda: available(stage, gone) == {"out of stock"}, SENT)
    assert stage.require(DeletionApproval, "yes").status.released_items == THIRD
    await stage.safe()


async def test_an_approval_is_used_once(stage: Stage) -> None:
    """The same set leaves again after it came back: that is another decision."""
    before = {item: product.row() for item, product in stage.shop.products.items()}
    gone = await a_third_leaves(stage)
    await stage.approval(digest(stage))
    await stage.until(lambda: available(stage, gone) == {"out of stock"}, SENT)
    product = type(next(iter(stage.shop.products.values())))
    for item in gone:
        stage.shop.products[item] = product(item, before[item]["title"], 1234, 5)
    stage.shop_changes()
    await stage.until(stage.in_step, FULL)
    for item in gone:
        del stage.shop.products[item]
    stage.shop_changes(removed=gone)
    await held(stage)
    await stage.rest(hours=2)
    assert available(stage, gone) == {"in stock"}
    assert len(stage.all(CatalogLedger)) == 1
    assert CATALOG in (await held(stage)).message
