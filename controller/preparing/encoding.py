"""The step `Encode`: the bytes that one operation sends, from the current refresh against the heads it holds."""

import hashlib
from collections.abc import Iterable, Iterator

import polars as pl

from controller.faults import Disposition, Fault
from controller.ports.preparing import EncodeRequest, EncodeResult, Method, PayloadFile, PlanCounts
from controller.preparing.comparing import Inputs, all_inputs, open_inputs
from controller.preparing.context import Context
from controller.preparing.heads import departures_of, no_payload, policy_of
from controller.preparing.manifests import manifest_of
from controller.preparing.objects import EAGER_ROWS_MAX, ROW_GROUP_ROWS, scan_table, sink_table, table_key, write_table
from controller.preparing.packing import packed
from controller.products import encode
from controller.products.compare import FullSend, compare, full_send
from controller.products.encode import FullPlan
from controller.products.fields import ID
from controller.products.tables import SENT, Kind, empty
from controller.stores.local import LocalStore

SAMPLES_MAX = 10
REQUESTED = "Requested"


def run(request: EncodeRequest, context: Context) -> EncodeResult:
    if request.method is Method.ITEMS_BATCH:
        return _batch(request, context)
    if len(request.partitions) != 1:
        raise Fault("PreparingFailed", Disposition.DEFECT, "a full send is of exactly one partition")
    return _full(request, context)


def _full(request: EncodeRequest, context: Context) -> EncodeResult:
    (document,) = request.partitions
    how, plan = _planned(request, context)
    if not plan.head.height:
        return _removal(request, context, plan)
    sent = table_key(request.prefix, Kind.SENT, f"{document.index:03}")
    rows = _complete(request, context, plan)
    rows = rows.sort(ID) if plan.head.height <= EAGER_ROWS_MAX else rows
    sink_table(context.store, sent, rows, plan.head.height)
    file = _write_file(request, context.store, sent, document.index)
    if not file.rows:
        return EncodeResult()
    deletes = None
    if plan.deletes.height:
        deletes = write_table(
            context.store, table_key(request.prefix, Kind.DELETES, f"{document.index:03}"), plan.deletes
        )
    counts = PlanCounts(
        create=plan.created.height,
        update=plan.changed.height,
        delete=plan.deletes.height,
        unchanged=file.rows - plan.created.height - plan.changed.height,
        sample_create=_first(plan.created),
        sample_update=_first(plan.changed),
        sample_delete=_first(plan.deletes),
    )
    return EncodeResult(
        files=(file,),
        plan=counts,
        digest=_digest([file.sha256]),
        update_only=how.update_only_reason is not None,
        update_only_reason=how.update_only_reason,
        deletes=deletes,
    )


def _removal(request: EncodeRequest, context: Context, plan: FullPlan) -> EncodeResult:
    """Every item of the partition may go, and none stays."""
    (document,) = request.partitions
    if not plan.deletes.height:
        return EncodeResult()
    part = f"{document.index:03}"
    sent = write_table(context.store, table_key(request.prefix, Kind.SENT, part), empty(SENT))
    deletes = write_table(context.store, table_key(request.prefix, Kind.DELETES, part), plan.deletes)
    nothing = PayloadFile(
        key=deletes, bytes=0, sha256=hashlib.sha256().hexdigest(), rows=0, partitions=(document.index,), sent=sent
    )
    return EncodeResult(
        files=(nothing,),
        plan=PlanCounts(delete=plan.deletes.height, sample_delete=_samples(plan.deletes)),
        digest=_digest(plan.deletes.get_column(ID).sort()),
        deletes=deletes,
        removes_feed=True,
    )


def _planned(request: EncodeRequest, context: Context) -> tuple[FullSend, FullPlan]:
    """Decide on the narrow columns alone; what was compared is not kept while the texts are put together."""
    _must_know(request)
    compared = _compared(request, context, all_inputs(context.store, request.refresh, request.partitions)).collect()
    how = _how(request, full_send(compared))
    return how, encode.plan_full(compared, how, request.refresh.sequence)


