"""Meta's quotas as records of reserved calls: pure functions over QuotaRecord.

A call is reserved before it is made, so that a crash can only waste quota, never exceed it. Meta counts a call when it
arrives, we count it when it is reserved; the windows here are longer than Meta's by MARGIN so that the two ways of
counting can't disagree to our disadvantage.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from controller.api.v1alpha1.catalog_ledger import QuotaRecord

HOUR_SECONDS = 3600
MINUTE_SECONDS = 60
HOUR_MARGIN_SECONDS = 180
"""Longest time between reserving a call and its last byte: the budget of a full batch (60 s + 28 MB at 1 MiB/s)."""
MINUTE_MARGIN_SECONDS = 20
MANAGEMENT_BLOCKS_PER_WINDOW = 64
"""What a process has reserved and not used is lost when it is killed: twenty kills an hour must not use up the hour."""
UNPROMISED_SHARE = (3, 4)
"""Of an hour's calls, sends without a promise may use so much."""
BLOCKS_MAX = 256
"""Beyond that the oldest are put together, each counted as if it were as young as the younger: never too little."""


@dataclass(frozen=True, slots=True)
class QuotaLimit:
    """Calls per rolling window after the reserve was taken off."""

    per_hour: int
    per_minute: int | None = None


def limit_after_reserve(calls: int, reserve_percent: float) -> int:
    """At least one call, so that a reserve can't stop everything."""
    return max(int(calls * (100 - reserve_percent) / 100), 1)


def without_a_promise(limit: QuotaLimit) -> QuotaLimit:
    """What may be used by sends that nobody waits for: the rest of the hour is for prices and stock."""
    return replace(limit, per_hour=max(limit.per_hour * UNPROMISED_SHARE[0] // UNPROMISED_SHARE[1], 1))


def prune(record: QuotaRecord, now: datetime) -> QuotaRecord:
    """Forget reservations that can't count any more."""
    horizon = int(now.timestamp()) - HOUR_SECONDS - HOUR_MARGIN_SECONDS
    kept = tuple(block for block in record.blocks if block[0] > horizon)
    while len(kept) > BLOCKS_MAX:
        (_, older), (at, younger), *rest = kept
        kept = ((at, older + younger), *rest)
    return record if len(kept) == len(record.blocks) else record.model_copy(update={"blocks": kept})


def available(record: QuotaRecord, limit: QuotaLimit, now: datetime) -> int:
    """Calls that may be reserved now."""
    if record.blocked_until is not None and now < record.blocked_until:
        return 0
    hour = limit.per_hour - _used(record, now, HOUR_SECONDS + HOUR_MARGIN_SECONDS)
    if limit.per_minute is None:
        return max(hour, 0)
    return max(min(hour, limit.per_minute - _used(record, now, MINUTE_SECONDS + MINUTE_MARGIN_SECONDS)), 0)


def next_free_at(record: QuotaRecord, limit: QuotaLimit, now: datetime) -> datetime:
    """Earliest moment at which one more call may be reserved."""
    moments = [now]
    if record.blocked_until is not None:
        moments.append(record.blocked_until)
    moments.append(_frees_at(record, now, limit.per_hour, HOUR_SECONDS + HOUR_MARGIN_SECONDS))
    if limit.per_minute is not None:
        moments.append(_frees_at(record, now, limit.per_minute, MINUTE_SECONDS + MINUTE_MARGIN_SECONDS))
    return max(moments)


def reserve(record: QuotaRecord, calls: int, now: datetime) -> QuotaRecord:
    """Write down `calls` calls. The caller has asked `available` in the same ledger transition."""
    pruned = prune(record, now)
    return pruned.model_copy(update={"blocks": (*pruned.blocks, (int(now.timestamp()), calls))})


def block(record: QuotaRecord, until: datetime) -> QuotaRecord:
    """Nothing before `until`; an earlier block never shortens a later one."""
    if record.blocked_until is not None and record.blocked_until >= until:
        return record
    return record.model_copy(update={"blocked_until": until})


def _used(record: QuotaRecord, now: datetime, window_seconds: int) -> int:
    horizon = int(now.timestamp()) - window_seconds
    return sum(calls for at, calls in record.blocks if at > horizon)


def _frees_at(record: QuotaRecord, now: datetime, limit: int, window_seconds: int) -> datetime:
    used = _used(record, now, window_seconds)
    horizon = int(now.timestamp()) - window_seconds
    for at, calls in record.blocks:
        if used < limit:
            break
        if at > horizon:
            used -= calls
            if used < limit:
                return datetime.fromtimestamp(at + 1, UTC) + timedelta(seconds=window_seconds)
    return now
