"""The step `Refresh`: read, map, check, place, compare; decide what may leave. Once for all partitions."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from controller.api.v1alpha1.items import ItemsEntry, RejectedRows
from controller.faults import Disposition, Fault
from controller.ports.preparing import (
    GuardPolicy,
    Held,
    Partition,
    PartitionDesired,
    RefreshHead,
    RefreshRequest,
    RefreshResult,
    RefusedRead,
    SourceCredentials,
)
from controller.ports.sources import Version
from controller.preparing import overlay_reading, overlay_step
from controller.preparing.arrays import release
from controller.preparing.both_sides import (
    Everything,
    at_meta_of,
    both,
    compared_pieces,
    misplaced,
    pieces_of,
    scan_desired,
    scan_heads,
)
from controller.preparing.comparing import (
    Compared,
    Inputs,
    all_inputs,
    desired_rows,
    keep_open,
    moved_on,
    open_inputs,
)
from controller.preparing.context import Context
from controller.preparing.evidence import REFUSALS, must_be_enough, refuse_older
from controller.preparing.findings import (
    findings_again,
    named_again,
    rule_count,
    with_remarks,
    write_findings,
    write_rejected,
)
from controller.preparing.gathering import Gathering
from controller.preparing.heads import Memory, departures_of, memory_of, policy_of, write_departures
from controller.preparing.incremental import Increment, narrow_of, read_increment
from controller.preparing.manifests import RowsManifest, manifest_key, manifest_of, write_manifest
from controller.preparing.objects import ROW_GROUP_ROWS, read_or_empty, reading, table_key
from controller.preparing.orphans import may_orphan, must_not_orphan
from controller.preparing.overlay_reading import Taken
from controller.preparing.overlay_step import Laid
from controller.preparing.row_state import RowState, desired_of, keep_base, keep_increment, load
from controller.preparing.row_tables import NOWHERE, RowTables
from controller.preparing.source_rows import Whole, WholeRead, opened, read_rows
from controller.preparing.spill import ORDER, Spill, sink
from controller.products import partition
from controller.products.departures import Departures, Guard, Look, PriceChange, advance_all, next_look_at
from controller.products.fields import ID
from controller.products.fingerprints import xxh3
from controller.products.masks import MaskBook
from controller.products.open_rows import Sides, snapshot_at_rest, without
from controller.products.overlays import Overlaid
from controller.products.partition import NO_GROUP, PARTITION, SlotRange
from controller.products.raw import among
from controller.products.rules import REJECTED, RuleFinding
from controller.products.tables import NARROW, Kind, Leaving, Stage
from controller.products.tables import REJECTED as REJECTED_SCHEMA
from controller.sources.direct import Direct
from controller.sources.spool import Spool
from controller.stores.local import storage_fault

SUPERSEDED_MAX = 16
SAMPLES_MAX = 10
HEAD_BYTES = 1 << 16
_GROUPED = (ID, "_group_hash", "_slot")


@dataclass(frozen=True, slots=True)
class Seen:
    """Which bytes were read."""

    digest: str
    version: Version


@dataclass(frozen=True, slots=True)
class Rows:
    """What the source wants, wherever it came from, and the head that will stand for it."""

    inputs: Inputs | Everything
    stays: pl.DataFrame
    findings: list[RuleFinding]
    rejected: str | None
    complete: bool
    head: RefreshHead
    manifest: RowsManifest | None
    """To be written once it is known what is not at rest; None where the head names what stands for the rows."""
    looked: bool = True
    """False: the full source was not looked at, so nothing more is known of what it lacks."""


def refresh(request: RefreshRequest, credentials: SourceCredentials, context: Context) -> RefreshResult:
    taken = overlay_reading.take(request, credentials, context)
    request = request.model_copy(update={"items": taken.named(request.items)})
    rows: Rows | RefusedRead | None
    if request.read:
        rows = _read(request, credentials, context, taken)
    elif taken.changed.height or taken.anew:
        rows = _overlaid(request, context, taken)
    else:
        rows = _again(request, context)
    if rows is None:
        return RefreshResult(needs_read=True, overlays=taken.results)
    if isinstance(rows, RefusedRead):
        return RefreshResult(refused=rows, overlays=taken.results)
    result = _compare(request, context, rows)
    assert result.head is not None
    heads = overlay_step.counted(context.store, result.head, request.previous, taken.heads)
    said = tuple(overlay_reading.remarks(context.store, heads))
    findings = with_remarks(request, context, result.head, said)
    head = result.head.model_copy(update={"overlays": heads, "findings": findings})
    return result.model_copy(update={"head": head, "checks": (*result.checks, *said), "overlays": taken.results})


def _overlaid(request: RefreshRequest, context: Context, taken: Taken) -> Rows | None:
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
    stays = _stays(request.items, rejected)
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
    with _targets(request, context) as (keys, targets):
        sink(texts, placed, ID, targets, context.store.spool_directory())
    return _named(keys, placed.get_column(PARTITION).to_numpy()), None


def _counted(head: RefreshHead, state: RowState) -> tuple[PartitionDesired, ...]:
    counts = np.bincount(state.rows.column("partitions")[state.rows.alive], minlength=256)
    return tuple(
        PartitionDesired(index=each.index, desired=each.desired, rows=int(counts[each.index]))
        for each in head.partitions
    )


def _read(
    request: RefreshRequest, credentials: SourceCredentials, context: Context, taken: Taken
) -> Rows | RefusedRead:
    digest = None
    scratch = context.store.spool_directory()
    with Spill(scratch) as spill:
        try:
            with opened(request, credentials, context) as (spooled, version):
                digest = spooled.digest
                seen = Seen(digest, version)
                over = overlay_reading.overlaid(context.store, taken.heads)
                if not (taken.anew or taken.changed.height):
                    quiet = _quiet(request, digest, version)
                    if quiet is not None:
                        return _again(quiet, context)
                refuse_older(request, digest, version)
                if not (taken.anew or taken.changed.height):
                    changed = _changes(request, context, spooled, seen, spill, over)
                    if changed is not None:
                        return changed
                return _read_all(request, context, spooled, seen, Overlaid(over.layers))
        except Fault as fault:
            if fault.reason not in REFUSALS:
                raise
            return RefusedRead(reason=fault.reason, message=fault.message, digest=digest)
        except OSError as error:  # of our own disk: what a source says is a Fault by now
            raise storage_fault(error, "spooling the source") from error


def _read_all(request: RefreshRequest, context: Context, spooled: Spool | Direct, seen: Seen, over: Overlaid) -> Rows:
    """Read everything."""
    lenient = request.items.rejected_rows is RejectedRows.SEND
    homes = partition.Homes(*_known_homes(request, context), _ranges(request))
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
            _stays(request.items, read.rejected),
            tables.rows,
            scratch,
            limit,
        )
        found = homes.settle(gathering.hashes("ids"), gathering.hashes("groups"), tables.homes)
        found[read.separated.dead] = NOWHERE
        return _placed(request, context, read, found, tables, seen, spooled, book)


def _changes(
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
    head = _head(request, seen, named, found.read.rows, found.valid, findings)
    moved = moved_on(
        inputs,
        placed,
        found.replaced,
        found.gone,
        context.store,
        request.partitions,
        request.previous.sequence,
    )
    stays = _stays(request.items, found.read.rejected)
    return Rows(moved, stays, found.read.findings, rejected, found.read.complete, head, following.manifest)


def _homes_of_changed(request: RefreshRequest, state: RowState, found: Increment, inputs: Inputs) -> pl.Series:
    """Place changed rows as `_homes` would, from what is not at rest and the rows that share a group with them."""
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
    return partition.assign(rows, partition.homes(held), placed, _ranges(request)).head(changed.height)


def _quiet(request: RefreshRequest, digest: str, version: Version) -> RefreshRequest | None:
    """Return the request for a look at a source that stood still, or None where the rows are new."""
    previous = request.previous
    if previous is None or digest != previous.digest or request.configuration_digest != previous.configuration_digest:
        return None
    if previous.judge_again:
        return None
    seen = {"read_at": request.now, "etag": version.etag, "last_modified": version.last_modified}
    return request.model_copy(update={"previous": previous.model_copy(update=seen)})


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
    with _targets(request, context) as (keys, targets):
        tables.publish(found, targets)
    named = _named(keys, found)
    rejected = write_rejected(request, context, read.rejected, read.findings)
    manifest = None
    if read.separated.accepted >= request.limits.incremental_rows_min:
        manifest = keep_base(request, context, spooled, read, found, named, book)
    findings = write_findings(request, context, read.findings)
    head = _head(request, seen, named, read.rows, read.separated.accepted, findings)
    narrow = read.gathering.narrow()
    if narrow is not None:
        places = pl.Series(PARTITION, found, dtype=pl.UInt16)
        narrow = narrow.select(*NARROW).with_columns(places).filter(pl.Series(read.alive))
    desired = scan_desired(context.store, head, keys)
    inputs = both(context.store, desired, request.partitions, request.limits.slice_rows_max, narrow)
    return Rows(inputs, _stays(request.items, read.rejected), read.findings, rejected, read.complete, head, manifest)


def _head(
    request: RefreshRequest,
    seen: Seen,
    named: tuple[PartitionDesired, ...],
    rows: int,
    valid: int,
    findings: str,
) -> RefreshHead:
    previous = request.previous
    before = (previous.digest, *previous.superseded_digests) if previous else ()
    superseded = dict.fromkeys(each for each in before if each != seen.digest)
    return RefreshHead(
        sequence=request.sequence,
        read_at=request.now,
        digest=seen.digest,
        etag=seen.version.etag,
        last_modified=seen.version.last_modified,
        configuration_digest=request.configuration_digest,
        partitions=named,
        departures=previous.departures if previous else None,
        findings=findings,
        superseded_digests=tuple(superseded)[:SUPERSEDED_MAX],
        rows=rows,
        valid=valid,
        invalid=rows - valid,
    )


def _stays(entry: ItemsEntry, rejected: pl.DataFrame) -> pl.DataFrame:
    """Rejected ids that do not count as gone."""
    keeps = entry.rejected_rows is RejectedRows.KEEP_LAST_GOOD
    return rejected.filter(pl.col(ID).is_not_null()) if keeps else rejected.clear()


@contextlib.contextmanager
def _targets(request: RefreshRequest, context: Context) -> Iterator[tuple[dict[int, str], dict[int, Path]]]:
    """Yield key and path of the table of each partition."""
    keys = {each.index: table_key(request.prefix, Kind.DESIRED, f"{each.index:03}") for each in request.partitions}
    with contextlib.ExitStack() as stack:
        yield keys, {index: stack.enter_context(context.store.creating(named)) for index, named in keys.items()}


def _named(keys: Mapping[int, str], found: npt.NDArray[np.uint16]) -> tuple[PartitionDesired, ...]:
    counts = np.bincount(found, minlength=NOWHERE)
    return tuple(PartitionDesired(index=index, desired=key, rows=int(counts[index])) for index, key in keys.items())


def _known_homes(request: RefreshRequest, context: Context) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return where Meta holds items, and where the last refresh placed them, as far as those partitions exist."""
    if len(request.partitions) == 1:
        return partition.no_homes(), partition.no_homes()
    previous = request.previous
    known = {each.index for each in previous.partitions} if previous is not None else set()
    held = scan_heads(context.store, request.partitions)["snapshot"].filter("at_meta")
    earlier = sorted(each.index for each in request.partitions if each.index in known)
    placed = scan_desired(context.store, previous, earlier).rename({"_group_hash": "group_hash"}) if earlier else None
    with reading():
        return partition.hashed(held), partition.hashed(placed) if placed is not None else partition.no_homes()


