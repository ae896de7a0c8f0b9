"""When values for one language or country are sent: after prices and stock, one localization at a time."""

from datetime import timedelta
from typing import Any

from controller.api.v1alpha1.catalog_ledger import Claim, LocaleCounts, LocaleRecord, PartitionRecord, PendingCounts
from controller.api.v1alpha1.common import Method
from controller.api.v1alpha1.policies import Freshness
from controller.planning import dispatch
from controller.planning.dispatch import Dispatch, Situation
from tests.unit.planning.examples import HOUR, NOW, ledger, partition

SETTLE = timedelta(seconds=10)
CLAIM = Claim(operation="x", name="shop/x", epoch=1, method="ItemsBatch", since=NOW)


def counts(name: str, changes: int, **fields: int) -> LocaleCounts:
    return LocaleCounts(name=name, locale=LocaleRecord(language=f"{name[:2]}_XX"), changes=changes, **fields)


def owing(*localized: LocaleCounts, volatile: int = 0) -> PendingCounts:
    return PendingCounts(items_at_meta=12, volatile=volatile, localized=localized)


def plan(*records: PartitionRecord, busy: tuple[int, ...] = (), localizing: tuple[int, ...] = ()) -> Dispatch:
    content = ledger(*records)
    situation = Situation(
        method=Method.ITEMS_BATCH,
        partitions=tuple(record.index for record in records),
        slot=NOW + HOUR,
        offsets=tuple(timedelta() for _ in records),
        busy=frozenset(busy),
        requested=None,
        localizing=frozenset(localizing),
    )
    return dispatch.plan(situation, content, Freshness(), SETTLE, NOW)


def made(found: Dispatch) -> list[tuple[tuple[int, ...], str | None]]:
    return [(each.partitions, each.overlay) for each in found.proposals]


def record(index: int = 0, **fields: Any) -> PartitionRecord:
    return partition(index, **fields)


def test_values_of_a_language_are_sent_as_soon_as_they_differ() -> None:
    assert made(plan(record(pending=owing(counts("french", 3))))) == [((0,), "french")]


def test_what_was_refused_or_is_settled_makes_no_operation() -> None:
    assert made(plan(record(pending=owing(counts("french", 0, refused=3, ids=3))))) == []
    assert made(plan(record(pending=PendingCounts(items_at_meta=12)))) == [], "a ledger from before"


def test_prices_and_stock_go_first() -> None:
    assert made(plan(record(pending=owing(counts("french", 3), volatile=1)))) == [((0,), None)]


def test_a_shard_without_prices_to_send_does_not_wait_for_the_others() -> None:
    found = plan(record(pending=owing(counts("french", 3), volatile=1)), record(1, pending=owing(counts("french", 3))))
    assert made(found) == [((0,), None), ((1,), "french")]


def test_one_localization_at_a_time_in_the_order_of_declaration() -> None:
    both = owing(counts("german", 0), counts("french", 3), counts("swiss", 2))
    assert made(plan(record(pending=both), record(1, pending=owing(counts("swiss", 2))))) == [((0,), "french")]
    assert made(plan(record(pending=both), record(1, pending=both))) == [((0, 1), "french")]


def test_it_waits_as_every_batch_does() -> None:
    owes = owing(counts("french", 3))
    assert made(plan(record(pending=owes, claim=CLAIM))) == []
    assert made(plan(record(pending=owes), busy=(0,))) == []
    assert made(plan(record(pending=owes, last_full_at=None))) == []
    found = plan(record(pending=owes, last_batch_at=NOW - timedelta(seconds=10)))
    assert (made(found), found.again_at) == ([], NOW + timedelta(seconds=30))
    found = plan(record(pending=owes, last_effect_at=NOW - timedelta(seconds=4)))
    assert (made(found), found.again_at) == ([], NOW + timedelta(seconds=6))


def test_one_that_waits_already_keeps_others_of_its_kind_back_and_no_prices() -> None:
    assert made(plan(record(pending=owing(counts("french", 3))), localizing=(0,))) == []
    assert made(plan(record(pending=owing(counts("french", 3), volatile=1)), localizing=(0,))) == [((0,), None)]


def test_each_localization_is_an_operation_of_its_own_name() -> None:
    (french,) = plan(record(pending=owing(counts("french", 3)))).proposals
    (swiss,) = plan(record(pending=owing(counts("swiss", 3)))).proposals
    (fewer,) = plan(record(pending=owing(counts("french", 2)))).proposals
    names = {dispatch.name_base("germany", each) for each in (french, swiss, fewer)}
    assert len(names) == 3
    assert all(name.startswith("germany-batch-") for name in names)


def test_what_an_operation_owes() -> None:
    owes = record(pending=owing(counts("french", 3), counts("swiss", 0), volatile=0))
    assert dispatch.owes(owes, "french")
    assert not dispatch.owes(owes, "swiss")
    assert not dispatch.owes(owes, "nobody")
    assert not dispatch.owes(owes, None)
    assert dispatch.localized_names(owes) == ("french", "swiss")
