"""When a schedule is due: slots of cron or interval, stagger, quiet hours. Pure.

A slot is the moment that a schedule names. Whether a slot ran is read from what was recorded of it, never from whether
some operation exists. A local time that does not exist (daylight saving) runs at the next instant; a repeated one runs
once (the rules of Debian's cron, by cronsim).
"""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from controller.api.v1alpha1.common import Method
from controller.api.v1alpha1.feed_schedule import Day, FeedScheduleSpec, QuietHours

WEEKDAYS = (Day.MON, Day.TUE, Day.WED, Day.THU, Day.FRI, Day.SAT, Day.SUN)
SLOTS_SKIPPED_MAX = 100_000
"""More missed slots than this are not counted one by one."""


def next_slot(spec: FeedScheduleSpec, last: datetime | None, created: datetime, now: datetime) -> datetime:
    """The first slot that has not been acted upon: the newest missed one, else the next to come.

    An interval begins when the schedule was created; that moment is its first slot.
    """
    if spec.interval is not None:
        if last is None:
            return created
        missed = (now - last) // spec.interval
        return last + spec.interval * max(missed, 1)
    return _next_cron(spec, last or created, now)


def _next_cron(spec: FeedScheduleSpec, last: datetime, now: datetime) -> datetime:
    assert spec.cron is not None
    slots: Iterator[datetime] = CronSim(spec.cron, last.astimezone(ZoneInfo(spec.time_zone)))
    due = next(slots)
    for _ in range(SLOTS_SKIPPED_MAX):
        following = next(slots)
        if following > now:
            break
        due = following
    return due.astimezone(UTC)


def offset(spec: FeedScheduleSpec, position: int, count: int) -> timedelta:
    """How much later than the slot the shard at `position` of `count` starts."""
    return spec.stagger * position / count if count > 1 else timedelta()


def quiet_until(spec: FeedScheduleSpec, method: Method, now: datetime) -> datetime | None:
    """End of the quiet hours that hold now, or None."""
    ends = [end for hours in spec.quiet_hours if (end := _quiet_end(hours, spec.time_zone, method, now)) is not None]
    return max(ends, default=None)


def _quiet_end(hours: QuietHours, zone: str, method: Method, now: datetime) -> datetime | None:
    if hours.methods is not None and method not in hours.methods:
        return None
    local = now.astimezone(ZoneInfo(zone))
    begin, end = time.fromisoformat(hours.from_), time.fromisoformat(hours.to)
    for days_ago in (0, 1):
        day = (local - timedelta(days=days_ago)).date()
        if hours.days is not None and WEEKDAYS[day.weekday()] not in hours.days:
            continue
        start = datetime.combine(day, begin, local.tzinfo)
        stop = datetime.combine(day if end > begin else day + timedelta(days=1), end, local.tzinfo)
        if start <= local < stop:
            return stop.astimezone(UTC)
    return None
