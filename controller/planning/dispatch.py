"""Which operations a schedule makes now: pure, from the ledger and what is already under way.

A full send goes out when its slot is due and something waits for it, when the promise of a full re-send needs it, when
a shard was never loaded, and on request. A batch goes out as soon as a volatile value differs and its partitions are
free: the slot is only the latest moment. Where none does, values for one language or country follow, one localization
at a time. Nothing to send makes no operation.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.api.v1alpha1.catalog_ledger import ItemsRecord, LedgerContent, PartitionRecord
from controller.api.v1alpha1.common import Method
from controller.api.v1alpha1.policies import Freshness
from controller.api.v1alpha1.sync_operation import Trigger

FULL_MARGIN_MAX = timedelta(hours=1)
FULL_MARGIN_SHARE = 10
"""A re-send starts a tenth of the promise (at most an hour) before the promise would break."""
BATCH_SPACING = timedelta(seconds=40)
"""90 calls an hour (Meta's lowest published figure less the reserve) are one every 40 s."""
TOKEN_DIGITS = 8
"""Two of a few hundred operations have one token once in 100,000 catalogs; a longer name needs more than a screen."""
ATTEMPT_BACKOFF_MAX = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A finished or running operation of the same name base."""

    base: str
    number: int
    terminal: bool
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Proposal:
    """An operation that should exist."""

    method: Method
    partitions: tuple[int, ...]
    trigger: Trigger
    token: str
    """What makes it this operation and no other: equal tokens are the same operation."""
    overlay: str | None = None
    """Its values for one language or country are sent, and nothing else."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What the planner sees of one schedule."""

    method: Method
    partitions: tuple[int, ...]
    """Indexes that the schedule covers."""
    slot: datetime
    """The slot not yet acted upon."""
    offsets: tuple[timedelta, ...]
    """Per partition, in the order of `partitions`."""
    busy: frozenset[int]
    """Partitions for which an operation of this method is under way or waits."""
    requested: str | None
    """Token of a sync request that was not handled yet."""
    localizing: frozenset[int] = frozenset()
    """Partitions for which an operation with values for a language or country is under way or waits."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    proposals: tuple[Proposal, ...]
    slot_done: bool
    """The slot was acted upon (or there was nothing to send): the next one counts."""
    again_at: datetime | None


def plan(
    situation: Situation, ledger: LedgerContent, freshness: Freshness, settle: timedelta, now: datetime
) -> Dispatch:
    """Decide what one schedule makes now, and when to ask again."""
    items = ledger.items[0] if ledger.items else None
    if items is None or items.refresh is None:
        return Dispatch((), slot_done=False, again_at=None)
    if situation.method is Method.ITEMS_BATCH:
        return _plan_batch(situation, ledger, items, settle, now)
    return _plan_full(situation, ledger, items, freshness, now)


def _plan_full(
    situation: Situation, ledger: LedgerContent, items: ItemsRecord, freshness: Freshness, now: datetime
) -> Dispatch:
    proposals: list[Proposal] = []
    moments: list[datetime] = []
    slot_done = situation.slot <= now
    by_index = {record.index: record for record in ledger.partitions}
    for index, late in zip(situation.partitions, situation.offsets, strict=True):
        record = by_index.get(index)
        if record is None or record.feed_id is None or record.unexpected is not None:
            continue
        if record.desired_rows == 0 and record.pending.items_at_meta == 0:
            continue
        due_at, trigger = _full_due(record, situation, freshness, late, now)
        if due_at > now:
            moments.append(due_at)
            if situation.slot <= now and due_at <= situation.slot + late:
                slot_done = False
            continue
        if index in situation.busy or record.claim is not None:
            slot_done = slot_done and record.claim is None
            continue
        token = _token(situation.method, items, (record,), _occasion(trigger, situation))
        proposals.append(Proposal(situation.method, (index,), trigger, token))
    if situation.slot > now:
        moments.append(situation.slot)
    return Dispatch(tuple(proposals), slot_done, min(moments, default=None))


def _full_due(
    record: PartitionRecord, situation: Situation, freshness: Freshness, late: timedelta, now: datetime
) -> tuple[datetime, Trigger]:
    if record.last_full_at is None:
        return now, Trigger.CHANGE
    if situation.requested is not None:
        return now, Trigger.REQUEST
    margin = min(FULL_MARGIN_MAX, freshness.full / FULL_MARGIN_SHARE)
    promised = record.last_full_at + freshness.full - margin
    counts = record.pending
    if counts.creations or counts.static or counts.deletions:
        return min(situation.slot + late, promised), Trigger.SCHEDULE
    return promised, Trigger.SCHEDULE


def _occasion(trigger: Trigger, situation: Situation) -> str:
    match trigger:
        case Trigger.REQUEST:
            return situation.requested or ""
        case Trigger.SCHEDULE:
            return situation.slot.isoformat()
        case _:
            return trigger


def _plan_batch(
    situation: Situation, ledger: LedgerContent, items: ItemsRecord, settle: timedelta, now: datetime
) -> Dispatch:
    waiting: list[PartitionRecord] = []
    localized: list[PartitionRecord] = []
    moments: list[datetime] = []
    for record in ledger.partitions:
        if record.index not in situation.partitions or record.last_full_at is None:
            continue
        if not record.pending.volatile and not localized_names(record, owed=True):
            continue
        if record.claim is not None or record.index in situation.busy:
            continue
        if not record.pending.volatile and record.index in situation.localizing:
            continue
        free_at = record.last_effect_at + settle if record.last_effect_at is not None else now
        spaced_at = record.last_batch_at + BATCH_SPACING if record.last_batch_at is not None else now
        if max(free_at, spaced_at) > now:
            moments.append(max(free_at, spaced_at))
        else:
            (waiting if record.pending.volatile else localized).append(record)
    if situation.slot > now:
        moments.append(situation.slot)
    slot_done = situation.slot <= now
    again_at = min(moments, default=None)
    trigger = Trigger.SCHEDULE if slot_done else Trigger.CHANGE
    chosen: list[tuple[list[PartitionRecord], str | None]] = [(waiting, None)]
    overlay = next((name for record in localized for name in localized_names(record, owed=True)), None)
    chosen.append(([record for record in localized if overlay in localized_names(record, owed=True)], overlay))
    proposals = tuple(
        Proposal(
            method=situation.method,
            partitions=tuple(record.index for record in records),
            trigger=trigger,
            token=_token(situation.method, items, tuple(records), situation.requested or "", name),
            overlay=name,
        )
        for records, name in chosen
        if records
    )
    return Dispatch(proposals, slot_done, again_at)


def localized_names(record: PartitionRecord, *, owed: bool = False) -> tuple[str, ...]:
    """Overlays for a language or country, in the order in which they are sent; those with `owed` that wait."""
    return tuple(each.name for each in record.pending.localized or () if each.changes or not owed)


def owes(record: PartitionRecord, overlay: str | None) -> bool:
    """Tell whether a batch would have something to send: values of items, or of an overlay for a language or country.

    The latter wait until the partition has no values of items to send: these have a promise to keep.
    """
    if overlay is None:
        return record.pending.volatile > 0
    return overlay in localized_names(record, owed=True)


def _token(
    method: Method, items: ItemsRecord, records: tuple[PartitionRecord, ...], occasion: str, overlay: str | None = None
) -> str:
    refresh = items.refresh
    assert refresh is not None
    parts = [method, occasion, str(refresh.sequence), refresh.departures or ""]
    for record in records:
        # What Meta took, not what was tried: an attempt that failed must not look like another operation.
        taken = (record.last_full_at, record.last_batch_at)
        parts += [str(record.index), *(at.isoformat() if at else "" for at in taken), str(record.pending.volatile)]
    if overlay is not None:
        parts += [overlay, *(str(_changes(record, overlay)) for record in records)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:TOKEN_DIGITS]


def _changes(record: PartitionRecord, overlay: str) -> list[int]:
    return [each.changes for each in record.pending.localized or () if each.name == overlay]


NAME_WORDS = {Method.REPLACE_FEED: "full", Method.UPDATE_FEED: "update", Method.ITEMS_BATCH: "batch"}


def name_base(catalog: str, proposal: Proposal) -> str:
    """<catalog>-<full|update|batch>-<hash>: operations are named by what they are."""
    return f"{catalog}-{NAME_WORDS[proposal.method]}-{proposal.token}"


def next_attempt(base: str, attempts: tuple[Attempt, ...], now: datetime) -> tuple[int, datetime]:
    """Number of the attempt to make and the earliest time for it; 0 means that one is under way."""
    mine = [attempt for attempt in attempts if attempt.base == base]
    if any(not attempt.terminal for attempt in mine):
        return 0, now
    if not mine:
        return 1, now
    last = max(mine, key=lambda attempt: attempt.number)
    wait = min(timedelta(minutes=1) * 2 ** (min(last.number, 10) - 1), ATTEMPT_BACKOFF_MAX)
    return last.number + 1, (last.ended_at or now) + wait