def _ranges(request: RefreshRequest) -> list[SlotRange]:
    return [SlotRange(each.index, each.slot_from, each.slot_to) for each in request.partitions]


def _again(request: RefreshRequest, context: Context) -> Rows:
    """Take the rows of the last accepted read once more."""
    previous, looked = request.previous, request.read or not request.overlays
    if previous is None:
        raise Fault("PreparingFailed", Disposition.DEFECT, "there is no accepted read yet that could be compared again")
    memory = memory_of(context.store, previous)
    rejected = read_or_empty(context.store, memory.rejected, REJECTED_SCHEMA)
    stays = _stays(request.items, rejected)
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
    return both(context.store, desired, request.partitions, request.limits.slice_rows_max)


def _moved(request: RefreshRequest, context: Context, previous: RefreshHead) -> RefreshHead:
    """Place the rows of the last read anew, because the partitions or the homes are others now."""
    texts = [desired_of(context.store, previous, each.index) for each in previous.partitions]
    rows = pl.concat([each for each in texts if each is not None], how="diagonal")
    homes = partition.Homes(*_known_homes(request, context), _ranges(request))
    ids, groups = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    indices = [each.index for each in request.partitions]
    with RowTables(context.store.spool_directory(), indices, homes, lenient=True) as tables, reading():
        for frame in rows.collect_batches(chunk_size=ROW_GROUP_ROWS, maintain_order=True):
            tables.add(frame.with_columns(pl.lit(None, dtype=pl.String).alias(REJECTED)))
            keys = frame.select(id=xxh3(pl.col(ID)), group=pl.col("_group_hash").fill_null(NO_GROUP))
            ids.append(keys.get_column("id").to_numpy())
            groups.append(keys.get_column("group").to_numpy())
        found = homes.settle(np.concatenate(ids), np.concatenate(groups), tables.homes)
        with _targets(request, context) as (keys_, targets):
            tables.publish(found, targets)
    return previous.model_copy(update={"partitions": _named(keys_, found)})


