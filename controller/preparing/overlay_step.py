"""Overlays that changed alone: their values are laid over the rows of the last read, and the full source is not read.

Kept rows have the values of the overlays in them already. As overlays only ever add to what they said, a changed id
needs no more than its kept row: other fields stay, and the row is checked anew. What cannot be told from kept rows: a
row that was rejected may be fit now (it is judged at the next read of the full source), and other fields than before
(everything is read).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from controller.api.v1alpha1.items import RejectedRows
from controller.ports.preparing import OverlayHead, RefreshHead, RefreshRequest
from controller.preparing.heads import in_partition, memory_of
from controller.preparing.objects import columns_of, read_or_empty, scan_table
from controller.preparing.overlay_reading import IDS
from controller.preparing.row_state import RowState, desired_of
from controller.preparing.source_rows import hashed
from controller.preparing.spill import ORDER
from controller.products import overlays, rules
from controller.products.advice import Rule
from controller.products.fields import ID, VOLATILE, in_order
from controller.products.masks import MaskBook
from controller.products.overlays import Overlaid
from controller.products.partition import PARTITION
from controller.products.prints import MASK, PART, RAW
from controller.products.records import LINE
from controller.products.rules import NAMED_MAX, REJECTED, RuleFinding
from controller.products.tables import NARROW, conform
from controller.products.tables import REJECTED as REJECTED_SCHEMA
from controller.stores.local import LocalStore

CHANGED_SHARE_MAX = 0.25
"""Of the rows. When more has changed, reading the full source is as fast and starts a new base."""
SAMPLES_MAX = 10
_HASHED = ("_group_hash", "_static_hash", "_row_hash", "_slot")


@dataclass(frozen=True, slots=True)
class Laid:
    """Rows with other values than before."""

    accepted: pl.DataFrame
    """NARROW with `_partition`. Either complete rows with `_line`, `_order` and the hashes, or with `_mask` and `_part`
    where only volatile values changed."""
    rejected: pl.DataFrame
    """Rows that are not fit any more, by line and broken rules."""
    before: pl.DataFrame
    """All of these as they were: NARROW and `_partition`."""
    flags: pl.DataFrame
    """Which rules the accepted rows break, as far as these were judged."""
    findings: list[RuleFinding]
    """Of all rows."""

    @property
    def complete(self) -> bool:
        return PART not in self.accepted.columns

    @property
    def replaced(self) -> pl.DataFrame:
        """The accepted rows as they were."""
        return self.before.join(self.accepted.select(ID), on=ID, how="semi", maintain_order="left")

    @property
    def gone(self) -> pl.DataFrame:
        """The rejected rows as they were."""
        return self.before.join(self.rejected.select(ID), on=ID, how="semi", maintain_order="left")


def lay(
    request: RefreshRequest,
    store: LocalStore,
    state: RowState | None,
    over: Overlaid,
    changed: pl.DataFrame,
    findings: Sequence[RuleFinding],
) -> Laid:
    """Lay overlays over kept rows of changed ids. `findings`: what the last refresh said of all rows."""
    previous = request.previous
    assert previous is not None
    named = rules.rules_for(_fields(store, state, previous), None, request.items.currency)
    judged = about(named, over.fields)
    if state is not None and judged is not None:
        places = state.rows.find(changed.get_column(ID))
        kept = state.rows.narrow(places[places >= 0])
        return _laid(request, over, kept, judged, named, findings, _Narrow(store, previous))
    kept = kept_rows(store, previous, changed)
    return _laid(request, over, kept, named, named, findings, _Complete(in_order(kept.columns)))


def about(named: Sequence[Rule], fields: Sequence[str]) -> list[Rule] | None:
    """Find the rules that speak of volatile fields; None where they ask for more than a row's narrow columns.

    What volatile values add to the size of a row is nothing beside Meta's limit.
    """
    if not set(fields) <= set(VOLATILE):
        return None
    found = []
    for rule in named:
        roots = set(rule.broken.meta.root_names())
        if rule.name != rules.ROW_SIZE and roots & set(fields):
            if not roots <= {ID, *VOLATILE}:
                return None
            found.append(rule)
    return found


class _Finish(Protocol):
    """What becomes of checked rows."""

    def finished(self, checked: pl.DataFrame) -> pl.DataFrame: ...

    def lines(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with `_line`."""
        ...


