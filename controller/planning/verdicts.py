"""Conditions as the outcome of one look: each kind decides its verdicts, and they are put together in one place."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.api.conditions import (
    Condition,
    ConditionStatus,
    ConditionType,
    find_condition,
    remove_condition,
    set_condition,
)
from controller.faults import Disposition, Fault


@dataclass(frozen=True, slots=True)
class Verdict:
    """One condition as it should be. `status` None: the condition is absent."""

    type: ConditionType
    status: ConditionStatus | None
    reason: str = ""
    message: str = ""


def true(kind: ConditionType, reason: str, message: str = "") -> Verdict:
    return Verdict(kind, ConditionStatus.TRUE, reason, message)


def false(kind: ConditionType, reason: str, message: str = "") -> Verdict:
    return Verdict(kind, ConditionStatus.FALSE, reason, message)


def unknown(kind: ConditionType, reason: str, message: str = "") -> Verdict:
    return Verdict(kind, ConditionStatus.UNKNOWN, reason, message)


def absent(kind: ConditionType) -> Verdict:
    return Verdict(kind, None)


def progress(fault: Fault | None, *, working: bool = False, message: str = "") -> tuple[Verdict, Verdict]:
    """Reconciling and Stalled, never both: a person must act, or work goes on by itself, or there is nothing to do."""
    if fault is not None and fault.disposition in (Disposition.STALLED, Disposition.DEFECT):
        return absent(ConditionType.RECONCILING), true(ConditionType.STALLED, fault.reason, fault.message)
    if fault is not None:
        return true(ConditionType.RECONCILING, fault.reason, fault.message), absent(ConditionType.STALLED)
    if working:
        return true(ConditionType.RECONCILING, "Progressing", message), absent(ConditionType.STALLED)
    return absent(ConditionType.RECONCILING), absent(ConditionType.STALLED)


def conclude(
    before: tuple[Condition, ...], verdicts: tuple[Verdict, ...], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """Put verdicts over the conditions before. What no verdict speaks of stays."""
    conditions = before
    for verdict in verdicts:
        if verdict.status is None:
            conditions = remove_condition(conditions, verdict.type)
        else:
            conditions = set_condition(
                conditions,
                verdict.type,
                verdict.status,
                reason=verdict.reason,
                message=verdict.message,
                observed_generation=generation,
                now=now,
            )
    return conditions


def flipped(before: tuple[Condition, ...], after: tuple[Condition, ...], kind: ConditionType) -> bool:
    """Whether status or reason of one condition changed: worth an event."""
    old, new = find_condition(before, kind), find_condition(after, kind)
    if old is None or new is None:
        return (old is None) != (new is None)
    return (old.status, old.reason) != (new.status, new.reason)


def retry_text(now: datetime, again_at: datetime | None) -> str:
    """When the next try is, to the minute, so that a message does not change with every look."""
    if again_at is None:
        return ""
    by = max(again_at, now) + timedelta(minutes=1) - timedelta(microseconds=1)
    return f"; next try by {by.strftime('%H:%M')} UTC"