def _compare(request: RefreshRequest, context: Context, rows: Rows) -> RefreshResult:
    guard = _guard(request.guard, rows.inputs)
    with pieces_of(rows.inputs) as pieces:
        outcome = advance_all(
            departures_of(context.store, request.previous),
            memory_of(context.store, request.previous).generations,
            (_present(each.sides) for each in pieces),
            rows.stays,
            guard,
            Look(request.now, rows.complete and rows.looked, request.interval),
            request.catalog_id,
        )
        memory = Memory(outcome.generations, rows.rejected, rows.complete)
        key = write_departures(context.store, request.prefix, outcome.table, memory)
        policy = policy_of(request.guard)
        keeps = rows.manifest is not None
        found = compared_pieces(
            rows.inputs, pieces, outcome.table, request.partitions, policy, request.now, keep_open=keeps
        )
    head = rows.head.model_copy(update={"departures": key})
    if rows.manifest is not None:
        head = _published(request, context, rows.manifest, found, head)
    return RefreshResult(
        head=head,
        pending=found.pending,
        checks=tuple(rule_count(each) for each in rows.findings),
        held=_held(request, context, outcome, guard),
        watching=outcome.watching,
        newly_leaving=outcome.newly_leaving,
        newly_unsellable=outcome.newly_unsellable,
        released_digests=outcome.released,
        next_look_at=next_look_at(outcome.table, request.interval, request.guard.grace, request.now),
    )


