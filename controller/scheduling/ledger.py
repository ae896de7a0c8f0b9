"""The ledger's transitions: who holds what, what is in flight, what Meta has acknowledged.

Every function takes a ledger and returns the next one, or raises LedgerConflict when the transition is impossible: a
claim on a partition that is taken, an intent without its claim, an answer to an intent that is not open. Nothing here
expires by time. The order of commit that callers keep: objects durable, then heads (`publish`), then the operation's
status, then `release`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.api.v1alpha1.catalog_ledger import (
    Claim,
    Followed,
    GuardCounts,
    Intent,
    IntentState,
    LedgerContent,
    LocaleHeadRecord,
    PartitionRecord,
    PendingCounts,
    QuotaRecord,
)
from controller.scheduling import quota

USED_APPROVALS_MAX = 64
FOLLOWED_MAX = 64
GUARD_HOURS = 24
GUARD_DAYS = 7


class LedgerConflict(Exception):  # noqa: N818 - a conflict, as in HTTP 409
    """The transition contradicts the ledger: another operation or another epoch was there first."""


def partition(ledger: LedgerContent, index: int) -> PartitionRecord:
    for record in ledger.partitions:
        if record.index == index:
            return record
    raise LedgerConflict(f"the ledger has no partition {index}")


def map_partitions(
    ledger: LedgerContent, indexes: Iterable[int], change: Callable[[PartitionRecord], PartitionRecord]
) -> LedgerContent:
    wanted = set(indexes)
    records = tuple(change(record) if record.index in wanted else record for record in ledger.partitions)
    return ledger.model_copy(update={"partitions": records})


def claimed_by(ledger: LedgerContent, operation: str) -> tuple[PartitionRecord, ...]:
    return tuple(
        record for record in ledger.partitions if record.claim is not None and record.claim.operation == operation
    )


def intents_of(ledger: LedgerContent, operation: str) -> tuple[Intent, ...]:
    return tuple(intent for intent in ledger.intents if intent.operation == operation)


def begun(ledger: LedgerContent, operation: str) -> bool:
    """Tell whether it has sent anything: what is left then is to finish it, not to plan it anew."""
    published = any(record.head_operation == operation for record in claimed_by(ledger, operation))
    return published or bool(intents_of(ledger, operation))


def distrust(ledger: LedgerContent) -> LedgerContent:
    """What it says of rows at Meta may be wrong: Meta is listed before anything is sent."""
    return ledger.model_copy(update={"rolled_back": True, "relisted_at": None})


def abandon(ledger: LedgerContent, operation: str, indexes: Iterable[int]) -> LedgerContent:
    """Forget collected bodies whose rows can't be told any more; the heads count as wrong from then on."""
    return distrust(ledger.model_copy(update={"intents": _without(ledger, operation, frozenset(indexes))}))


def _without(ledger: LedgerContent, operation: str, indexes: frozenset[int]) -> tuple[Intent, ...]:
    """Intents that are left when those of one operation are accounted for on some partitions."""
    left: list[Intent] = []
    for intent in ledger.intents:
        open_ = tuple(index for index in intent.partitions if index not in indexes)
        if intent.operation != operation:
            left.append(intent)
        elif open_:
            left.append(intent.model_copy(update={"partitions": open_}))
    return tuple(left)


def operations_in_flight(ledger: LedgerContent) -> tuple[str, ...]:
    """The uids of all operations that hold a claim, sorted."""
    return tuple(sorted({record.claim.operation for record in ledger.partitions if record.claim is not None}))


def free(record: PartitionRecord, now: datetime, settle: timedelta) -> bool:
    """Nobody holds it, and its last effect is long enough ago."""
    if record.claim is not None:
        return False
    return record.last_effect_at is None or now >= record.last_effect_at + settle


def claim(ledger: LedgerContent, indexes: tuple[int, ...], by: Claim, settle: timedelta) -> LedgerContent:
    """Take all of `indexes` or none."""
    if by.epoch != ledger.epoch:
        raise LedgerConflict(f"epoch {by.epoch} is over; the ledger is at {ledger.epoch}")
    for index in indexes:
        record = partition(ledger, index)
        if record.claim is not None and record.claim.operation == by.operation:
            continue
        if not free(record, by.since, settle):
            raise LedgerConflict(f"partition {index} is not free")
    return map_partitions(ledger, indexes, lambda record: record.model_copy(update={"claim": by}))


