"""The step `Encode`: the bytes that one operation sends, from the current refresh against the heads it holds."""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from controller.faults import Disposition, Fault
from controller.ports.preparing import EncodeRequest, EncodeResult, Method, PayloadFile, PlanCounts
from controller.preparing.bodies import SAMPLES_MAX, digest_of
from controller.preparing.comparing import all_inputs, open_inputs
from controller.preparing.context import Context
from controller.preparing.heads import departures_of, policy_of, snapshot_height
from controller.preparing.manifests import manifest_of
from controller.preparing.objects import table_key, write_table
from controller.preparing.slicing import SLICE_ROWS, Scratch
from controller.products import encode
from controller.products.compare import compare
from controller.products.fields import ID
from controller.products.open_rows import Sides
from controller.products.tables import Kind
from controller.stores.local import LocalStore


def run(request: EncodeRequest, context: Context, slice_rows: int = SLICE_ROWS) -> EncodeResult:
    """Write what the operation sends. `slice_rows`: so many rows are compared at once; it changes no result."""
    _must_know(request)
    if request.overlay is not None:
        from controller.preparing.locales_encoding import encode_locale  # as below

        return encode_locale(request, context)
    if request.method is Method.ITEMS_BATCH:
        return _batch(request, context, slice_rows)
    if len(request.partitions) != 1:
        raise Fault("PreparingFailed", Disposition.DEFECT, "a file is of exactly one partition")
    if request.method is Method.UPDATE_FEED:
        from controller.preparing.update_feed import encode_update  # as below

        return encode_update(request, context, slice_rows)
    from controller.preparing.full_send import encode_full  # brings arrays along; a batch needs none

    return encode_full(request, context, slice_rows)


def _batch(request: EncodeRequest, context: Context, slice_rows: int) -> EncodeResult:
    rows = _batch_rows(request, context, slice_rows)
    bodies, more = encode.batch_bodies(
        rows,
        rows_max=request.limits.batch_rows_max,
        bytes_max=request.limits.batch_bytes_max,
        bodies_max=request.calls_max,
    )
    files = tuple(_write_body(request, context.store, rows, body, number) for number, body in enumerate(bodies))
    said = bodies[-1].end if bodies else 0
    sample = tuple(rows.head(said).get_column(ID).head(SAMPLES_MAX).to_list())
    plan = PlanCounts(update=said, sample_update=sample)
    return EncodeResult(files=files, plan=plan, digest=digest_of(each.sha256 for each in files), more=more)


def _batch_rows(request: EncodeRequest, context: Context, slice_rows: int) -> pl.DataFrame:
    """Rows to be sent, by partition and id; beyond what the calls can carry, one is enough to know of more."""
    departures = departures_of(context.store, request.refresh)
    policy = policy_of(request.guard)
    enough = request.calls_max * request.limits.batch_rows_max
    found: list[pl.DataFrame] = []
    with tempfile.TemporaryDirectory(prefix="encode-", dir=context.store.spool_directory()) as name:
        for sides in _sides(request, context, Scratch(Path(name)), slice_rows):
            plan = compare(sides.desired, sides.snapshot, departures, sides.payload_ids, policy, request.now)
            rows = encode.batch_rows(plan, request.fields, request.refresh.sequence)
            if request.item_ids:
                rows = rows.filter(pl.col(ID).is_in(list(request.item_ids)))
            found.append(rows)
            if sum(each.height for each in found) > enough:
                break
    return pl.concat(found)


def _sides(request: EncodeRequest, context: Context, scratch: Scratch, slice_rows: int) -> Iterator[Sides]:
    """Rows to be compared, ascending by partition and id: those that are not at rest, where that is known."""
    store = context.store
    known = open_inputs(store, manifest_of(store, request.refresh), request.partitions)
    held = sum(snapshot_height(store, each.snapshot) for each in request.partitions) if known is None else 0
    if known is None and max(request.refresh.rows, held) <= slice_rows:
        known = all_inputs(store, request.refresh, request.partitions)
    if known is not None:
        yield known.sides
        return
    from controller.preparing.ranges import ranges, sides_of  # brings arrays along; mostly not needed

    for each in sorted(request.partitions, key=lambda partition: partition.index):
        yield from ranges(sides_of(store, request.refresh, each), each.index, scratch, slice_rows)


def _write_body(
    request: EncodeRequest, store: LocalStore, rows: pl.DataFrame, body: encode.Body, number: int
) -> PayloadFile:
    said = rows.slice(body.start, body.end - body.start)
    sent = write_table(store, table_key(request.prefix, Kind.SENT, f"{number:04}"), said)
    key = f"{request.prefix}/batch-{number:04}.json"
    store.write(key, body.content)
    return PayloadFile(
        key=key,
        bytes=len(body.content),
        sha256=hashlib.sha256(body.content).hexdigest(),
        rows=said.height,
        partitions=tuple(said.get_column("_partition").unique().sort().to_list()),
        sent=sent,
    )


def _must_know(request: EncodeRequest) -> None:
    known = {each.index for each in request.refresh.partitions}
    for each in request.partitions:
        if each.index not in known:
            message = f"the refresh has no rows for partition {each.index}: refresh again"
            raise Fault("PreparingFailed", Disposition.DEFECT, message)
