"""Which operations a schedule makes: each sentence of the rule is a test."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from controller.api.v1alpha1.catalog_ledger import Claim, ItemsRecord, LedgerContent, PartitionRecord, PendingCounts
from controller.api.v1alpha1.common import Method
from controller.api.v1alpha1.policies import Freshness
from controller.api.v1alpha1.sync_operation import Trigger
from controller.planning import dispatch
from controller.planning.dispatch import Attempt, Dispatch, Situation
from tests.unit.planning.examples import HOUR, MINUTE, NOW, ledger, partition, refresh

SETTLE = timedelta(seconds=10)
CLAIM = Claim(operation="x", name="shop/x", epoch=1, method="ItemsBatch", since=NOW)
OWES = PendingCounts(items_at_meta=12, static=3)
CHANGED = PendingCounts(items_at_meta=12, volatile=3)


def plan(
    content: LedgerContent,
    method: Method = Method.REPLACE_FEED,
    *,
    slot: datetime = NOW,
    busy: tuple[int, ...] = (),
    requested: str | None = None,
    offsets: tuple[timedelta, ...] | None = None,
) -> Dispatch:
    indexes = tuple(record.index for record in content.partitions)
    situation = Situation(
        method=method,
        partitions=indexes,
        slot=slot,
        offsets=offsets or tuple(timedelta() for _ in indexes),
        busy=frozenset(busy),
        requested=requested,
    )
    return dispatch.plan(situation, content, Freshness(), SETTLE, NOW)


def made(found: Dispatch) -> list[tuple[tuple[int, ...], Trigger]]:
    return [(proposal.partitions, proposal.trigger) for proposal in found.proposals]


FULL: dict[str, tuple[PartitionRecord, dict[str, Any], list[tuple[tuple[int, ...], Trigger]]]] = {
    "a shard that was never loaded is loaded at once": (
        partition(last_full_at=None),
        {"slot": NOW + HOUR},
        [((0,), Trigger.CHANGE)],
    ),
    "what waits for a full send goes out when the slot is due": (
        partition(pending=OWES),
        {},
        [((0,), Trigger.SCHEDULE)],
    ),
    "it waits for the slot": (partition(pending=OWES), {"slot": NOW + MINUTE}, []),
    "new items wait for the slot as well": (
        partition(pending=PendingCounts(items_at_meta=1, creations=1)),
        {},
        [((0,), Trigger.SCHEDULE)],
    ),
    "so do deletions": (
        partition(pending=PendingCounts(items_at_meta=1, deletions=1)),
        {},
        [((0,), Trigger.SCHEDULE)],
    ),
    "nothing to send makes no operation": (partition(), {}, []),
    "volatile values alone make no full send": (partition(pending=CHANGED), {}, []),
    "the re-send comes before its promise breaks, slot or not": (
        partition(last_full_at=NOW - 23 * HOUR),
        {"slot": NOW + HOUR},
        [((0,), Trigger.SCHEDULE)],
    ),
    "and not much earlier": (partition(last_full_at=NOW - 22 * HOUR), {}, []),
    "a request sends at once": (partition(), {"slot": NOW + HOUR, "requested": "1"}, [((0,), Trigger.REQUEST)]),
    "a partition without rows sends no file": (
        partition(last_full_at=None, desired_rows=0, pending=PendingCounts()),
        {},
        [],
    ),
    "a partition without a feed waits": (partition(feed_id=None, last_full_at=None), {}, []),
    "replaces stop after an unexpected result": (partition(pending=OWES, unexpected="why"), {}, []),
    "a partition that is held waits": (partition(pending=OWES, claim=CLAIM), {}, []),
    "an operation of this method is under way": (partition(pending=OWES), {"busy": (0,)}, []),
}


@pytest.mark.parametrize("case", FULL)
def test_full_sends(case: str) -> None:
    record, situation, expected = FULL[case]
    assert made(plan(ledger(record), **situation)) == expected


def test_each_shard_has_a_file_of_its_own() -> None:
    found = plan(ledger(partition(0, pending=OWES), partition(1, pending=OWES)))
    assert [proposal.partitions for proposal in found.proposals] == [(0,), (1,)]
    assert len({proposal.token for proposal in found.proposals}) == 2


def test_shards_start_one_after_the_other_and_the_slot_lasts_until_the_last() -> None:
    found = plan(
        ledger(partition(0, pending=OWES), partition(1, pending=OWES)), offsets=(timedelta(), timedelta(minutes=10))
    )
    assert [proposal.partitions for proposal in found.proposals] == [(0,)]
    assert not found.slot_done
    assert found.again_at == NOW + timedelta(minutes=10)


def test_a_slot_without_anything_to_send_is_done() -> None:
    assert plan(ledger()).slot_done


def test_a_slot_waits_for_a_partition_that_is_held() -> None:
    assert not plan(ledger(partition(pending=OWES, claim=CLAIM))).slot_done


def test_nothing_is_planned_before_the_source_was_read() -> None:
    unread = ledger(items=ItemsRecord(name="products"))
    assert plan(unread) == Dispatch((), slot_done=False, again_at=None)


BATCH: dict[str, tuple[PartitionRecord, dict[str, Any], list[tuple[tuple[int, ...], Trigger]]]] = {
    "a changed value goes out at once, before the slot": (
        partition(pending=CHANGED),
        {"slot": NOW + HOUR},
        [((0,), Trigger.CHANGE)],
    ),
    "at the slot it is the slot's": (partition(pending=CHANGED), {}, [((0,), Trigger.SCHEDULE)]),
    "static changes make no batch": (partition(pending=OWES), {}, []),
    "before the first load there is nothing to update": (partition(pending=CHANGED, last_full_at=None), {}, []),
    "who is held waits": (partition(pending=CHANGED, claim=CLAIM), {}, []),
    "who waits or runs is not made twice": (partition(pending=CHANGED), {"busy": (0,)}, []),
    "the last effect has to settle": (partition(pending=CHANGED, last_effect_at=NOW - timedelta(seconds=9)), {}, []),
    "settled": (
        partition(pending=CHANGED, last_effect_at=NOW - timedelta(seconds=10)),
        {},
        [((0,), Trigger.SCHEDULE)],
    ),
    "batches keep a distance that the quota can bear": (
        partition(pending=CHANGED, last_batch_at=NOW - timedelta(seconds=39)),
        {},
        [],
    ),
}


@pytest.mark.parametrize("case", BATCH)
def test_batches(case: str) -> None:
    record, situation, expected = BATCH[case]
    assert made(plan(ledger(record), Method.ITEMS_BATCH, **situation)) == expected


def test_one_batch_carries_the_rows_of_many_shards() -> None:
    content = ledger(partition(0, pending=CHANGED), partition(1), partition(2, pending=CHANGED))
    assert made(plan(content, Method.ITEMS_BATCH)) == [((0, 2), Trigger.SCHEDULE)]


def test_who_has_to_settle_is_asked_again_then() -> None:
    found = plan(
        ledger(partition(pending=CHANGED, last_effect_at=NOW - timedelta(seconds=4))),
        Method.ITEMS_BATCH,
        slot=NOW + HOUR,
    )
    assert found.again_at == NOW + timedelta(seconds=6)


# Names


def token(content: LedgerContent, method: Method = Method.ITEMS_BATCH, **situation: Any) -> str:
    (proposal,) = plan(content, method, **situation).proposals
    return proposal.token


def test_the_same_thing_to_send_is_the_same_operation() -> None:
    assert token(ledger(partition(pending=CHANGED))) == token(ledger(partition(pending=CHANGED)))


def test_an_attempt_that_failed_leaves_the_name_as_it_was() -> None:
    """Its heads are new, but nothing was taken: the next one is the next attempt of the same operation."""
    before = ledger(partition(pending=CHANGED))
    after = ledger(partition(pending=CHANGED, head_operation="failed", snapshot="new"))
    assert token(before) == token(after)


OTHERS: dict[str, LedgerContent] = {
    "another read": ledger(
        partition(pending=CHANGED), items=ItemsRecord(name="products", refresh=refresh(sequence=4), looked_at=NOW)
    ),
    "something was taken": ledger(partition(pending=CHANGED, last_batch_at=NOW - HOUR)),
    "a full send was taken": ledger(partition(pending=CHANGED, last_full_at=NOW - MINUTE)),
    "another amount": ledger(partition(pending=PendingCounts(items_at_meta=12, volatile=4))),
}


@pytest.mark.parametrize("case", OTHERS)
def test_another_thing_to_send_is_another_operation(case: str) -> None:
    assert token(OTHERS[case]) != token(ledger(partition(pending=CHANGED)))


def test_each_slot_and_each_request_is_an_operation_of_its_own() -> None:
    content = ledger(partition(pending=OWES))
    names = {
        token(content, Method.REPLACE_FEED),
        token(content, Method.REPLACE_FEED, slot=NOW - HOUR),
        token(content, Method.REPLACE_FEED, requested="1"),
        token(content, Method.REPLACE_FEED, requested="2"),
    }
    assert len(names) == 4


def test_names_say_what_it_is() -> None:
    (proposal,) = plan(ledger(partition(pending=CHANGED)), Method.ITEMS_BATCH).proposals
    assert dispatch.name_base("germany", proposal) == f"germany-batch-{proposal.token}"


@pytest.mark.parametrize(
    ("attempts", "number", "wait"),
    [
        ((), 1, timedelta()),
        ((Attempt("other", 9, terminal=True, ended_at=NOW),), 1, timedelta()),
        ((Attempt("base", 1, terminal=False, ended_at=None),), 0, timedelta()),
        ((Attempt("base", 1, terminal=True, ended_at=NOW),), 2, timedelta(minutes=1)),
        ((Attempt("base", 1, terminal=True, ended_at=NOW - HOUR),), 2, timedelta(minutes=-59)),
        (
            (Attempt("base", 2, terminal=True, ended_at=NOW), Attempt("base", 1, terminal=True, ended_at=NOW)),
            3,
            timedelta(minutes=2),
        ),
        ((Attempt("base", 30, terminal=True, ended_at=NOW),), 31, timedelta(minutes=30)),
    ],
    ids=["none", "of another name", "under way", "one failed", "long ago", "two failed", "never later than 30 min"],
)
def test_attempts_come_ever_later(attempts: tuple[Attempt, ...], number: int, wait: timedelta) -> None:
    assert dispatch.next_attempt("base", attempts, NOW) == (number, NOW + wait)
