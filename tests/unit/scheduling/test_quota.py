"""Quotas: however calls are reserved, no rolling window of Meta's ever holds more than the limit."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.api.v1alpha1.catalog_ledger import QuotaRecord
from controller.scheduling import quota
from controller.scheduling.quota import QuotaLimit
from tests.unit.scheduling.ledgers import NOW

EMPTY = QuotaRecord(app_id="app", bucket="CatalogBatch")
LIMITS = st.builds(QuotaLimit, st.integers(1, 30), st.none() | st.integers(1, 5))


@given(
    limit=LIMITS,
    steps=st.lists(st.tuples(st.integers(0, 1_500), st.integers(1, 6), st.floats(0, 19)), min_size=1, max_size=60),
)
@settings(max_examples=150, deadline=None)
def test_no_window_is_ever_exceeded(limit: QuotaLimit, steps: list[tuple[int, int, float]]) -> None:
    """Each reserved call is made at any moment between its reservation and the margin."""
    record, now, made = EMPTY, NOW, []
    for pause, wanted, late in steps:
        now += timedelta(seconds=pause)
        granted = min(quota.available(record, limit, now), wanted)
        if granted:
            record = quota.reserve(record, granted, now)
            made += [now.timestamp() + late] * granted
    made.sort()
    windows = [(quota.HOUR_SECONDS, limit.per_hour)]
    if limit.per_minute is not None:
        windows.append((quota.MINUTE_SECONDS, limit.per_minute))
    for seconds, most in windows:
        for first, at in enumerate(made):
            inside = [other for other in made[first:] if other < at + seconds]
            assert len(inside) <= most


@given(limit=LIMITS, steps=st.lists(st.tuples(st.integers(0, 900), st.integers(1, 6)), max_size=40))
@settings(max_examples=150, deadline=None)
def test_the_next_free_moment_is_free_and_not_later_than_it_must(
    limit: QuotaLimit, steps: list[tuple[int, int]]
) -> None:
    record, now = EMPTY, NOW
    for pause, wanted in steps:
        now += timedelta(seconds=pause)
        granted = min(quota.available(record, limit, now), wanted)
        if granted:
            record = quota.reserve(record, granted, now)
    free_at = quota.next_free_at(record, limit, now)
    assert quota.available(record, limit, free_at) >= 1
    if free_at > now:
        assert quota.available(record, limit, now) == 0
        assert quota.available(record, limit, free_at - timedelta(seconds=2)) == 0


def test_a_block_closes_everything_until_then_and_is_never_shortened() -> None:
    until = NOW + timedelta(minutes=30)
    record = quota.block(EMPTY, until)
    limit = QuotaLimit(per_hour=10)
    assert quota.available(record, limit, until - timedelta(seconds=1)) == 0
    assert quota.available(record, limit, until) == 10
    assert quota.next_free_at(record, limit, NOW) == until
    assert quota.block(record, NOW) is record
    assert quota.block(record, until + timedelta(minutes=1)).blocked_until == until + timedelta(minutes=1)


@pytest.mark.parametrize(("calls", "reserve", "left"), [(100, 10, 90), (8, 10, 7), (8, 0, 8), (1, 50, 1), (1, 100, 1)])
def test_the_reserve_is_taken_off_but_never_everything(calls: int, reserve: float, left: int) -> None:
    assert quota.limit_after_reserve(calls, reserve) == left


def test_reservations_that_can_not_count_any_more_are_forgotten() -> None:
    record = quota.reserve(EMPTY, 5, NOW)
    assert quota.prune(record, NOW + timedelta(minutes=30)) is record
    assert quota.prune(record, NOW + timedelta(hours=2)).blocks == ()