def release(ledger: LedgerContent, operation: str, indexes: Iterable[int] | None = None) -> LedgerContent:
    """Give partitions back. An intent that still touches one of them makes this impossible."""
    held = {record.index for record in claimed_by(ledger, operation)}
    going = held if indexes is None else held & set(indexes)
    for intent in intents_of(ledger, operation):
        if going & set(intent.partitions):
            raise LedgerConflict(f"intent {intent.id} is not settled")
    return map_partitions(ledger, going, lambda record: record.model_copy(update={"claim": None}))


def open_intent(ledger: LedgerContent, intent: Intent) -> LedgerContent:
    """Write down what is about to be sent. Needs the claims, and that nobody else touches these partitions."""
    if intent.epoch != ledger.epoch:
        raise LedgerConflict(f"epoch {intent.epoch} is over; the ledger is at {ledger.epoch}")
    if any(known.id == intent.id for known in ledger.intents):
        raise LedgerConflict(f"intent {intent.id} exists")
    for index in intent.partitions:
        holder = partition(ledger, index).claim
        if holder is None or holder.operation != intent.operation:
            raise LedgerConflict(f"partition {index} is not held by the operation")
    touched = set(intent.partitions)
    for other in ledger.intents:
        if other.operation != intent.operation and touched & set(other.partitions):
            raise LedgerConflict(f"intent {other.id} of another operation touches the same partition")
    return ledger.model_copy(update={"intents": (*ledger.intents, intent)})


def _change_intent(ledger: LedgerContent, intent_id: str, change: Callable[[Intent], Intent]) -> LedgerContent:
    if all(intent.id != intent_id for intent in ledger.intents):
        raise LedgerConflict(f"there is no intent {intent_id}")
    changed = tuple(change(intent) if intent.id == intent_id else intent for intent in ledger.intents)
    return ledger.model_copy(update={"intents": changed})


def accept(ledger: LedgerContent, intent_id: str, handle: str, now: datetime) -> LedgerContent:
    """Meta answered with a handle."""

    def change(intent: Intent) -> Intent:
        if intent.state is IntentState.ACCEPTED and intent.handle == handle:
            return intent
        if intent.state is not IntentState.OPEN:
            raise LedgerConflict(f"intent {intent_id} is {intent.state}, not open")
        return intent.model_copy(update={"state": IntentState.ACCEPTED, "handle": handle, "accepted_at": now})

    return _change_intent(ledger, intent_id, change)


def collect(
    ledger: LedgerContent, intent_id: str, fate: str, now: datetime, **found: str | int | None
) -> LedgerContent:
    """The fate of a body is known and its results are in the store: nothing of it can happen any more."""

    def change(intent: Intent) -> Intent:
        if intent.state is IntentState.COLLECTED:
            raise LedgerConflict(f"intent {intent_id} was collected already")
        return intent.model_copy(update={"state": IntentState.COLLECTED, "fate": fate, "ended_at": now, **found})

    changed = _change_intent(ledger, intent_id, change)
    touched = next(intent.partitions for intent in changed.intents if intent.id == intent_id)
    return map_partitions(changed, touched, lambda record: record.model_copy(update={"last_effect_at": now}))


def forget_feed(ledger: LedgerContent, indexes: Iterable[int]) -> LedgerContent:
    """The feed is gone at Meta, and with it what was proven of it. A new one is made when there are rows again."""
    gone = {"feed_id": None, "deletion_enabled": False, "replace_proven": False}
    return map_partitions(ledger, indexes, lambda record: record.model_copy(update=gone))


def settled(ledger: LedgerContent, operation: str) -> tuple[int, ...]:
    """Partitions of the operation that have intents, all of them collected."""
    open_: set[int] = set()
    seen: set[int] = set()
    for intent in intents_of(ledger, operation):
        seen |= set(intent.partitions)
        if intent.state is not IntentState.COLLECTED:
            open_ |= set(intent.partitions)
    return tuple(sorted(seen - open_))


@dataclass(frozen=True, slots=True)
class Heads:
    """What stands for one partition from now on."""

    snapshot: str | None
    payload: str | None
    locales: tuple[LocaleHeadRecord, ...] = ()


def mark_of(snapshot: str | None, locales: Iterable[LocaleHeadRecord]) -> str | None:
    """Everything that the ledger names of what Meta acknowledged of a partition, in one text."""
    more = [each.snapshot for each in locales]
    return "\n".join([snapshot or "", *more]) if more else snapshot


def mark(record: PartitionRecord) -> str | None:
    return mark_of(record.snapshot, record.locales)


