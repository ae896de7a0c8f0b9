"""The ledger's transitions: each rule as a table row, and all together as a machine of random steps."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controller.api.v1alpha1.catalog_ledger import (
    Followed,
    GuardCounts,
    IntentState,
    LedgerContent,
    PendingCounts,
)
from controller.ports.preparing import Fate
from controller.scheduling import ledger as transitions
from controller.scheduling.ledger import LedgerConflict
from controller.scheduling.quota import QuotaLimit
from tests.unit.scheduling.ledgers import NOW, SETTLE, claim_of, intent_of, ledger


def claimed(by: str = "a", indexes: tuple[int, ...] = (0,)) -> LedgerContent:
    return transitions.claim(ledger(), indexes, claim_of(by), SETTLE)


def opened(by: str = "a", partitions: tuple[int, ...] = (0,)) -> LedgerContent:
    return transitions.open_intent(claimed(by, partitions), intent_of(by, partitions=partitions))


def accepted() -> LedgerContent:
    return transitions.accept(opened(), "a/0", "h", NOW)


def collected() -> LedgerContent:
    return transitions.collect(accepted(), "a/0", Fate.APPLIED, NOW)


IMPOSSIBLE: dict[str, Callable[[], LedgerContent]] = {
    "a claim on a partition that is taken": lambda: transitions.claim(claimed(), (0,), claim_of("b"), SETTLE),
    "all or none: one of two is taken": lambda: transitions.claim(claimed(), (1, 0), claim_of("b"), SETTLE),
    "a claim of an epoch that is over": lambda: transitions.claim(ledger(epoch=2), (0,), claim_of("a"), SETTLE),
    "a claim on a partition that does not exist": lambda: transitions.claim(ledger(), (7,), claim_of("a"), SETTLE),
    "a claim before the last effect has settled": lambda: transitions.claim(
        transitions.release(
            transitions.publish(collected(), "a", {0: transitions.Heads("s", "p")}, {}, NOW),
            "a",
        ),
        (0,),
        claim_of("b", since=NOW + timedelta(seconds=9)),
        SETTLE,
    ),
    "an intent without a claim": lambda: transitions.open_intent(ledger(), intent_of("a")),
    "an intent on somebody else's partition": lambda: transitions.open_intent(claimed("b"), intent_of("a")),
    "an intent that touches one partition too many": lambda: transitions.open_intent(
        claimed(), intent_of("a", partitions=(0, 1))
    ),
    "an intent of an epoch that is over": lambda: transitions.open_intent(claimed(), intent_of("a", epoch=0)),
    "an intent that exists": lambda: transitions.open_intent(opened(), intent_of("a")),
    "an answer to no intent": lambda: transitions.accept(claimed(), "a/0", "h", NOW),
    "another answer to an accepted intent": lambda: transitions.accept(accepted(), "a/0", "other", NOW),
    "an answer to a collected intent": lambda: transitions.accept(collected(), "a/0", "h", NOW),
    "a fate for no intent": lambda: transitions.collect(claimed(), "a/0", Fate.APPLIED, NOW),
    "a second fate": lambda: transitions.collect(collected(), "a/0", Fate.UNKNOWN, NOW),
    "a release while an intent is open": lambda: transitions.release(opened(), "a"),
    "a release while an intent is not accounted for": lambda: transitions.release(collected(), "a"),
    "heads of a partition that is not held": lambda: transitions.publish(
        ledger(), "a", {0: transitions.Heads("s", "p")}, {}, NOW
    ),
    "heads of somebody else's partition": lambda: transitions.publish(
        claimed("b"), "a", {0: transitions.Heads("s", "p")}, {}, NOW
    ),
    "more calls than the quota has": lambda: transitions.reserve(
        ledger(), "app", "CatalogBatch", 3, QuotaLimit(per_hour=2), NOW
    ),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_impossible(case: str) -> None:
    with pytest.raises(LedgerConflict):
        IMPOSSIBLE[case]()


def test_the_way_of_one_operation() -> None:
    assert transitions.operations_in_flight(ledger()) == ()
    assert transitions.operations_in_flight(claimed()) == ("a",)
    assert not transitions.begun(claimed(), "a")
    assert transitions.begun(opened(), "a")
    assert transitions.settled(opened(), "a") == ()
    assert transitions.settled(accepted(), "a") == ()
    assert transitions.settled(collected(), "a") == (0,)
    published = transitions.publish(collected(), "a", {0: transitions.Heads("snapshot", "payload")}, {}, NOW)
    assert published.intents == ()
    assert transitions.begun(published, "a"), "published and not released: it is finished, not planned again"
    assert published.partitions[0].snapshot == "snapshot"
    assert published.partitions[0].last_effect_at == NOW
    free = transitions.release(published, "a")
    assert transitions.operations_in_flight(free) == ()
    assert not transitions.begun(free, "a")


def test_the_same_answer_again_changes_nothing() -> None:
    assert transitions.accept(accepted(), "a/0", "h", NOW + SETTLE) == accepted()


def test_claiming_again_what_one_holds_changes_nothing_else() -> None:
    again = transitions.claim(claimed(), (0, 1), claim_of("a"), SETTLE)
    assert [record.claim is not None for record in again.partitions] == [True, True]


def test_an_intent_over_two_partitions_is_accounted_for_one_by_one() -> None:
    both = transitions.collect(transitions.accept(opened(partitions=(0, 1)), "a/0", "h", NOW), "a/0", Fate.APPLIED, NOW)
    half = transitions.publish(both, "a", {0: transitions.Heads("s", None)}, {}, NOW)
    assert [intent.partitions for intent in half.intents] == [(1,)]
    released = transitions.release(half, "a", (0,))
    assert [record.claim is not None for record in released.partitions] == [False, True]
    with pytest.raises(LedgerConflict):
        transitions.release(released, "a", (1,))
    assert transitions.publish(released, "a", {1: transitions.Heads("s", None)}, {}, NOW).intents == ()


def test_what_can_not_be_told_is_abandoned_with_distrust() -> None:
    left = transitions.abandon(collected(), "a", (0,))
    assert left.intents == ()
    assert left.rolled_back
    assert left.relisted_at is None
    assert transitions.release(left, "a").partitions[0].claim is None


def test_abandoning_keeps_what_meta_still_works_on() -> None:
    two = transitions.open_intent(
        transitions.claim(collected(), (1,), claim_of("a"), SETTLE), intent_of("a", 1, partitions=(1,))
    )
    left = transitions.abandon(two, "a", (0,))
    assert [intent.id for intent in left.intents] == ["a/1"]


def test_since_is_carried_from_the_moment_a_count_left_zero() -> None:
    later = NOW + timedelta(hours=1)
    first = transitions.since(PendingCounts(), PendingCounts(volatile=3), NOW)
    assert (first.volatile_since, first.static_since) == (NOW, None)
    second = transitions.since(first, PendingCounts(volatile=1, static=2), later)
    assert (second.volatile_since, second.static_since) == (NOW, later)
    assert transitions.since(second, PendingCounts(static=2), later).volatile_since is None


def test_lists_are_bounded() -> None:
    content = ledger()
    for number in range(100):
        content = transitions.use_approval(content, f"sha256:{number}")
        content = transitions.follow(content, Followed(intent=f"a/{number}", sent="s", at=NOW))
    assert len(content.used_approvals) == transitions.USED_APPROVALS_MAX
    assert content.used_approvals[-1] == "sha256:99"
    assert len(content.followed) == transitions.FOLLOWED_MAX
    assert transitions.use_approval(content, "sha256:99") is content


@pytest.mark.parametrize(
    ("later", "leaving"),
    [
        (timedelta(), 5),
        (timedelta(hours=1), 5),
        (timedelta(hours=23), 5),
        (timedelta(hours=24), 0),
        (timedelta(days=30), 0),
    ],
    ids=str,
)
def test_the_guard_counts_over_a_day(later: timedelta, leaving: int) -> None:
    counts = transitions.count_guard(GuardCounts(), NOW, leaving=2, unsellable=1, items=100)
    counts = transitions.count_guard(counts, NOW, leaving=3, unsellable=0, items=90)
    rolled = transitions.roll_guard(counts, NOW + later)
    assert sum(rolled.leaving) == leaving
    assert sum(rolled.unsellable) == (1 if leaving else 0)


@pytest.mark.parametrize(("days", "most"), [(0, 100), (6, 100), (7, 0)])
def test_the_guard_remembers_the_most_of_a_week(days: int, most: int) -> None:
    counts = transitions.count_guard(GuardCounts(), NOW, leaving=0, unsellable=0, items=100)
    rolled = transitions.roll_guard(counts, NOW + timedelta(days=days))
    assert max(rolled.items_max, default=0) == most


INDEXES = st.sets(st.integers(0, 3), min_size=1, max_size=3).map(lambda found: tuple(sorted(found)))
OPERATIONS = st.sampled_from(("a", "b", "c"))


class LedgerMachine(RuleBasedStateMachine):
    """Operations in any order, leaders that come and go: a step that is refused changes nothing."""

    @initialize()
    def begin(self) -> None:
        self.ledger = ledger(4)
        self.now = NOW
        self.effects: dict[int, datetime] = {}
        self.number = 0

    def attempt(self, change: Callable[[], LedgerContent]) -> bool:
        try:
            self.ledger = change()
        except LedgerConflict:
            return False
        return True

    @rule(seconds=st.integers(0, 30))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def another_leader(self) -> None:
        self.ledger = self.ledger.model_copy(update={"epoch": self.ledger.epoch + 1})

    @rule(operation=OPERATIONS, indexes=INDEXES, stale=st.booleans())
    def take(self, operation: str, indexes: tuple[int, ...], *, stale: bool) -> None:
        before = {record.index: record.claim for record in self.ledger.partitions}
        by = claim_of(operation, epoch=self.ledger.epoch - int(stale), since=self.now)
        if self.attempt(lambda: transitions.claim(self.ledger, indexes, by, SETTLE)):
            assert not stale
            for index in indexes:
                held = before[index]
                assert held is None or held.operation == operation
                if held is None and index in self.effects:
                    assert self.now >= self.effects[index] + SETTLE

    @rule(operation=OPERATIONS, indexes=INDEXES)
    def open(self, operation: str, indexes: tuple[int, ...]) -> None:
        self.number += 1
        intent = intent_of(operation, self.number, indexes, epoch=self.ledger.epoch, at=self.now)
        if self.attempt(lambda: transitions.open_intent(self.ledger, intent)):
            held = {record.index for record in transitions.claimed_by(self.ledger, operation)}
            assert set(indexes) <= held

    @precondition(lambda self: self.ledger.intents)
    @rule(data=st.data(), handle=st.sampled_from(("h1", "h2")))
    def answer(self, data: st.DataObject, handle: str) -> None:
        intent = data.draw(st.sampled_from(self.ledger.intents))
        self.attempt(lambda: transitions.accept(self.ledger, intent.id, handle, self.now))

    @precondition(lambda self: self.ledger.intents)
    @rule(data=st.data(), fate=st.sampled_from(tuple(Fate)))
    def end(self, data: st.DataObject, fate: Fate) -> None:
        intent = data.draw(st.sampled_from(self.ledger.intents))
        if self.attempt(lambda: transitions.collect(self.ledger, intent.id, fate, self.now)):
            for index in intent.partitions:
                self.effects[index] = self.now

    @rule(operation=OPERATIONS)
    def acknowledge(self, operation: str) -> None:
        ready = transitions.settled(self.ledger, operation)
        heads = {index: transitions.Heads(f"{operation}-{index}", None) for index in ready}
        assert self.attempt(lambda: transitions.publish(self.ledger, operation, heads, {}, self.now))

    @rule(operation=OPERATIONS)
    def lose_the_store(self, operation: str) -> None:
        ready = transitions.settled(self.ledger, operation)
        assert self.attempt(lambda: transitions.abandon(self.ledger, operation, ready))

    @rule(operation=OPERATIONS, indexes=st.none() | INDEXES)
    def give_back(self, operation: str, indexes: tuple[int, ...] | None) -> None:
        self.attempt(lambda: transitions.release(self.ledger, operation, indexes))

    @invariant()
    def one_operation_at_most_on_a_partition(self) -> None:
        """Whoever has a body under way on a partition holds it, and nobody else has one there."""
        for record in self.ledger.partitions:
            touching = {intent.operation for intent in self.ledger.intents if record.index in intent.partitions}
            assert len(touching) <= 1
            if touching:
                assert record.claim is not None
                assert touching == {record.claim.operation}

    @invariant()
    def nothing_is_half_told(self) -> None:
        for intent in self.ledger.intents:
            assert intent.partitions
            assert (intent.state is IntentState.COLLECTED) == (intent.fate is not None)


LedgerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_no_reachable_ledger_has_two_operations_on_one_partition = LedgerMachine.TestCase
