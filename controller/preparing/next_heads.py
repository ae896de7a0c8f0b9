"""From what an operation changed to the heads that the ledger will name.

A batch changes few rows of a snapshot: they are written beside its base until they are too many. What is not at rest
is carried on, so that the next step need not compare everything.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from controller.ports.preparing import AcknowledgeRequest, Partition, Pending
from controller.preparing.comparing import Inputs, compared, keep_open, open_inputs
from controller.preparing.context import Context
from controller.preparing.heads import departures_of, in_partition, policy_of, scan_parts, snapshot_rows
from controller.preparing.manifests import (
    Part,
    SnapshotManifest,
    is_manifest,
    manifest_key,
    manifest_of,
    part_of,
    read_snapshot_manifest,
    verified,
    write_manifest,
)
from controller.preparing.objects import existing, read_or_empty, rows_in, table_key, write_table
from controller.preparing.ranges import compared_all, here, ranges, sides_of
from controller.preparing.slicing import Scratch
from controller.products.fields import ID
from controller.products.open_rows import Sides, without
from controller.products.partition import PARTITION
from controller.products.tables import SNAPSHOT, Kind, conform
from controller.stores.local import LocalStore

LATER_SHARE_MAX = 0.25
"""Of the base. When more rows have changed, the snapshot is written anew."""
BASE_ROWS_MIN = 5_000
"""Smaller snapshots are written anew each time."""
_KEY = (ID, PARTITION)
_NOTHING = {"snapshot": None}


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of the head of one partition."""

    before: Partition
    payload: str | None
    rows: pl.DataFrame | None = None
    """Rows of the next snapshot that were sent, where the others stay as they are."""
    whole: Part | None = None
    """All of the next snapshot."""
    kept: pl.DataFrame | None = None
    """Ids of which a complete row is kept from now on."""


def snapshot_rows_of(store: LocalStore, key: str | None, ids: pl.DataFrame) -> pl.DataFrame:
    """What the snapshot says of some ids."""
    if key is None:
        return pl.DataFrame(schema=SNAPSHOT)
    manifest = read_snapshot_manifest(store, key) if is_manifest(key) else None
    base = verified(store, manifest.base).key if manifest else key
    later = pl.DataFrame(schema=SNAPSHOT)
    if manifest is not None and manifest.later is not None:
        later = read_or_empty(store, verified(store, manifest.later).key, SNAPSHOT)
    wanted = ids.join(later.select(ID), on=ID, how="anti")
    found = (
        pl.scan_parquet(existing(store, base), glob=False)
        .join(wanted.lazy(), on=ID, how="semi", maintain_order="left")
        .collect(engine="streaming")
    )
    return pl.concat([conform(found, SNAPSHOT), later.join(ids, on=ID, how="semi", maintain_order="left")]).sort(ID)


def published(
    request: AcknowledgeRequest, context: Context, changes: Sequence[Change], slice_rows: int
) -> tuple[list[Partition], tuple[Pending, ...]]:
    """Write the next heads, and count what is pending then."""
    store = context.store
    before = [each.before for each in changes]
    manifest = manifest_of(store, request.refresh)
    known = None
    if manifest is not None and not any(each.whole for each in changes):
        known = open_inputs(store, manifest, before)
    parts = {each.before.index: _written(request, store, each) for each in changes}
    keeps = manifest is not None
    following = [_head(request, each, parts[each.before.index], keeps=keeps) for each in changes]
    inputs = _carried(known, changes) if known is not None else None
    departures, policy = departures_of(store, request.refresh), policy_of(request.guard)
    if inputs is not None:
        found = compared(inputs, departures, following, policy, request.now, keep_open=keeps)
    else:
        with tempfile.TemporaryDirectory(prefix="acknowledge-", dir=store.spool_directory()) as name:
            pieces = _everything(request, store, following, parts, Scratch(Path(name)), slice_rows)
            found = compared_all(pieces, departures, following, policy, request.now, keep_open=keeps)
    kept = keep_open(context, request.prefix, found, manifest.identity, following) if manifest is not None else None
    for document in following:
        part = parts[document.index]
        if part is not None and document.snapshot is not None and is_manifest(document.snapshot):
            write_manifest(store, document.snapshot, replace(part, open=kept))
    return following, found.pending


def _everything(
    request: AcknowledgeRequest,
    store: LocalStore,
    following: Sequence[Partition],
    parts: Mapping[int, SnapshotManifest | None],
    scratch: Scratch,
    slice_rows: int,
) -> Iterator[Sides]:
    """Both sides as a whole, with the snapshots as they will be."""
    for document in following:
        part = parts[document.index]
        tables = sides_of(store, request.refresh, document if part is None else document.model_copy(update=_NOTHING))
        if part is not None:
            tables["snapshot"] = here(scan_parts(store, part), document.index)
        yield from ranges(tables, document.index, scratch, slice_rows)


def _head(request: AcknowledgeRequest, change: Change, part: SnapshotManifest | None, *, keeps: bool) -> Partition:
    """Name the next snapshot: by a manifest where there is more to say than one table."""
    index, key = change.before.index, change.before.snapshot
    if part is not None:
        alone = part.later is None and not keeps
        key = part.base.key if alone else manifest_key(request.prefix, "snapshot", f"{index:03}")
    return change.before.model_copy(update={"snapshot": key, "payload": change.payload})


def _written(request: AcknowledgeRequest, store: LocalStore, change: Change) -> SnapshotManifest | None:
    """Write the rows of a snapshot that changed; None where none did."""
    if change.whole is not None:
        return SnapshotManifest(change.whole)
    if change.rows is None:
        return None
    key = table_key(request.prefix, Kind.SNAPSHOT, f"{change.before.index:03}")
    base, later = None, pl.DataFrame(schema=SNAPSHOT)
    named = change.before.snapshot
    if named is not None and is_manifest(named):
        earlier = read_snapshot_manifest(store, named)
        base = earlier.base
        if earlier.later is not None:
            later = read_or_empty(store, verified(store, earlier.later).key, SNAPSHOT)
    elif named is not None:
        base = part_of(store, named, rows_in(store, named))
    merged = pl.concat([without(later, change.rows), change.rows]).sort(ID)
    if base is None or base.rows < BASE_ROWS_MIN or merged.height > base.rows * LATER_SHARE_MAX:
        whole = pl.concat([without(snapshot_rows(store, named), change.rows), change.rows]).sort(ID)
        write_table(store, key, whole)
        return SnapshotManifest(part_of(store, key, whole.height))
    write_table(store, key, merged)
    return SnapshotManifest(base, part_of(store, key, merged.height))


def _carried(known: Inputs, changes: Sequence[Change]) -> Inputs | None:
    """Only what was not at rest, and what was sent; None where a sent row was at rest in these rows."""
    changed = [in_partition(each.rows, each.before.index) for each in changes if each.rows is not None]
    if not changed:
        return known
    rows = pl.concat(changed)
    sides = known.sides
    seen = pl.concat([sides.desired.select(_KEY), sides.snapshot.select(_KEY)])
    if rows.join(seen, on=_KEY, how="anti").height:
        return None
    others = sides.snapshot.join(rows, on=_KEY, how="anti", maintain_order="left")
    kept = [in_partition(each.kept, each.before.index) for each in changes if each.kept is not None]
    payload_ids = pl.concat([sides.payload_ids, *kept]).unique(maintain_order=True) if kept else sides.payload_ids
    return Inputs(Sides(sides.desired, pl.concat([others, rows]), payload_ids), known.resting)
