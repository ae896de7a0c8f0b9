"""A full send: one file with every row that must stay, and the index of what it says.

What is decided is decided on narrow columns, range by range of ids. The texts go straight from the tables of the read
into the file; they are copied nowhere. Rows of small files are sorted by id, those of large ones keep the order in
which they are stored: the bytes are a function of what is stored, not of blocks, ranges or threads.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from controller.ports.preparing import EncodeRequest, EncodeResult, PayloadFile, PlanCounts
from controller.preparing.bodies import Tally, digest_of
from controller.preparing.comparing import open_inputs
from controller.preparing.context import Context
from controller.preparing.files import write_csv, write_index
from controller.preparing.heads import check_snapshot, departures_of, no_texts, policy_of
from controller.preparing.kept import columns, kept, texts
from controller.preparing.manifests import manifest_of
from controller.preparing.objects import EAGER_ROWS_MAX, reading, table_key, write_table
from controller.preparing.ranges import compared, ranges, sides_of, tables_of
from controller.preparing.row_state import Texts, texts_of
from controller.preparing.slicing import SLICE_ROWS, Scratch, Sliced
from controller.products import encode
from controller.products.compare import FullSend, full_send
from controller.products.encode import ALTERED, FullPlan
from controller.products.fields import ID, VOLATILE
from controller.products.tables import DELETES, NARROW, SENT, Kind, empty

REQUESTED = "Requested"


def encode_full(request: EncodeRequest, context: Context, slice_rows: int = SLICE_ROWS) -> EncodeResult:
    """Write the file of one partition, or say that its feed has to go."""
    (document,) = request.partitions
    store = context.store
    sources = texts_of(store, request.refresh, document.index)
    check_snapshot(store, document.snapshot)
    open_ = open_inputs(store, manifest_of(store, request.refresh), request.partitions)
    with tempfile.TemporaryDirectory(prefix="encode-", dir=store.spool_directory()) as name:
        scratch = Scratch(Path(name))
        tables = tables_of(open_.sides) if open_ is not None else sides_of(store, request.refresh, document)
        pieces = _compared(request, context, tables, scratch, slice_rows)
        how = _how(request, full_send(each.collect() for each in pieces))
        plan = _Plan()
        for each in pieces:
            plan.add(encode.plan_full(each.collect(), how, request.refresh.sequence), scratch, last=len(pieces) == 1)
        del pieces
        if open_ is not None:
            _add_resting(request, sources, plan, open_.sides.desired, scratch, slice_rows)
        if not plan.rows:
            return _removal(request, context, plan)
        return _written(request, context, sources, plan, how)


def _how(request: EncodeRequest, decided: FullSend) -> FullSend:
    if decided.update_only_reason is None and request.update_only:
        return FullSend(REQUESTED, substitute=False)
    return decided


def _compared(
    request: EncodeRequest, context: Context, tables: Mapping[str, pl.LazyFrame], scratch: Scratch, slice_rows: int
) -> list[pl.LazyFrame]:
    """Compare both sides of the partition; what does not fit into memory waits on the disk."""
    (document,) = request.partitions
    departures = departures_of(context.store, request.refresh)
    policy = policy_of(request.guard)
    found: list[pl.LazyFrame] = []
    waiting: pl.DataFrame | None = None
    for sides in ranges(tables, document.index, scratch, slice_rows):
        if waiting is not None:
            found.append(scratch.put_by(waiting))
        waiting = compared(sides, departures, policy, request.now).collect()
    assert waiting is not None
    return [*found, scratch.put_by(waiting) if found else waiting.lazy()]


def _add_resting(
    request: EncodeRequest,
    sources: Sequence[Texts],
    plan: "_Plan",
    open_: pl.DataFrame,
    scratch: Scratch,
    slice_rows: int,
) -> None:
    """Add the rows that are at rest: they go out as they are."""
    (document,) = request.partitions
    tables = {
        "desired": pl.concat([each.rows.select(*NARROW) for each in sources]),
        "open": open_.lazy().select(ID),
        "said": pl.concat(plan.source),
    }
    found: list[pl.LazyFrame] = []
    total = 0
    pieces = Sliced(tables, scratch.directory("resting"), slice_rows)
    for rows in pieces:
        resting = rows["desired"].join(rows["open"], on=ID, how="anti", maintain_order="left")
        whole = pl.concat([encode.resting_rows(resting, document.index, request.refresh.sequence), rows["said"]])
        found.append(whole.sort(ID).lazy() if pieces.count == 1 else scratch.put_by(whole.sort(ID)))
        total += whole.height
    plan.source, plan.source_rows = found, total


class _Plan:
    """What a full send says, gathered from range after range. Only what differs from the source stays in memory."""

    def __init__(self) -> None:
        self.source: list[pl.LazyFrame] = []
        """Narrow rows of the source, by id."""
        self.source_rows = 0
        self.kept = pl.DataFrame()
        self.deletes = empty(DELETES)
        self.altered = pl.DataFrame()
        self.created = Tally()
        self.changed = Tally()

    @property
    def rows(self) -> int:
        return self.source_rows + self.kept.height

    def add(self, plan: FullPlan, scratch: Scratch, *, last: bool) -> None:
        """Take the next range. The `last` one need not wait on the disk."""
        source = plan.source.drop(ALTERED).sort(ID)
        self.source.append(source.lazy() if last else scratch.put_by(source))
        self.source_rows += source.height
        self.kept = _with(self.kept, plan.kept)
        self.deletes = _with(self.deletes, plan.deletes)
        self.altered = _with(self.altered, plan.source.filter(ALTERED).select(ID, *VOLATILE))
        self.created.add(plan.created)
        self.changed.add(plan.changed)


def _with(before: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([before, more]) if before.width else more


def _written(
    request: EncodeRequest, context: Context, sources: Sequence[Texts], plan: _Plan, how: FullSend
) -> EncodeResult:
    (document,) = request.partitions
    part = f"{document.index:03}"
    file = _write_file(request, context, sources, plan)
    if not file.rows:
        return EncodeResult()
    deletes = None
    if plan.deletes.height:
        deletes = write_table(context.store, table_key(request.prefix, Kind.DELETES, part), plan.deletes)
    counts = PlanCounts(
        create=plan.created.count,
        update=plan.changed.count,
        delete=plan.deletes.height,
        unchanged=file.rows - plan.created.count - plan.changed.count,
        sample_create=plan.created.sample,
        sample_update=plan.changed.sample,
        sample_delete=Tally.of(plan.deletes).sample,
    )
    return EncodeResult(
        files=(file,),
        plan=counts,
        digest=digest_of([file.sha256]),
        update_only=how.update_only_reason is not None,
        update_only_reason=how.update_only_reason,
        deletes=deletes,
    )


def _write_file(request: EncodeRequest, context: Context, sources: Sequence[Texts], plan: _Plan) -> PayloadFile:
    """Write the file, and the index of what it says."""
    (document,) = request.partitions
    store = context.store
    before = kept(store, document.payload)
    # A field that no row has any more is a column without values: an update clears only what it names.
    fields = encode.fields_of(
        {*(name for each in sources for name in each.table.collect_schema()), *columns(store, before)}
    )
    old = texts(store, before, plan.kept)
    with reading():
        again = encode.kept_rows(plan.kept, pl.concat(old, how="diagonal") if old else no_texts().lazy(), fields)
    swapped = again.clear() if not plan.kept.height else plan.kept.filter("_swapped")
    total = plan.source_rows + again.height
    blocks = _blocks(sources, fields, plan.altered, swapped, again)
    if total <= EAGER_ROWS_MAX:
        blocks = iter([pl.concat(blocks).sort(ID)])
    key = f"{request.prefix}/payload-{document.index:03}.csv.gz"
    file = write_csv(store, key, blocks, fields, request.limits, document.index)
    sent = write_index(request, store, f"{document.index:03}", sources, pl.concat(plan.source), again, fields)
    return PayloadFile(
        key=key, bytes=file.size, sha256=file.sha256, rows=total, partitions=(document.index,), sent=sent
    )


def _blocks(
    sources: Sequence[Texts], fields: Sequence[str], altered: pl.DataFrame, swapped: pl.DataFrame, again: pl.DataFrame
) -> Iterator[pl.DataFrame]:
    """Yield the rows of the file: those of the source as they are stored, then those that are kept."""
    for each in sources:
        for block in each.blocks():
            yield encode.source_rows(block.lazy(), fields, altered, swapped).collect()
    yield again.select(fields)


def _removal(request: EncodeRequest, context: Context, plan: _Plan) -> EncodeResult:
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
        plan=PlanCounts(delete=plan.deletes.height, sample_delete=Tally.of(plan.deletes).sample),
        digest=digest_of(plan.deletes.get_column(ID).sort()),
        deletes=deletes,
        removes_feed=True,
    )