def _present(sides: Sides) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What Meta holds, each id once, and what the source has."""
    return sides.snapshot.filter("at_meta").unique(ID, keep="first", maintain_order=True), sides.desired


def _published(
    request: RefreshRequest, context: Context, manifest: RowsManifest, found: Compared, head: RefreshHead
) -> RefreshHead:
    """Write the manifest that stands for the rows of every partition."""
    kept = keep_open(context, request.prefix, found, manifest.identity, request.partitions)
    key = manifest_key(request.prefix, "rows", "all")
    write_manifest(context.store, key, replace(manifest, open=kept))
    named = tuple(each.model_copy(update={"desired": key}) for each in head.partitions)
    return head.model_copy(update={"partitions": named})


def _guard(policy: GuardPolicy, inputs: Inputs | Everything) -> Guard:
    prices = policy.max_price_change
    return Guard(
        max_delete_percent=policy.max_delete_percent,
        always_allow=policy.always_allow,
        max_deletes=policy.max_deletes,
        max_unsellable_percent=policy.max_out_of_stock_percent,
        price_change=PriceChange(prices.percent, prices.of_items_percent) if prices is not None else None,
        counted_leaving=policy.counted_leaving_24h,
        counted_unsellable=policy.counted_unsellable_24h,
        items=policy.items_max_7d or at_meta_of(inputs),
        approved=frozenset(policy.approved_digests),
    )


def _held(request: RefreshRequest, context: Context, outcome: Departures, guard: Guard) -> Held | None:
    if outcome.held_digest is None:
        return None
    key = f"{request.prefix}/held-{outcome.held_digest.removeprefix('sha256:')}.txt"
    context.store.write(key, "\n".join(outcome.held_ids).encode())
    kinds = outcome.table.filter(pl.col("stage") == Stage.HELD).get_column("kind")
    return Held(
        digest=outcome.held_digest,
        count=len(outcome.held_ids),
        leaving=int((kinds == Leaving.LEAVING).sum()),
        unsellable=int((kinds == Leaving.UNSELLABLE).sum()),
        prices=int((kinds == Leaving.PRICE).sum()),
        of=guard.items,
        sample_ids=outcome.held_ids[:SAMPLES_MAX],
        ids=key,
    )
