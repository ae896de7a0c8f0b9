"""The audit: a pure function of the journal.

It judges what a client did, from Meta's side and nothing else: which of its mutations overlapped in time and items
(I1), whether a call named an item twice (I4), whether quotas were exceeded or a throttled bucket was called (I5),
whether a value went back in source time (I7), and whether items were deleted or made unsellable unasked (I8). The last
two need a witness; without one they read "not judged".
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import accumulate

from hack.emulator import jsons, keysets
from hack.emulator.journal import Applied, Journal, Lost, Mutation, RequestRecord, WitnessRecord
from hack.emulator.sections.catalog.item_fields import SELLABLE
from hack.emulator.sections.graph_api import rate_limits
from hack.emulator.switches import Switches

CLEAN, VIOLATED, NOT_JUDGED = "clean", "violated", "not judged"
VIOLATIONS_LISTED = 1_000
COMPARABLE_CACHED = 100_000
EVERYTHING = "*"  # a removal of this item allows every item of its catalog to go


def audit(journal: Journal, switches: Switches, *, reserve_percent: float = 0.0) -> jsons.Object:
    overlaps = _overlaps(journal.mutations)
    doubled = _doubled(journal.mutations)
    quota = _quota(journal.requests, switches, reserve_percent)
    backwards, unmatched = _backwards(journal.applied, journal.records)
    unasked = _unasked(journal)
    witnessed = bool(journal.records or journal.removals)
    values_witnessed = bool(journal.records) and not unmatched
    violations = [*overlaps, *doubled, *quota, *backwards, *(unasked if witnessed else [])]
    return {
        "overlaps": len(overlaps),
        "violations": violations[:VIOLATIONS_LISTED],
        "violations_total": len(violations),
        "judged": {
            "I1": _verdict(overlaps),
            "I4": _verdict(doubled),
            "I5": _verdict(quota),
            "I7": _verdict(backwards, judged=values_witnessed),
            "I8": _verdict(unasked, judged=witnessed) if witnessed else NOT_JUDGED,
        },
        "counts": {
            "requests": len(journal.requests),
            "mutations": len(journal.mutations),
            "applied_values_judged": len(journal.applied),
            "applied_values_the_witness_does_not_know": unmatched,
            "items_lost": len(journal.lost),
            "witness_records": len(journal.records),
            "witness_removals": len(journal.removals),
        },
    }


def _verdict(found: Sequence[jsons.Object], *, judged: bool = True) -> str:
    if found:
        return VIOLATED
    return CLEAN if judged else NOT_JUDGED


# -- I1


def _overlaps(mutations: Sequence[Mutation]) -> list[jsons.Object]:
    """Pairs whose spans [first byte, last effect] and whose items intersect; a refused one touches nothing."""
    found: list[jsons.Object] = []
    open_: list[Mutation] = []
    for later in sorted(
        (one for one in mutations if not one.refused and one.keys), key=lambda one: (one.first_byte, one.id)
    ):
        open_ = [one for one in open_ if one.ends >= later.first_byte]
        for earlier in open_:
            items = keysets.shared(earlier.keys, later.keys) if earlier.catalog == later.catalog else 0
            if items:
                found.append(_overlap(earlier, later, items))
        open_.append(later)
    return found


def _overlap(earlier: Mutation, later: Mutation, shared: int) -> jsons.Object:
    return {
        "invariant": "I1",
        "what": "two mutations touched the same items at the same time",
        "catalog": str(later.catalog),
        "items": shared,
        "first": _span(earlier),
        "second": _span(later),
    }


def _span(mutation: Mutation) -> jsons.Object:
    return {
        "mutation": mutation.id,
        "kind": mutation.kind,
        "session": mutation.session,
        "first_byte": mutation.first_byte,
        "last_effect": mutation.ends,
    }


# -- I4


def _doubled(mutations: Sequence[Mutation]) -> list[jsons.Object]:
    return [
        {
            "invariant": "I4",
            "what": "one call named items twice",
            "catalog": str(one.catalog),
            "mutation": one.id,
            "items": one.duplicate_ids,
            "samples": list(one.duplicate_samples),
        }
        for one in mutations
        if one.duplicate_ids
    ]


# -- I5


def _quota(requests: Sequence[RequestRecord], switches: Switches, reserve_percent: float) -> list[jsons.Object]:
    found: list[jsons.Object] = []
    by_key: dict[rate_limits.Key, list[RequestRecord]] = {}
    for record in requests:
        if record.bucket:
            by_key.setdefault((record.app, record.catalog, record.bucket), []).append(record)
    for key, records in sorted(by_key.items()):
        records.sort(key=lambda one: one.first_byte)
        times = [one.first_byte for one in records]
        for window, most in rate_limits.limits(key[2], switches):
            allowed = int(most * (1 - reserve_percent / 100))
            found += _windows(key, times, window, allowed)
        found += _while_throttled(key, records)
    return found


def _windows(key: rate_limits.Key, times: Sequence[float], window: float, allowed: int) -> list[jsons.Object]:
    """The worst rolling window, if it holds more calls than allowed."""
    worst, at = 0, 0.0
    for place, time in enumerate(times):
        inside = place + 1 - bisect_right(times, time - window, hi=place + 1)
        if inside > worst:
            worst, at = inside, time
    if worst <= allowed:
        return []
    words = f"{worst} calls in {window:g} s, allowed {allowed}"
    return [{"invariant": "I5", "what": "quota exceeded", "detail": words, "at": at, **_key(key)}]


def _while_throttled(key: rate_limits.Key, records: Sequence[RequestRecord]) -> list[jsons.Object]:
    found: list[jsons.Object] = []
    told_at, until = 0.0, 0.0
    for record in records:
        if told_at < record.first_byte <= until:
            found.append(
                {
                    "invariant": "I5",
                    "what": "called while throttled",
                    "request": record.seq,
                    "path": record.path,
                    "at": record.first_byte,
                    "throttled_until": until,
                    **_key(key),
                }
            )
        if record.told_minutes and record.delivered:
            told_at = record.answered
            until = max(until, record.answered + record.told_minutes * rate_limits.MINUTE)
    return found


def _key(key: rate_limits.Key) -> jsons.Object:
    return {"app": key[0], "catalog": str(key[1]), "bucket": key[2]}


# -- I7


@lru_cache(maxsize=COMPARABLE_CACHED)
def comparable(field: str, value: str) -> str:
    """Values that mean the same compare equal: 12.5 EUR is 12.50 EUR."""
    text = " ".join(value.split())
    if field in ("price", "sale_price"):
        amount, _, currency = text.partition(" ")
        try:
            return f"{Decimal(amount).normalize():f} {currency}".strip()
        except InvalidOperation:
            return text
    return text


@dataclass(slots=True)
class _Said:
    """When the source said one value: its places in source time, ascending, and since when each was known."""

    sequences: list[int] = dataclass_field(default_factory=list)
    known_at: list[float] = dataclass_field(default_factory=list)
    earliest_from: list[float] = dataclass_field(default_factory=list)  # the least of `known_at` from here on

    def close(self) -> None:
        self.earliest_from = list(accumulate(reversed(self.known_at), min))[::-1]

    def first_from(self, floor: int, at: float) -> int | None:
        """The first place in source time from `floor` on that was known by then."""
        start = bisect_left(self.sequences, floor)
        if start == len(self.sequences) or self.earliest_from[start] > at:
            return None
        places = range(start, len(self.sequences))
        return next(self.sequences[place] for place in places if self.known_at[place] <= at)

    def last(self, at: float) -> int:
        """The last place that was known by then; there is one."""
        return max(number for number, since in zip(self.sequences, self.known_at, strict=True) if since <= at)


def _said(records: Sequence[WitnessRecord]) -> dict[tuple[str, str, str, str], _Said]:
    """What the witness said, by catalog (empty: any), item, field and value."""
    found: dict[tuple[str, str, str, str], _Said] = {}
    for record in sorted(records, key=lambda one: one.sequence):
        key = (record.catalog, record.item, record.field, comparable(record.field, record.value))
        said = found.setdefault(key, _Said())
        said.sequences.append(record.sequence)
        said.known_at.append(record.at)
    for said in found.values():
        said.close()
    return found


def _backwards(applied: Sequence[Applied], records: Sequence[WitnessRecord]) -> tuple[list[jsons.Object], int]:
    """Violations, and how many applied values the witness never said.

    A value may stand at several points of source time. A history is in order if some choice of them never decreases;
    the smallest choice that does not decrease leaves the most room for what follows.
    """
    known = _said(records)
    reached: dict[tuple[int, str, str], int] = {}
    found: list[jsons.Object] = []
    unmatched = 0
    for one in sorted(applied, key=lambda change: change.at):
        value = comparable(one.field, one.value)
        own = known.get((str(one.catalog), one.item, one.field, value))
        said = own or known.get(("", one.item, one.field, value))
        if said is None or said.earliest_from[0] > one.at:
            unmatched += 1
            continue
        key = (one.catalog, one.item, one.field)
        floor = reached.get(key)
        ahead = said.first_from(said.sequences[0] if floor is None else floor, one.at)
        if ahead is None:
            ahead = said.last(one.at)
            found.append(_went_back(one, ahead, floor))
        reached[key] = ahead
    return found, unmatched


def _went_back(one: Applied, sequence: int, floor: int | None) -> jsons.Object:
    return {
        "invariant": "I7",
        "what": "a value went back in source time",
        "catalog": str(one.catalog),
        "item": one.item,
        "field": one.field,
        "value": one.value,
        "sequence": sequence,
        "after_sequence": floor,
        "at": one.at,
        "mutation": one.mutation,
    }


# -- I8


def _unasked(journal: Journal) -> list[jsons.Object]:
    allowed: dict[str, list[tuple[float, str]]] = {}
    for removal in journal.removals:
        if removal.approved:
            allowed.setdefault(removal.item, []).append((removal.at, removal.catalog))
    for record in journal.records:
        if record.field == "availability" and record.value not in SELLABLE:
            allowed.setdefault(record.item, []).append((record.at, record.catalog))
    everything = allowed.get(EVERYTHING, [])
    return [_loss(one) for one in journal.lost if not _meant(one, [*everything, *allowed.get(one.item, [])])]


def _meant(one: Lost, reasons: Sequence[tuple[float, str]]) -> bool:
    return any(at <= one.at and catalog in ("", str(one.catalog)) for at, catalog in reasons)


def _loss(one: Lost) -> jsons.Object:
    return {
        "invariant": "I8",
        "what": f"an item was {'deleted' if one.what == 'deleted' else 'made unsellable'} that its source still has",
        "catalog": str(one.catalog),
        "item": one.item,
        "at": one.at,
        "mutation": one.mutation,
    }
