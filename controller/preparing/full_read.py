"""All rows: read from the source, or those of the last read once more, placed anew where they have to be."""

import numpy as np
import numpy.typing as npt
import polars as pl

from controller.api.v1alpha1.items import RejectedRows
from controller.faults import Disposition, Fault
from controller.ports.preparing import (
    RefreshHead,
    RefreshRequest,
)
from controller.preparing.both_sides import (
    Everything,
    both,
    misplaced,
    pieces_of,
)
from controller.preparing.comparing import (
    Inputs,
    open_inputs,
)
from controller.preparing.context import Context
from controller.preparing.evidence import must_be_enough
from controller.preparing.findings import (
    findings_again,
    write_findings,
    write_rejected,
)
from controller.preparing.gathering import Gathering
from controller.preparing.heads import departures_of, memory_of
from controller.preparing.manifests import manifest_of
from controller.preparing.objects import ROW_GROUP_ROWS, read_or_empty, reading
from controller.preparing.orphans import must_not_orphan
from controller.preparing.ranges import scan_desired, scan_heads
from controller.preparing.row_state import desired_of, keep_base
from controller.preparing.row_tables import NOWHERE, RowTables
from controller.preparing.rows import (
    Rows,
    Seen,
    desired_partitions,
    head_of,
    known_homes,
    ranges_of,
    stays_of,
    targets_of,
)
from controller.preparing.source_rows import Whole, WholeRead, read_rows
from controller.products import partition
from controller.products.fields import ID
from controller.products.fingerprints import xxh3
from controller.products.masks import MaskBook
from controller.products.overlays import Overlaid
from controller.products.partition import NO_GROUP, PARTITION
from controller.products.rules import REJECTED
from controller.products.tables import NARROW
from controller.products.tables import REJECTED as REJECTED_SCHEMA
from controller.sources.direct import Direct
from controller.sources.spool import Spool


def read_all(request: RefreshRequest, context: Context, spooled: Spool | Direct, seen: Seen, over: Overlaid) -> Rows:
    """Read everything."""
    lenient = request.items.rejected_rows is RejectedRows.SEND
    homes = partition.Homes(*known_homes(request, context), ranges_of(request))
    scratch, limit = context.store.spool_directory(), request.limits.slice_rows_max
    with (
        RowTables(scratch, [each.index for each in request.partitions], homes, lenient=lenient) as tables,
        Gathering(scratch, lenient=lenient, narrow_rows_max=limit) as gathering,
    ):
        book = MaskBook()
        read = read_rows(request.items, spooled, tables, gathering, request.limits.line_bytes_max, book, over)
        must_be_enough(request, read.rows, read.separated.accepted + read.rejected.height)
        seeming = tables.homes
        seeming[read.separated.dead] = NOWHERE
        must_not_orphan(
            request.items.variants,
            scan_heads(context.store, request.partitions)["snapshot"],
            departures_of(context.store, request.previous),
            pl.Series(gathering.column("groups")[read.alive]).replace({NO_GROUP: None}),
            lambda: tables.standing(seeming),
            stays_of(request.items, read.rejected),
            tables.rows,
            scratch,
            limit,
        )
        found = homes.settle(gathering.hashes("ids"), gathering.hashes("groups"), tables.homes)
        found[read.separated.dead] = NOWHERE
        return _placed(request, context, read, found, tables, seen, spooled, book)


def _placed(
    request: RefreshRequest,
    context: Context,
    read: WholeRead,
    found: npt.NDArray[np.uint16],
    tables: RowTables,
    seen: Seen,
    spooled: Whole,
    book: MaskBook,
) -> Rows:
    """Publish the tables of the accepted rows. `found`: the partition of every row that may be accepted, or NOWHERE."""
    with targets_of(request, context) as (keys, targets):
        tables.publish(found, targets)
    named = desired_partitions(keys, found)
    rejected = write_rejected(request, context, read.rejected, read.findings)
    manifest = None
    if read.separated.accepted >= request.limits.incremental_rows_min:
        manifest = keep_base(request, context, spooled, read, found, named, book)
    findings = write_findings(request, context, read.findings)
    head = head_of(request, seen, named, read.rows, read.separated.accepted, findings)
    narrow = read.gathering.narrow()
    if narrow is not None:
        places = pl.Series(PARTITION, found, dtype=pl.UInt16)
        narrow = narrow.select(*NARROW).with_columns(places).filter(pl.Series(read.alive))
    desired = scan_desired(context.store, head, keys)
    departures = departures_of(context.store, request.previous)
    inputs = both(context.store, desired, request.partitions, departures, request.limits.slice_rows_max, narrow)
    return Rows(inputs, stays_of(request.items, read.rejected), read.findings, rejected, read.complete, head, manifest)


def again(request: RefreshRequest, context: Context) -> Rows:
    """Take the rows of the last accepted read once more."""
    previous, looked = request.previous, request.read or not request.overlays
    if previous is None:
        raise Fault("PreparingFailed", Disposition.DEFECT, "there is no accepted read yet that could be compared again")
    memory = memory_of(context.store, previous)
    rejected = read_or_empty(context.store, memory.rejected, REJECTED_SCHEMA)
    stays = stays_of(request.items, rejected)
    findings = findings_again(context, memory.rejected)
    same = {each.index for each in request.partitions} == {each.index for each in previous.partitions}
    manifest = manifest_of(context.store, previous)
    inputs: Inputs | Everything | None = open_inputs(context.store, manifest, request.partitions) if same else None
    head, written = previous, None
    if inputs is None:
        inputs = _both(request, context, previous)
        written = manifest
    with pieces_of(inputs) as pieces:
        stands = same and not misplaced(pieces)
    if not stands:
        head, written = _moved(request, context, previous), None
        inputs = _both(request, context, head)
    return Rows(inputs, stays, findings, memory.rejected, memory.complete, head, written, looked)


def _both(request: RefreshRequest, context: Context, head: RefreshHead) -> Inputs | Everything:
    desired = scan_desired(context.store, head, [each.index for each in head.partitions])
    departures = departures_of(context.store, request.previous)
    return both(context.store, desired, request.partitions, departures, request.limits.slice_rows_max)


def _moved(request: RefreshRequest, context: Context, previous: RefreshHead) -> RefreshHead:
    """Place the rows of the last read anew, because the partitions or the homes are others now."""
    texts = [desired_of(context.store, previous, each.index) for each in previous.partitions]
    rows = pl.concat([each for each in texts if each is not None], how="diagonal")
    homes = partition.Homes(*known_homes(request, context), ranges_of(request))
    ids, groups = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    indices = [each.index for each in request.partitions]
    with RowTables(context.store.spool_directory(), indices, homes, lenient=True) as tables, reading():
        for frame in rows.collect_batches(chunk_size=ROW_GROUP_ROWS, maintain_order=True):
            tables.add(frame.with_columns(pl.lit(None, dtype=pl.String).alias(REJECTED)))
            keys = frame.select(id=xxh3(pl.col(ID)), group=pl.col("_group_hash").fill_null(NO_GROUP))
            ids.append(keys.get_column("id").to_numpy())
            groups.append(keys.get_column("group").to_numpy())
        found = homes.settle(np.concatenate(ids), np.concatenate(groups), tables.homes)
        with targets_of(request, context) as (keys_, targets):
            tables.publish(found, targets)
    return previous.model_copy(update={"partitions": desired_partitions(keys_, found)})
