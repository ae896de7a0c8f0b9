"""When a schedule is due: intervals, cron over daylight saving in Berlin, quiet hours."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.api.v1alpha1.common import Method
from controller.api.v1alpha1.feed_schedule import FeedScheduleSpec
from controller.scheduling import cadence

BERLIN = ZoneInfo("Europe/Berlin")


def spec(**fields: Any) -> FeedScheduleSpec:
    wire = {"catalogRef": {"name": "germany"}, "method": "ReplaceFeed", **fields}
    return FeedScheduleSpec.model_validate(wire)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def slots(schedule: FeedScheduleSpec, begin: datetime, end: datetime) -> list[datetime]:
    """Every slot that is acted upon at its time by somebody who always looks."""
    found: list[datetime] = []
    last: datetime | None = None
    now = begin
    while True:
        due = cadence.next_slot(schedule, last, begin, now)
        now = max(now, due)
        if now >= end:
            return found
        found.append(due)
        last = due


def test_the_first_slot_of_an_interval_is_its_creation() -> None:
    every = spec(interval="15m")
    created = utc("2026-01-05T00:00")
    assert cadence.next_slot(every, None, created, created) == created
    assert cadence.next_slot(every, created, created, created) == created + timedelta(minutes=15)


@given(minutes=st.integers(1, 600), missed=st.integers(0, 10_000))
def test_an_interval_catches_up_with_the_newest_missed_slot_only(minutes: int, missed: int) -> None:
    every = spec(interval=f"{minutes}m")
    created = utc("2026-01-05T00:00")
    now = created + timedelta(minutes=missed)
    due = cadence.next_slot(every, created, created, now)
    assert (due - created) % timedelta(minutes=minutes) == timedelta()
    assert due > created
    if due <= now:
        assert now < due + timedelta(minutes=minutes), "the newest one"
    else:
        assert due == created + timedelta(minutes=minutes), "none was missed"


SPRING = utc("2026-03-28T12:00"), utc("2026-03-30T12:00")
AUTUMN = utc("2026-10-24T12:00"), utc("2026-10-26T12:00")


@pytest.mark.parametrize(
    ("cron", "between", "expected"),
    [
        pytest.param(
            "30 2 * * *",
            SPRING,
            ["2026-03-29T01:00", "2026-03-30T00:30"],
            id="02:30 does not exist on 29 March: it runs at the next instant, 03:00 CEST",
        ),
        pytest.param(
            "30 2 * * *",
            AUTUMN,
            ["2026-10-25T00:30", "2026-10-26T01:30"],
            id="02:30 comes twice on 25 October: it runs once",
        ),
        pytest.param(
            "0 3 * * *",
            SPRING,
            ["2026-03-29T01:00", "2026-03-30T01:00"],
            id="03:00 is an hour earlier in UTC from then on",
        ),
        pytest.param("0 3 * * *", AUTUMN, ["2026-10-25T02:00", "2026-10-26T02:00"], id="and later again in winter"),
    ],
)
def test_cron_over_daylight_saving_in_berlin(
    cron: str, between: tuple[datetime, datetime], expected: list[str]
) -> None:
    daily = spec(cron=cron, timeZone="Europe/Berlin")
    assert slots(daily, *between) == [utc(text) for text in expected]


def test_cron_every_hour_over_daylight_saving_skips_and_repeats_no_instant() -> None:
    hourly = spec(cron="0 * * * *", timeZone="Europe/Berlin")
    for begin, end in (SPRING, AUTUMN):
        found = slots(hourly, begin, end)
        assert found == sorted(set(found))
        steps = {later - earlier for earlier, later in itertools.pairwise(found)}
        assert steps == {timedelta(hours=1)}


def test_cron_catches_up_with_the_newest_missed_slot_only() -> None:
    daily = spec(cron="0 3 * * *")
    last = utc("2026-01-01T03:00")
    assert cadence.next_slot(daily, last, last, utc("2026-01-05T12:00")) == utc("2026-01-05T03:00")
    assert cadence.next_slot(daily, last, last, utc("2026-01-01T12:00")) == utc("2026-01-02T03:00")


def test_cron_begins_after_its_creation() -> None:
    daily = spec(cron="0 3 * * *")
    created = utc("2026-01-01T12:00")
    assert cadence.next_slot(daily, None, created, created) == utc("2026-01-02T03:00")


def test_shards_start_one_after_the_other() -> None:
    staggered = spec(interval="1h", stagger="20m")
    offsets = [cadence.offset(staggered, position, 4) for position in range(4)]
    assert offsets == [timedelta(minutes=5 * position) for position in range(4)]
    assert cadence.offset(staggered, 0, 1) == timedelta()


NIGHT = {"from": "22:00", "to": "06:00"}
SATURDAY = {"days": ["Sat"], "from": "22:00", "to": "06:00"}
NOON = {"from": "12:00", "to": "13:00", "methods": ["ReplaceFeed"]}


@pytest.mark.parametrize(
    ("hours", "local", "until"),
    [
        (NIGHT, "2026-01-05T21:59", None),
        (NIGHT, "2026-01-05T22:00", "2026-01-06T06:00"),
        (NIGHT, "2026-01-06T05:59", "2026-01-06T06:00"),
        (NIGHT, "2026-01-06T06:00", None),
        (SATURDAY, "2026-01-10T23:00", "2026-01-11T06:00"),
        (SATURDAY, "2026-01-11T05:00", "2026-01-11T06:00"),
        (SATURDAY, "2026-01-11T23:00", None),
        (NOON, "2026-01-05T12:30", "2026-01-05T13:00"),
        (NIGHT, "2026-03-28T23:00", "2026-03-29T06:00"),
        (NIGHT, "2026-10-24T23:00", "2026-10-25T06:00"),
    ],
)
def test_quiet_hours_in_berlin(hours: dict[str, Any], local: str, until: str | None) -> None:
    schedule = spec(interval="1h", timeZone="Europe/Berlin", quietHours=[hours])
    now = datetime.fromisoformat(local).replace(tzinfo=BERLIN).astimezone(UTC)
    found = cadence.quiet_until(schedule, Method.REPLACE_FEED, now)
    expected = None if until is None else datetime.fromisoformat(until).replace(tzinfo=BERLIN).astimezone(UTC)
    assert found == expected


def test_quiet_hours_are_for_the_methods_they_name() -> None:
    schedule = spec(interval="1h", quietHours=[NOON])
    assert cadence.quiet_until(schedule, Method.ITEMS_BATCH, utc("2026-01-05T12:30")) is None


def test_quiet_hours_that_touch_last_until_the_later_end() -> None:
    schedule = spec(interval="1h", quietHours=[{"from": "10:00", "to": "12:00"}, {"from": "11:00", "to": "14:00"}])
    assert cadence.quiet_until(schedule, Method.REPLACE_FEED, utc("2026-01-05T11:30")) == utc("2026-01-05T14:00")
