"""What goes over the wire: one replace file, or bodies of a batch, with a table of what they say.

Bytes are a function of the rows and their order: fixed columns, sorted by id in bodies and small files, in large files
as the rows are stored.
"""

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import orjson
import polars as pl

from controller.products.compare import FullSend, acknowledged, any_pending, pending
from controller.products.fields import ID, QUANTITY, VOLATILE, in_order
from controller.products.fingerprints import row_hash
from controller.products.partition import PARTITION
from controller.products.tables import ALL_VOLATILE, SENT, bit

BATCH_HEAD = b'{"item_type":"PRODUCT_ITEM","allow_upsert":false,"requests":['
BATCH_TAIL = b"]}"


@dataclass(frozen=True, slots=True)
class FullPlan:
    """What a full send says of which ids, and the ids that it leaves out. `head` lacks the fields behind the values."""

    head: pl.DataFrame
    deletes: pl.DataFrame
    created: pl.DataFrame
    changed: pl.DataFrame
    needs_payload: pl.DataFrame
    """Ids whose complete row has to come from the last accepted send."""


def plan_full(compared: pl.DataFrame, how: FullSend, sequence: int) -> FullPlan:
    """Choose for every id of a full send where its row comes from, and the volatile values to be sent."""
    stays = compared.filter((pl.col("in_source") | pl.col("at_meta")) & ~pl.col("drop"))
    swapped = pl.col("untested") if how.substitute else pl.lit(value=False)
    head = stays.select(
        ID,
        *(pl.when(swapped).then(pl.col(acknowledged(name))).otherwise(pl.col(name)).alias(name) for name in VOLATILE),
        PARTITION,
        _full=pl.lit(value=True),
        _volatile=pl.lit(ALL_VOLATILE, dtype=pl.UInt8),
        _kept=~pl.col("in_source") | swapped,
        _created=~pl.col("at_meta"),
        _sequence=pl.when(pl.col("in_source") & ~swapped).then(pl.lit(sequence)).otherwise(pl.col("sequence")),
        _row_hash="_row_hash",
        _swapped=swapped,
    )
    in_file = pl.col("in_source") | pl.col("has_payload")
    differs = any_pending(VOLATILE) | pl.col("static_pending")
    changed = stays.filter(pl.col("at_meta") & in_file & ~swapped & differs)
    return FullPlan(
        head=head,
        deletes=compared.filter(pl.col("drop") & (pl.lit(how.update_only_reason is None))).select(ID).sort(ID),
        created=stays.filter(~pl.col("at_meta")).select(ID),
        changed=changed.select(ID),
        needs_payload=head.filter("_kept").select(ID),
    )


def complete(plan: FullPlan, desired: pl.LazyFrame, payload: pl.LazyFrame) -> pl.LazyFrame:
    """Fill up every row with the fields that only full sends carry: a `sent` table with all of them.

    The rows keep the order in which they are stored. A kept row that is missing leaves no row at all.
    """
    fields = in_order({*desired.collect_schema(), *payload.collect_schema()})
    rows = _filled(plan.head.filter(~pl.col("_kept")), desired, fields)
    if plan.needs_payload.height:
        kept = _filled(plan.head.filter("_kept"), payload, fields).with_columns(
            _row_hash=pl.when("_swapped").then(row_hash(pl.col("_static_hash"))).otherwise(pl.col("_row_hash"))
        )
        rows = pl.concat([rows, kept])
    return rows.drop("_swapped")


def _filled(head: pl.DataFrame, source: pl.LazyFrame, fields: Sequence[str]) -> pl.LazyFrame:
    present = source.collect_schema()
    static = [name for name in fields if name != ID and name not in VOLATILE]
    side = source.select(
        ID,
        *(pl.col(name) if name in present else pl.lit(None, dtype=pl.String).alias(name) for name in static),
        "_group_hash",
        "_static_hash",
    )
    joined = side.join(head.lazy(), on=ID, how="inner", maintain_order="left")
    return joined.select(*fields, *(name for name in SENT if name.startswith("_")), "_swapped")


def csv_of(slices: Iterable[pl.DataFrame]) -> Iterator[bytes]:
    """Write slices of a `sent` table as CSV."""
    for number, rows in enumerate(slices):
        buffer = io.BytesIO()
        rows.select(in_order(rows.columns)).write_csv(buffer, include_header=number == 0)
        yield buffer.getvalue()


def batch_rows(compared: pl.LazyFrame, fields: Sequence[str], sequence: int) -> pl.DataFrame:
    """Items at Meta with a volatile value to be sent, as a `sent` table, by partition and id."""
    chosen = [name for name in VOLATILE if name in fields]
    if not chosen:
        return pl.DataFrame(schema=SENT)
    mask = pl.sum_horizontal(
        pl.when(pl.col(pending(name))).then(bit(name)).otherwise(0).cast(pl.UInt8) for name in chosen
    )
    rows = compared.filter(any_pending(chosen)).sort(PARTITION, ID)
    rows = rows.with_columns(
        _full=pl.lit(value=False),
        _volatile=mask,
        _kept=~pl.col("in_source"),
        _created=pl.lit(value=False),
        _sequence=pl.when(pl.col("in_source")).then(pl.lit(sequence)).otherwise(pl.col("sequence")),
        _group_hash=pl.lit(None),
        _static_hash=pl.lit(None),
    )
    return rows.select(pl.col(name).cast(dtype) for name, dtype in SENT.items()).collect()


@dataclass(frozen=True, slots=True)
class Body:
    """One POST body and the rows [start, end) that it says."""

    content: bytes
    start: int
    end: int


def batch_bodies(sent: pl.DataFrame, *, rows_max: int, bytes_max: int, bodies_max: int) -> tuple[list[Body], bool]:
    """Fill bodies in order; return them and whether rows remain."""
    bodies: list[Body] = []
    parts: list[bytes] = []
    start, size = 0, len(BATCH_HEAD) + len(BATCH_TAIL)
    for number, line in enumerate(_requests(sent)):
        if parts and (len(parts) == rows_max or size + len(line) + 1 > bytes_max):
            bodies.append(_body(parts, start))
            if len(bodies) == bodies_max:
                return bodies, True
            parts, start, size = [], number, len(BATCH_HEAD) + len(BATCH_TAIL)
        parts.append(line)
        size += len(line) + 1
    if parts:
        bodies.append(_body(parts, start))
    return bodies, False


def _body(parts: list[bytes], start: int) -> Body:
    return Body(BATCH_HEAD + b",".join(parts) + BATCH_TAIL, start, start + len(parts))


def _requests(sent: pl.DataFrame) -> Iterator[bytes]:
    bits = [(name, bit(name)) for name in VOLATILE]
    for row in sent.select(ID, *VOLATILE, "_volatile").iter_rows(named=True):
        data: dict[str, object] = {ID: row[ID]}
        for name, flag in bits:
            if row["_volatile"] & flag:
                data[name] = _value(name, row[name])
        yield orjson.dumps({"method": "UPDATE", "data": data})


def _value(name: str, text: str | None) -> object:
    """Write a value as the batch takes it. A field without a value is cleared by an empty text."""
    if text is None:
        return ""
    return int(text) if name == QUANTITY and text.isascii() and text.isdigit() else text


def ids_document(ids: Sequence[str]) -> bytes:
    return json.dumps(list(ids), ensure_ascii=False, separators=(",", ":")).encode()
