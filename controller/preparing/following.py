"""The rows of the last read, followed by what changed since: records of the source, or values of overlays.

Each way returns None where that cannot be had without reading everything.
"""

import numpy as np
import polars as pl

from controller.ports.preparing import (
    Partition,
    PartitionDesired,
    RefreshHead,
    RefreshRequest,
)
from controller.preparing import overlay_reading, overlay_step
from controller.preparing.arrays import release
from controller.preparing.both_sides import (
    misplaced,
)
from controller.preparing.comparing import (
    Inputs,
    all_inputs,
    desired_rows,
    moved_on,
    open_inputs,
)
from controller.preparing.context import Context
from controller.preparing.evidence import must_be_enough
from controller.preparing.findings import (
    named_again,
    write_findings,
    write_rejected,
)
from controller.preparing.heads import memory_of
from controller.preparing.incremental import Increment, narrow_of, read_increment
from controller.preparing.manifests import RowsManifest, manifest_of
from controller.preparing.objects import read_or_empty
from controller.preparing.orphans import may_orphan
from controller.preparing.overlay_reading import Taken
from controller.preparing.overlay_step import Laid
from controller.preparing.row_state import RowState, desired_of, keep_increment, load
from controller.preparing.rows import Rows, Seen, desired_partitions, head_of, ranges_of, stays_of, targets_of
from controller.preparing.spill import ORDER, Spill, sink
from controller.products import partition
from controller.products.fields import ID
from controller.products.open_rows import snapshot_at_rest, without
from controller.products.overlays import Overlaid
from controller.products.partition import PARTITION
from controller.products.raw import among
from controller.products.tables import NARROW
from controller.products.tables import REJECTED as REJECTED_SCHEMA
from controller.sources.direct import Direct
from controller.sources.spool import Spool

_GROUPED = (ID, "_group_hash", "_slot")


def changes(
    request: RefreshRequest, context: Context, spooled: Spool | Direct, seen: Seen, spill: Spill, over: Overlaid
) -> Rows | None:
    """Read only what changed, where that is possible."""
    previous = request.previous
    indices = {each.index for each in request.partitions}
    if previous is None or previous.configuration_digest != request.configuration_digest:
        return None
    manifest = manifest_of(context.store, previous)
    if manifest is None or indices != {each.index for each in previous.partitions}:
        return None
    inputs = open_inputs(context.store, manifest, request.partitions)
    if inputs is None and sum(each.rows for each in previous.partitions) > request.limits.slice_rows_max:
        return None  # to follow the changes, all rows would have to be in memory
    state = load(context.store, manifest)
    found = read_increment(request, context, spooled, state, spill, over)
    if found is None:
        return None
    inputs = inputs or all_inputs(context.store, previous, request.partitions)
    if misplaced([inputs]) or may_orphan(request.items.variants, state.rows, inputs.sides, found):
        return None
    must_be_enough(request, found.read.rows, found.valid + found.read.rejected.height)
    return _followed(request, context, state, found, inputs, spill.rows(), seen)


def _followed(
    request: RefreshRequest,
    context: Context,
    state: RowState,
    found: Increment,
    inputs: Inputs,
    texts: pl.LazyFrame,
    seen: Seen,
) -> Rows:
    """Place the changed rows, and write them beside the others."""
    assert request.previous is not None
    placed = found.accepted.with_columns(_homes_of_changed(request, state, found, inputs))
    release(state.rows.base.ids)
    following = keep_increment(request, context, state, placed, texts, found.dead, found.book)
    release(state.rows.base.ids)
    named = _counted(request.previous, following)
    rejected = write_rejected(request, context, found.read.rejected, found.read.findings)
    findings = write_findings(request, context, found.read.findings)
    head = head_of(request, seen, named, found.read.rows, found.valid, findings)
    moved = moved_on(
        inputs,
        placed,
        found.replaced,
        found.gone,
        context.store,
        request.partitions,
        request.previous.sequence,
    )
    stays = stays_of(request.items, found.read.rejected)
    return Rows(moved, stays, found.read.findings, rejected, found.read.complete, head, following.manifest)