def publish(
    ledger: LedgerContent,
    operation: str,
    heads: dict[int, Heads],
    pending: dict[int, PendingCounts],
    now: datetime,
) -> LedgerContent:
    """Name the new heads and forget the intents that they account for."""
    for index in heads:
        holder = partition(ledger, index).claim
        if holder is None or holder.operation != operation:
            raise LedgerConflict(f"partition {index} is not held by the operation")

    def change(record: PartitionRecord) -> PartitionRecord:
        head = heads[record.index]
        counts = since(record.pending, pending.get(record.index, record.pending), now)
        named = {"snapshot": head.snapshot, "payload": head.payload, "locales": head.locales}
        return record.model_copy(update={**named, "head_operation": operation, "pending": counts})

    changed = map_partitions(ledger, heads, change)
    return changed.model_copy(update={"intents": _without(changed, operation, frozenset(heads))})


def since(before: PendingCounts, counts: PendingCounts, now: datetime) -> PendingCounts:
    """Carry over since when something is owed: from when a count left zero until it is zero again."""
    return counts.model_copy(
        update={
            "creations_since": (before.creations_since or now) if counts.creations else None,
            "volatile_since": (before.volatile_since or now) if counts.volatile else None,
            "static_since": (before.static_since or now) if counts.static else None,
            "localized": before.localized if counts.localized is None else counts.localized,
        }
    )


def follow(ledger: LedgerContent, followed: Followed) -> LedgerContent:
    """Remember to read an abandoned body's ids once more."""
    return ledger.model_copy(update={"followed": (*ledger.followed, followed)[-FOLLOWED_MAX:]})


def use_approval(ledger: LedgerContent, digest: str) -> LedgerContent:
    if digest in ledger.used_approvals:
        return ledger
    return ledger.model_copy(update={"used_approvals": (*ledger.used_approvals, digest)[-USED_APPROVALS_MAX:]})


def quota_record(ledger: LedgerContent, app_id: str, bucket: str) -> QuotaRecord:
    for record in ledger.quota:
        if record.app_id == app_id and record.bucket == bucket:
            return record
    return QuotaRecord(app_id=app_id, bucket=bucket)


def with_quota(ledger: LedgerContent, record: QuotaRecord) -> LedgerContent:
    others = tuple(r for r in ledger.quota if (r.app_id, r.bucket) != (record.app_id, record.bucket))
    return ledger.model_copy(update={"quota": (*others, record)})


def reserve(
    ledger: LedgerContent, app_id: str, bucket: str, calls: int, limit: quota.QuotaLimit, now: datetime
) -> LedgerContent:
    """Reserve calls, or raise LedgerConflict when the quota has no room for all of them."""
    record = quota_record(ledger, app_id, bucket)
    if quota.available(record, limit, now) < calls:
        raise LedgerConflict(f"the quota of {bucket} has no room for {calls} calls")
    return with_quota(ledger, quota.reserve(record, calls, now))


def roll_guard(guard: GuardCounts, now: datetime) -> GuardCounts:
    """Move the windows of the guard to the current hour and day."""
    unix = int(now.timestamp())
    hour, day = unix // 3600, unix // 86400
    update: dict[str, object] = {}
    if hour != guard.hour:
        shift = hour - guard.hour if guard.hour else GUARD_HOURS
        update |= {
            "hour": hour,
            "leaving": _shift(guard.leaving, shift, GUARD_HOURS),
            "unsellable": _shift(guard.unsellable, shift, GUARD_HOURS),
        }
    if day != guard.day:
        shift = day - guard.day if guard.day else GUARD_DAYS
        update |= {"day": day, "items_max": _shift(guard.items_max, shift, GUARD_DAYS)}
    return guard.model_copy(update=update) if update else guard


def count_guard(guard: GuardCounts, now: datetime, *, leaving: int, unsellable: int, items: int) -> GuardCounts:
    """Add what a refresh cleared, and the number of items it saw."""
    rolled = roll_guard(guard, now)
    return rolled.model_copy(
        update={
            "leaving": _add_first(rolled.leaving, leaving),
            "unsellable": _add_first(rolled.unsellable, unsellable),
            "items_max": (max(rolled.items_max[0], items), *rolled.items_max[1:]) if rolled.items_max else (items,),
        }
    )


def _shift(counts: tuple[int, ...], by: int, length: int) -> tuple[int, ...]:
    return ((0,) * min(by, length) + counts)[:length]


def _add_first(counts: tuple[int, ...], more: int) -> tuple[int, ...]:
    return (counts[0] + more, *counts[1:]) if counts else (more,)
