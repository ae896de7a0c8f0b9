"""Conditions: the types that each kind owns, their polarity, and the only way to change them.

`Ready`, `Synced`, `Fresh` are always there and say that things are well when True. All others are abnormal: they are
there, with status True, only while they hold. `Reconciling` and `Stalled` follow kstatus and are never there together;
`Stalled` is for what a person must change, never for data or guards, because Flux and Helm would fail the release.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from controller.api.base import Observation
from controller.api.values import MESSAGE_LENGTH_MAX, Timestamp

REASON_PATTERN = r"^[A-Z][A-Za-z0-9]*$"
REASON_LENGTH_MAX = 64


class ConditionStatus(StrEnum):
    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Polarity(StrEnum):
    NORMAL = "Normal"
    """True is well; always present."""
    ABNORMAL = "Abnormal"
    """True is noteworthy; present only while true."""


class ConditionType(StrEnum):
    READY = "Ready"
    SYNCED = "Synced"
    FRESH = "Fresh"
    COMPLETE = "Complete"
    FAILED = "Failed"
    HELD = "Held"
    DELETIONS_HELD = "DeletionsHeld"
    PRICES_HELD = "PricesHeld"
    SOURCE_UNHEALTHY = "SourceUnhealthy"
    ITEM_ISSUES = "ItemIssues"
    OVER_COMMITTED = "OverCommitted"
    SENDING_RESTRICTED = "SendingRestricted"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


@dataclass(frozen=True, slots=True)
class Meaning:
    """Declares one condition type."""

    polarity: Polarity
    text: str


MEANINGS = MappingProxyType(
    {
        ConditionType.READY: Meaning(
            Polarity.NORMAL,
            "It exists at Meta, credentials work, the first full load was done. Data never makes it False again.",
        ),
        ConditionType.SYNCED: Meaning(Polarity.NORMAL, "Declared settings equal Meta's."),
        ConditionType.FRESH: Meaning(Polarity.NORMAL, "The promises of spec.freshness hold now."),
        ConditionType.COMPLETE: Meaning(Polarity.ABNORMAL, "The operation ended well."),
        ConditionType.FAILED: Meaning(Polarity.ABNORMAL, "The operation ended without doing what it should."),
        ConditionType.HELD: Meaning(Polarity.ABNORMAL, "The operation waits for an approval."),
        ConditionType.DELETIONS_HELD: Meaning(
            Polarity.ABNORMAL,
            "Deletions beyond the guard wait for an approval; everything else is sent.",
        ),
        ConditionType.PRICES_HELD: Meaning(
            Polarity.ABNORMAL,
            "Changes of prices beyond the guard wait for an approval; everything else is sent.",
        ),
        ConditionType.SOURCE_UNHEALTHY: Meaning(
            Polarity.ABNORMAL,
            "The source cannot be read or believed; the last good state stays.",
        ),
        ConditionType.ITEM_ISSUES: Meaning(Polarity.ABNORMAL, "Items were refused, by our checks or by Meta."),
        ConditionType.OVER_COMMITTED: Meaning(
            Polarity.ABNORMAL,
            "The promises need more quota or processing time than there is.",
        ),
        ConditionType.SENDING_RESTRICTED: Meaning(
            Polarity.ABNORMAL,
            "Some ways of sending are stopped until what happened is understood or mended.",
        ),
        ConditionType.RECONCILING: Meaning(Polarity.ABNORMAL, "Work towards the declared state is under way."),
        ConditionType.STALLED: Meaning(Polarity.ABNORMAL, "A person must change something; the message says what."),
    },
)

_PROGRESS = (ConditionType.RECONCILING, ConditionType.STALLED)

OWNED = MappingProxyType(
    {
        "MetaConnection": (ConditionType.READY, *_PROGRESS),
        "Catalog": (
            ConditionType.READY,
            ConditionType.SYNCED,
            ConditionType.FRESH,
            ConditionType.DELETIONS_HELD,
            ConditionType.PRICES_HELD,
            ConditionType.SOURCE_UNHEALTHY,
            ConditionType.ITEM_ISSUES,
            ConditionType.OVER_COMMITTED,
            ConditionType.SENDING_RESTRICTED,
            *_PROGRESS,
        ),
        "CatalogShard": (ConditionType.READY, *_PROGRESS),
        "FeedSchedule": (ConditionType.READY, *_PROGRESS),
        "SyncOperation": (ConditionType.COMPLETE, ConditionType.FAILED, ConditionType.HELD, *_PROGRESS),
        "DeletionApproval": (),
        "DiagnosticReport": (),
        "CatalogLedger": (),
    },
)
"""The conditions that each kind writes."""

_ORDER = {kind: position for position, kind in enumerate(ConditionType)}


class Condition(Observation):
    """One of Kubernetes' standard conditions."""

    type: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="What it is about.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    reason: Annotated[str, Field(min_length=1, max_length=REASON_LENGTH_MAX, pattern=REASON_PATTERN)] = Field(
        description="Why, as one word that tools may match on.",
    )
    message: Annotated[str, Field(max_length=MESSAGE_LENGTH_MAX)] = Field(
        description="Why, which field, what to do, and when the next try is.",
    )
    observed_generation: Annotated[int, Field(json_schema_extra={"format": "int64"})] | None = Field(
        default=None,
        description="Generation of the object that this was written for.",
    )
    last_transition_time: Timestamp = Field(description="When status last changed.")

    @property
    def is_true(self) -> bool:
        return self.status is ConditionStatus.TRUE


def set_condition(
    conditions: Iterable[Condition],
    kind: ConditionType,
    status: ConditionStatus,
    *,
    reason: str,
    message: str,
    observed_generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """Return the conditions with this one set. Its transition time moves only when its status flips.

    Conditions come out in the order of `ConditionType`, so that the same set always reads the same.
    """
    if not re.fullmatch(REASON_PATTERN, reason):
        raise ValueError(f"reason {reason!r} of condition {kind} is not one CamelCase word")
    present = tuple(conditions)
    before = find_condition(present, kind)
    flipped = before is None or before.status is not status
    after = Condition(
        type=kind.value,
        status=status,
        reason=reason,
        message=shorten(message),
        observed_generation=observed_generation,
        last_transition_time=now if flipped or before is None else before.last_transition_time,
    )
    return _ordered((*remove_condition(present, kind), after))


def remove_condition(conditions: Iterable[Condition], kind: ConditionType) -> tuple[Condition, ...]:
    """Return the conditions without this one."""
    return tuple(condition for condition in conditions if condition.type != kind)


def find_condition(conditions: Iterable[Condition], kind: ConditionType) -> Condition | None:
    """Return the condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == kind), None)


def shorten(message: str, length_max: int = MESSAGE_LENGTH_MAX) -> str:
    """Cut a message that is too long, visibly."""
    return message if len(message) <= length_max else message[: length_max - 1] + "…"


def _ordered(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    return tuple(sorted(conditions, key=_position))


def _position(condition: Condition) -> tuple[int, str]:
    known = {kind.value: position for kind, position in _ORDER.items()}
    return known.get(condition.type, len(known)), condition.type