def _complete(request: EncodeRequest, context: Context, plan: FullPlan) -> pl.LazyFrame:
    (document,) = request.partitions
    from controller.preparing.row_state import desired_of  # brings arrays along; a batch needs none

    desired = desired_of(context.store, request.refresh, document.index)
    assert desired is not None
    needs_payload = plan.needs_payload.height and document.payload is not None
    payload = scan_table(context.store, document.payload) if needs_payload and document.payload else no_payload().lazy()
    return encode.complete(plan, desired, payload)


def _how(request: EncodeRequest, decided: FullSend) -> FullSend:
    if decided.update_only_reason is None and (request.update_only or request.method is Method.UPDATE_FEED):
        return FullSend(REQUESTED, substitute=False)
    return decided


def _write_file(request: EncodeRequest, store: LocalStore, sent: str, index: int) -> PayloadFile:
    key = f"{request.prefix}/payload-{index:03}.csv.gz"
    digest = hashlib.sha256()
    size = 0
    rows = scan_table(store, sent)
    height = int(rows.select(pl.len()).collect().item())
    with store.creating(key) as path, path.open("wb") as file:
        for piece in packed(encode.csv_of(_slices(rows, height))):
            digest.update(piece)
            size += len(piece)
            file.write(piece)
            if size > request.limits.upload_bytes_max:
                message = f"the file of partition {index} is larger than Meta takes: use more shards"
                raise Fault("PayloadTooLarge", Disposition.STALLED, message)
    return PayloadFile(key=key, bytes=size, sha256=digest.hexdigest(), rows=height, partitions=(index,), sent=sent)


def _slices(rows: pl.LazyFrame, height: int) -> Iterator[pl.DataFrame]:
    for start in range(0, height, ROW_GROUP_ROWS):
        yield rows.slice(start, ROW_GROUP_ROWS).collect()


def _batch(request: EncodeRequest, context: Context) -> EncodeResult:
    _must_know(request)
    manifest = manifest_of(context.store, request.refresh)
    inputs = open_inputs(context.store, manifest, request.partitions)
    inputs = inputs or all_inputs(context.store, request.refresh, request.partitions)
    rows = encode.batch_rows(_compared(request, context, inputs), request.fields, request.refresh.sequence)
    if request.item_ids:
        rows = rows.filter(pl.col(ID).is_in(list(request.item_ids)))
    bodies, more = encode.batch_bodies(
        rows,
        rows_max=request.limits.batch_rows_max,
        bytes_max=request.limits.batch_bytes_max,
        bodies_max=request.calls_max,
    )
    files = tuple(_write_body(request, context.store, rows, body, number) for number, body in enumerate(bodies))
    said = bodies[-1].end if bodies else 0
    plan = PlanCounts(update=said, sample_update=_samples(rows.head(said)))
    return EncodeResult(files=files, plan=plan, digest=_digest(each.sha256 for each in files), more=more)


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


def _compared(request: EncodeRequest, context: Context, inputs: Inputs) -> pl.LazyFrame:
    sides = inputs.sides
    departures = departures_of(context.store, request.refresh)
    return compare(sides.desired, sides.snapshot, departures, sides.payload_ids, policy_of(request.guard), request.now)


def _must_know(request: EncodeRequest) -> None:
    known = {each.index for each in request.refresh.partitions}
    for each in request.partitions:
        if each.index not in known:
            message = f"the refresh has no rows for partition {each.index}: refresh again"
            raise Fault("PreparingFailed", Disposition.DEFECT, message)


def _digest(digests: Iterable[str]) -> str:
    return "sha256:" + hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _first(ids: pl.DataFrame) -> tuple[str, ...]:
    return _samples(ids.bottom_k(SAMPLES_MAX, by=ID).sort(ID))


def _samples(ids: pl.DataFrame) -> tuple[str, ...]:
    return tuple(ids.get_column(ID).head(SAMPLES_MAX).to_list())
