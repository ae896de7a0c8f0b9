"""Verdicts become conditions in one place."""

from datetime import timedelta

import pytest

from controller.api.conditions import ConditionStatus, ConditionType, find_condition
from controller.faults import Disposition, Fault
from controller.planning.verdicts import absent, conclude, false, flipped, progress, retry_text, true
from tests.unit.planning.examples import NOW

LATER = NOW + timedelta(hours=1)


def test_the_time_moves_only_when_the_status_flips() -> None:
    first = conclude((), (true(ConditionType.READY, "Available", "a"),), 1, NOW)
    second = conclude(first, (true(ConditionType.READY, "Available", "b"),), 2, LATER)
    third = conclude(second, (false(ConditionType.READY, "TokenExpired", "c"),), 2, LATER)
    times = [found[0].last_transition_time for found in (first, second, third)]
    assert times == [NOW, NOW, LATER]
    assert second[0].message == "b"
    assert second[0].observed_generation == 2


def test_what_no_verdict_speaks_of_stays_and_absent_goes() -> None:
    both = (true(ConditionType.READY, "Available"), true(ConditionType.STALLED, "InvalidSpec"))
    first = conclude((), both, 1, NOW)
    second = conclude(first, (absent(ConditionType.STALLED),), 1, LATER)
    assert [found.type for found in second] == [ConditionType.READY]


@pytest.mark.parametrize("disposition", list(Disposition))
def test_never_reconciling_and_stalled_at_once(disposition: Disposition) -> None:
    fault = Fault("MetaUnavailable", disposition, "m")
    conditions = conclude((), progress(fault, working=True), 1, NOW)
    assert len(conditions) == 1
    stalled = disposition in (Disposition.STALLED, Disposition.DEFECT)
    assert conditions[0].type == (ConditionType.STALLED if stalled else ConditionType.RECONCILING)


def test_a_change_of_reason_is_worth_an_event_a_change_of_words_is_not() -> None:
    first = conclude((), (false(ConditionType.READY, "TokenExpired", "a"),), 1, NOW)
    words = conclude(first, (false(ConditionType.READY, "TokenExpired", "b"),), 1, NOW)
    reason = conclude(first, (false(ConditionType.READY, "PermissionDenied", "a"),), 1, NOW)
    gone = conclude(first, (absent(ConditionType.READY),), 1, NOW)
    assert not flipped(first, words, ConditionType.READY)
    assert flipped(first, reason, ConditionType.READY)
    assert flipped(first, gone, ConditionType.READY)
    assert not flipped(gone, gone, ConditionType.READY)
    assert find_condition(gone, ConditionType.READY) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0, "12:00"), (1, "12:01"), (59, "12:01"), (60, "12:01"), (61, "12:02"), (-90, "12:00")],
)
def test_the_next_try_is_told_to_the_minute_and_never_in_the_past(seconds: int | None, text: str) -> None:
    again_at = None if seconds is None else NOW + timedelta(seconds=seconds)
    assert retry_text(NOW, again_at) == (f"; next try by {text} UTC" if text else "")


def test_status_words_are_kubernetes_ones() -> None:
    assert {str(status) for status in ConditionStatus} == {"True", "False", "Unknown"}
