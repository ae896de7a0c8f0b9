"""Conditions change only through set_condition and remove_condition."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.api.conditions import (
    MEANINGS,
    OWNED,
    REASON_LENGTH_MAX,
    REASON_PATTERN,
    Condition,
    ConditionStatus,
    ConditionType,
    Polarity,
    find_condition,
    remove_condition,
    set_condition,
)
from controller.api.reasons import Reason
from controller.api.v1alpha1 import KINDS
from controller.api.values import MESSAGE_LENGTH_MAX, STATUS_LIST_MAX

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


def ready(
    conditions: tuple[Condition, ...],
    status: ConditionStatus,
    *,
    now: datetime,
    reason: str = Reason.AVAILABLE,
    message: str = "",
) -> tuple[Condition, ...]:
    return set_condition(
        conditions,
        ConditionType.READY,
        status,
        reason=reason,
        message=message,
        observed_generation=1,
        now=now,
    )


def test_the_transition_time_moves_only_when_the_status_flips() -> None:
    first = ready((), ConditionStatus.TRUE, now=NOW)
    other_words = ready(first, ConditionStatus.TRUE, now=LATER, reason=Reason.PROGRESSING, message="still")
    flipped = ready(other_words, ConditionStatus.FALSE, now=LATER)
    assert [one.last_transition_time for (one,) in (first, other_words, flipped)] == [NOW, NOW, LATER]
    assert (other_words[0].reason, other_words[0].message) == ("Progressing", "still")


def test_setting_the_same_again_changes_nothing() -> None:
    first = ready((), ConditionStatus.UNKNOWN, now=NOW, message="wait")
    assert ready(first, ConditionStatus.UNKNOWN, now=LATER, message="wait") == first


def test_conditions_come_in_one_order_whatever_was_set_first() -> None:
    def build(*kinds: ConditionType) -> tuple[Condition, ...]:
        conditions: tuple[Condition, ...] = ()
        for kind in kinds:
            conditions = set_condition(
                conditions,
                kind,
                ConditionStatus.TRUE,
                reason=Reason.AVAILABLE,
                message="",
                observed_generation=1,
                now=NOW,
            )
        return conditions

    one_way = build(ConditionType.RECONCILING, ConditionType.FRESH, ConditionType.READY)
    assert one_way == build(ConditionType.READY, ConditionType.FRESH, ConditionType.RECONCILING)
    assert [condition.type for condition in one_way] == ["Ready", "Fresh", "Reconciling"]


def test_a_condition_of_somebody_else_stays() -> None:
    foreign = Condition(
        type="Elsewhere",
        status=ConditionStatus.TRUE,
        reason="Set",
        message="",
        last_transition_time=NOW,
    )
    assert foreign in ready((foreign,), ConditionStatus.TRUE, now=NOW)


def test_removing_leaves_the_others() -> None:
    conditions = ready((), ConditionStatus.TRUE, now=NOW)
    assert remove_condition(conditions, ConditionType.STALLED) == conditions
    assert remove_condition(conditions, ConditionType.READY) == ()
    assert find_condition((), ConditionType.READY) is None


@pytest.mark.parametrize("reason", ["", "not camel", "lower", "Dash-ed"])
def test_a_reason_is_one_camel_case_word(reason: str) -> None:
    with pytest.raises(ValueError, match="CamelCase"):
        ready((), ConditionStatus.TRUE, now=NOW, reason=reason)


@given(st.text(min_size=0, max_size=3 * MESSAGE_LENGTH_MAX))
def test_every_message_fits(message: str) -> None:
    (condition,) = ready((), ConditionStatus.TRUE, now=NOW, message=message)
    assert len(condition.message) <= MESSAGE_LENGTH_MAX
    assert condition.message == message or (
        condition.message.endswith("…") and message.startswith(condition.message[:-1])
    )


def test_every_kind_declares_its_conditions_and_has_room_for_them() -> None:
    assert set(OWNED) == {kind.KIND for kind in KINDS}
    assert set(MEANINGS) == set(ConditionType)
    assert all(len(owned) <= STATUS_LIST_MAX for owned in OWNED.values())


def test_only_the_lasting_ones_are_normal() -> None:
    normal = {kind for kind, meaning in MEANINGS.items() if meaning.polarity is Polarity.NORMAL}
    assert normal == {ConditionType.READY, ConditionType.SYNCED, ConditionType.FRESH}


def test_every_reason_fits_a_condition_and_has_a_sentence() -> None:
    for reason in Reason:
        assert re.fullmatch(REASON_PATTERN, reason)
        assert len(reason) <= REASON_LENGTH_MAX
        assert reason.meaning.endswith("."), reason
    assert len({reason.meaning for reason in Reason}) == len(Reason)
    assert Reason("TokenExpired") is Reason.TOKEN_EXPIRED
