"""Overlays that changed alone: their values are laid over the rows of the last read, and the full source is not read.

Kept rows have the values of the overlays in them already. As overlays only ever add to what they said, a changed id
needs no more than its kept row: other fields stay, and the row is checked anew. What cannot be told from kept rows: a
row that was rejected may be fit now (it is judged at the next read of the full source), and other fields than before
(everything is read).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from controller.api.v1alpha1.items import RejectedRows
from controller.ports.preparing import OverlayHead, RefreshHead, RefreshRequest
from controller.preparing.heads import in_partition, memory_of
from controller.preparing.manifests import manifest_of
from controller.preparing.objects import read_or_empty, scan_table
from controller.preparing.overlay_reading import IDS
from controller.preparing.row_state import RowState, desired_of, load, scan_partition
from controller.preparing.source_rows import hashed
from controller.preparing.spill import ORDER
from controller.products import overlays, rules
from controller.products.advice import Rule
from controller.products.fields import ID, in_order
from controller.products.masks import MaskBook
from controller.products.overlays import Overlaid
from controller.products.partition import PARTITION
from controller.products.prints import MASK, RAW
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
    """Complete rows with `_line`, `_order`, `_partition` and the hashes."""
    rejected: pl.DataFrame
    """Rows that are not fit any more, by line and broken rules."""
    before: pl.DataFrame
    """All of these as they were: NARROW and `_partition`."""
    flags: pl.DataFrame
    """Which rules the accepted rows break."""
    findings: list[RuleFinding]
    """Of all rows."""
    judge_again: bool

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
    kept: pl.DataFrame,
    over: Overlaid,
    rejected: pl.DataFrame,
    changed: pl.DataFrame,
    findings: Sequence[RuleFinding],
) -> Laid:
    """Lay overlays over kept rows of changed ids. `rejected` and `findings`: what the last refresh said of all rows."""
    fields = in_order(kept.columns)
    named = rules.rules_for(fields, None, request.items.currency)
    after = over.onto(kept)
    differs = pl.concat(
        [kept.select(fields), after.select(pl.col(fields).name.prefix("new "))], how="horizontal"
    ).select(pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"new {name}")) for name in over.fields))
    moved = differs.to_series()
    kept, after = kept.filter(moved), after.filter(moved)
    flags = rules.flags_of(after, named)
    checked, _ = rules.check(after, named, flags)
    over.judge(checked, flags, named)
    whole = hashed(checked.drop(_HASHED, strict=False), fields).with_columns(
        pl.int_range(checked.height, dtype=pl.UInt32, eager=True).alias(ORDER)
    )
    unfit = whole.get_column(REJECTED).is_not_null()
    if request.items.rejected_rows is RejectedRows.SEND:
        unfit = pl.Series(np.zeros(whole.height, bool))
    following = _following(findings, named, rules.flags_of(kept, named), flags, whole)
    return Laid(
        accepted=whole.filter(~unfit).drop(REJECTED),
        rejected=conform(whole.filter(unfit).select(ID, line=LINE, rules=REJECTED), REJECTED_SCHEMA),
        before=kept.select(*NARROW, PARTITION),
        flags=flags.filter(~unfit),
        findings=_with_blames(following, over),
        judge_again=bool(rejected.select(ID).join(changed, on=ID, how="semi").height),
    )


def kept_rows(store: LocalStore, head: RefreshHead, state: RowState | None, ids: pl.DataFrame) -> pl.DataFrame:
    """Complete rows of some ids as they are kept, with `_partition`."""
    chosen = ids.lazy()
    frames = []
    for each in head.partitions:
        rows = (
            scan_partition(store, state.manifest, each.index, state) if state else desired_of(store, head, each.index)
        )
        assert rows is not None
        found = rows.join(chosen, on=ID, how="semi", maintain_order="left").collect(engine="streaming")
        frames.append(in_partition(found, each.index))
    return pl.concat(frames, how="diagonal")


def as_printed(laid: Laid, state: RowState) -> tuple[pl.DataFrame, npt.NDArray[np.uint32], MaskBook]:
    """Return the accepted rows as an increment keeps them, the places that end with it, and the book of rules."""
    book = MaskBook.of(state.manifest.masks)
    places = state.rows.find(laid.accepted.get_column(ID))
    raw = pl.Series(RAW, state.rows.raw(places), dtype=pl.UInt64).replace({0: None})
    placed = laid.accepted.select(*NARROW, PARTITION, LINE, ORDER).with_columns(
        raw, book.number(laid.flags).alias(MASK)
    )
    dead = np.concatenate((places, state.rows.find(laid.rejected.get_column(ID)))).astype(np.uint32)
    return placed, dead, book


def counted(
    store: LocalStore, head: RefreshHead, previous: RefreshHead | None, heads: Sequence[OverlayHead]
) -> tuple[OverlayHead, ...]:
    """Count the ids of each overlay that the full source does not have."""
    before = {each.name: each for each in previous.overlays} if previous is not None else {}
    read = previous is None or (head.digest, head.read_at) != (previous.digest, previous.read_at)
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
    manifest = manifest_of(store, head)
    state = load(store, manifest) if manifest is not None else None
    for each in head.partitions:
        rows = (
            scan_partition(store, state.manifest, each.index, state) if state else desired_of(store, head, each.index)
        )
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