@dataclass(frozen=True, slots=True)
class _Complete:
    fields: list[str]

    def finished(self, checked: pl.DataFrame) -> pl.DataFrame:
        order = pl.int_range(checked.height, dtype=pl.UInt32, eager=True).alias(ORDER)
        return hashed(checked.drop(_HASHED, strict=False), self.fields).with_columns(order)

    def lines(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows


@dataclass(frozen=True, slots=True)
class _Narrow:
    """Of a row whose volatile values changed, all hashes but that of the row stay."""

    store: LocalStore
    head: RefreshHead

    def finished(self, checked: pl.DataFrame) -> pl.DataFrame:
        return checked

    def lines(self, rows: pl.DataFrame) -> pl.DataFrame:
        if not rows.height:
            return rows.with_columns(pl.lit(None, dtype=pl.UInt64).alias(LINE))
        known = kept_rows(self.store, self.head, rows.select(ID), (ID, LINE))
        return rows.join(known.select(ID, LINE), on=ID, how="left", maintain_order="left")


def _laid(
    request: RefreshRequest,
    over: Overlaid,
    kept: pl.DataFrame,
    judged: Sequence[Rule],
    named: Sequence[Rule],
    findings: Sequence[RuleFinding],
    finish: _Finish,
) -> Laid:
    after = over.onto(kept)
    moved = pl.Series(np.zeros(kept.height, bool))
    for name in over.fields:
        moved |= kept.get_column(name).ne_missing(after.get_column(name))
    kept, after = kept.filter(moved), after.filter(moved)
    flags = rules.flags_of(after, list(judged))
    checked, _ = rules.check(after, list(judged), flags)
    over.judge(checked, flags, judged)
    following = _following(findings, named, rules.flags_of(kept, list(judged)), flags, checked)
    unfit = checked.get_column(REJECTED).is_not_null()
    if request.items.rejected_rows is RejectedRows.SEND:
        unfit = pl.Series(np.zeros(checked.height, bool))
    rejected = finish.lines(checked.filter(unfit)).select(ID, line=LINE, rules=REJECTED)
    return Laid(
        accepted=finish.finished(checked.filter(~unfit)).drop(REJECTED),
        rejected=conform(rejected, REJECTED_SCHEMA),
        before=kept.select(*NARROW, PARTITION),
        flags=flags.filter(~unfit),
        findings=_with_blames(following, over),
    )


def _fields(store: LocalStore, state: RowState | None, head: RefreshHead) -> list[str]:
    """Fields of the rows as they are kept."""
    if state is not None:
        return in_order(columns_of(store, state.manifest.tables[0].part.key))
    return in_order(columns_of(store, head.partitions[0].desired))


def kept_rows(
    store: LocalStore,
    head: RefreshHead,
    ids: pl.DataFrame,
    columns: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Rows of some ids as they are kept, or some of their columns, with `_partition`."""
    chosen = ids.lazy()
    frames = []
    for each in head.partitions:
        rows = desired_of(store, head, each.index)
        assert rows is not None
        rows = rows.join(chosen, on=ID, how="semi", maintain_order="left")
        found = (rows if columns is None else rows.select(columns)).collect(engine="streaming")
        frames.append(in_partition(found, each.index))
    return pl.concat(frames, how="diagonal")


def as_printed(laid: Laid, state: RowState) -> tuple[pl.DataFrame, npt.NDArray[np.uint32], MaskBook]:
    """Return the accepted rows as an increment keeps them, the places that end with it, and the book of rules."""
    book = MaskBook.of(state.manifest.masks)
    places = state.rows.find(laid.accepted.get_column(ID))
    raw = pl.Series(RAW, state.rows.raw(places), dtype=pl.UInt64).replace({0: None})
    if laid.complete:
        masks = book.number(laid.flags).alias(MASK)
        placed = laid.accepted.select(*NARROW, PARTITION, LINE, ORDER).with_columns(raw, masks)
    else:
        masks = book.changed(laid.accepted.get_column(MASK), laid.flags.columns, laid.flags)
        placed = laid.accepted.select(*NARROW, PARTITION, PART).with_columns(raw, masks)
    dead = np.concatenate((places, state.rows.find(laid.rejected.get_column(ID)))).astype(np.uint32)
    return placed, dead, book


def counted(
    store: LocalStore, head: RefreshHead, previous: RefreshHead | None, heads: Sequence[OverlayHead]
) -> tuple[OverlayHead, ...]:
    """Count the ids of each overlay that the full source does not have."""
    before = {each.name: each for each in previous.overlays} if previous is not None else {}
    read = previous is None or (head.sequence != previous.sequence and head.read_at != previous.read_at)
    rows: pl.LazyFrame | None = None
    found = []
    for each in heads:
        known = before.get(each.name)
        if (
            not read
            and known is not None
            and (known.ids, known.configuration_digest) == (each.ids, each.configuration_digest)
        ):
            found.append(each.model_copy(update={"unknown": known.unknown, "sample_unknown": known.sample_unknown}))
            continue
        rows = pl.concat(list(_ids(store, head))) if rows is None else rows
        unknown = scan_table(store, each.table).select(ID).join(rows, on=ID, how="anti").collect(engine="streaming")
        samples = unknown.get_column(ID).bottom_k(SAMPLES_MAX).sort().to_list()
        found.append(
            each.model_copy(update={"unknown": unknown.height, "sample_unknown": tuple(name[:100] for name in samples)})
        )
    return tuple(found)


def _ids(store: LocalStore, head: RefreshHead) -> Iterator[pl.LazyFrame]:
    """Ids of every row of the full source that has one."""
    for each in head.partitions:
        rows = desired_of(store, head, each.index)
        assert rows is not None
        yield rows.select(ID)
    yield read_or_empty(store, memory_of(store, head).rejected, IDS).drop_nulls().lazy()


def _following(
    findings: Sequence[RuleFinding],
    named: Sequence[Rule],
    before: pl.DataFrame,
    after: pl.DataFrame,
    rows: pl.DataFrame,
) -> list[RuleFinding]:
    """Follow what the rules say of all rows, from what they say of those that changed."""
    known = {each.rule: each for each in findings}
    ids = rows.get_column(ID)
    found = []
    for rule in named:
        old = known.pop(rule.name, None)
        if rule.name not in before.columns:
            found += [old] if old is not None else []
            continue
        more = int(after[rule.name].sum()) - int(before[rule.name].sum())
        count = (old.count if old is not None else 0) + more
        if count <= 0:
            continue
        mended = set(ids.filter(before[rule.name] & ~after[rule.name]).to_list())
        kept = [name for name in (old.sample_ids if old is not None else ()) if name not in mended]
        fresh = [name[:100] for name in ids.filter(after[rule.name]).head(NAMED_MAX).to_list()]
        samples = tuple(dict.fromkeys([*kept, *fresh]))[:NAMED_MAX]
        found.append(RuleFinding(rule.name, rule.level, count, old.message if old else rule.message, samples))
    return [*found, *known.values()]


def _with_blames(findings: list[RuleFinding], over: Overlaid) -> list[RuleFinding]:
    """Add what overlays break now to what they broke before."""
    return rules.merge([*findings, *overlays.findings(over.blames)])


def too_much(rows: int, changed: int, state: RowState | None) -> bool:
    """Tell whether reading everything anew would be as fast."""
    if state is None:
        return False
    later = state.rows.delta.rows if state.rows.delta is not None else 0
    return max(changed, later, state.rows.dead.size) > max(rows, 1) * CHANGED_SHARE_MAX