def _homes_of_changed(request: RefreshRequest, state: RowState, found: Increment, inputs: Inputs) -> pl.Series:
    """Place changed rows as a full read would, from what is not at rest and the rows that share a group with them."""
    changed = found.accepted
    if len(request.partitions) == 1:
        index = request.partitions[0].index
        return pl.Series(PARTITION, [index], dtype=pl.UInt16).new_from_index(0, changed.height).alias(PARTITION)
    sides = inputs.sides
    groups = changed.get_column("_group_hash").drop_nulls().unique().to_numpy()
    together = np.flatnonzero(among(state.rows.column("groups").view(np.uint64), groups) & state.rows.alive).astype(
        np.int32
    )
    resting = narrow_of(state.rows, together) if not inputs.whole else found.gone.clear()
    resting = resting.join(sides.desired, on=[ID, PARTITION], how="anti", maintain_order="left")
    held = pl.concat([sides.snapshot.filter("at_meta"), snapshot_at_rest(resting, 0)])
    others = pl.concat([sides.desired.select(*_GROUPED), resting.select(*_GROUPED)])
    rows = pl.concat([changed.select(*_GROUPED), without(others, changed)])
    before = pl.concat([found.replaced.select(*NARROW, PARTITION), sides.desired])
    placed = partition.homes(before.select(ID, PARTITION, group_hash="_group_hash"))
    return partition.assign(rows, partition.homes(held), placed, ranges_of(request)).head(changed.height)


def overlaid(request: RefreshRequest, context: Context, taken: Taken) -> Rows | None:
    """Lay what overlays say now over the rows of the last read, or return None where that needs the full source."""
    previous = request.previous
    if previous is None or taken.anew or previous.configuration_digest != request.configuration_digest:
        return None
    if {each.index for each in request.partitions} != {each.index for each in previous.partitions}:
        return None
    store = context.store
    manifest = manifest_of(store, previous)
    state = load(store, manifest) if manifest is not None else None
    if overlay_step.too_much(previous.valid, taken.changed.height, state):
        return None
    inputs = open_inputs(store, manifest, request.partitions)
    if inputs is None and previous.valid > request.limits.slice_rows_max:
        return None  # to follow the changes, all rows would have to be in memory
    inputs = inputs or all_inputs(store, previous, request.partitions)
    if misplaced([inputs]):
        return None
    memory = memory_of(store, previous)
    rejected = read_or_empty(store, memory.rejected, REJECTED_SCHEMA)
    laid = overlay_step.lay(
        request,
        store,
        state,
        overlay_reading.overlaid(store, taken.heads, taken.changed).only(taken.fields),
        taken.changed,
        named_again(context, previous, memory.rejected),
    )
    mended = rejected.select(ID).join(taken.changed, on=ID, how="semi").height > 0
    rejected = pl.concat([rejected, laid.rejected]).sort("line")
    named, following = _relaid(request, context, laid, state)
    head = previous.model_copy(
        update={
            "sequence": request.sequence,
            "partitions": named,
            "valid": previous.valid - laid.rejected.height,
            "invalid": previous.invalid + laid.rejected.height,
            "findings": write_findings(request, context, laid.findings),
            "judge_again": previous.judge_again or mended,
        }
    )
    moved = moved_on(inputs, laid.accepted, laid.replaced, laid.gone, store, request.partitions, previous.sequence)
    key = write_rejected(request, context, rejected, laid.findings)
    stays = stays_of(request.items, rejected)
    return Rows(moved, stays, laid.findings, key, memory.complete, head, following, looked=False)


def _relaid(
    request: RefreshRequest, context: Context, laid: Laid, state: RowState | None
) -> tuple[tuple[PartitionDesired, ...], RowsManifest | None]:
    """Write the rows that changed beside the others or, where all rows are in plain tables, all of them."""
    previous = request.previous
    assert previous is not None
    if state is not None:
        placed, dead, book = overlay_step.as_printed(laid, state)
        texts = laid.accepted.lazy().drop(PARTITION) if laid.complete else None
        following = keep_increment(request, context, state, placed, texts, dead, book)
        return _counted(previous, following), following.manifest
    frames = [desired_of(context.store, previous, each.index) for each in previous.partitions]
    old = pl.concat([each for each in frames if each is not None], how="diagonal")
    texts = pl.concat(
        [
            old.join(laid.before.lazy().select(ID), on=ID, how="anti", maintain_order="left"),
            laid.accepted.lazy().drop(ORDER, PARTITION),
        ],
        how="diagonal",
    )
    earlier = [Partition(index=each.index, slot_from=0, slot_to=0) for each in previous.partitions]
    rows = desired_rows(context.store, previous, earlier)
    placed = pl.concat([without(rows, laid.before), laid.accepted.select(*NARROW, PARTITION)])
    with targets_of(request, context) as (keys, targets):
        sink(texts, placed, ID, targets, context.store.spool_directory())
    return desired_partitions(keys, placed.get_column(PARTITION).to_numpy()), None


def _counted(head: RefreshHead, state: RowState) -> tuple[PartitionDesired, ...]:
    counts = np.bincount(state.rows.column("partitions")[state.rows.alive], minlength=256)
    return tuple(
        PartitionDesired(index=each.index, desired=each.desired, rows=int(counts[each.index]))
        for each in head.partitions
    )
