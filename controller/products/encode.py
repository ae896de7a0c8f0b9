"""What goes over the wire: one replace file, or bodies of a batch, with a table of what they say.

Bytes are a function of the rows and their order: fixed columns, sorted by id in bodies and small files, in large files
as the rows are stored.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import orjson
import polars as pl

from controller.products.compare import FullSend, acknowledged, any_pending, pending
from controller.products.fields import ID, QUANTITY, VOLATILE, in_order
from controller.products.fingerprints import row_hash
from controller.products.partition import PARTITION
from controller.products.tables import ALL_VOLATILE, SENT, bit, known

BATCH_HEAD = b'{"item_type":"PRODUCT_ITEM","allow_upsert":false,"requests":['
BATCH_TAIL = b"]}"


ALTERED = "_altered"
"""Column of source rows that go out with other volatile values than the source has."""


@dataclass(frozen=True, slots=True)
class FullPlan:
    """What a full send says of which ids, and the ids that it leaves out."""

    source: pl.DataFrame
    """A `sent` table of the rows that the source has, with `_altered`."""
    kept: pl.DataFrame
    """The same of rows that come from the last accepted send; what only their texts tell is missing."""
    deletes: pl.DataFrame
    created: pl.DataFrame
    changed: pl.DataFrame


def plan_full(compared: pl.DataFrame, how: FullSend, sequence: int) -> FullPlan:
    """Choose for every id of a full send where its row comes from, and the volatile values to be sent."""
    stays = compared.filter((pl.col("in_source") | pl.col("at_meta")) & ~pl.col("drop"))
    swapped = pl.col("untested") if how.substitute else pl.lit(value=False)
    kept = ~pl.col("in_source") | swapped
    source = stays.filter(~kept)
    differs = any_pending(VOLATILE) | pl.col("static_pending")
    in_file = pl.col("in_source") | pl.col("has_payload")
    return FullPlan(
        source=source.select(
            *_sent(_kept=pl.lit(value=False), _sequence=pl.lit(sequence), _static_hash=pl.col("source_static")),
            (pl.col("held_sellable") | pl.col("held_price")).alias(ALTERED),
        ),
        kept=_kept_rows(stays.filter(kept), swapped),
        deletes=compared.filter(pl.col("drop") & (pl.lit(how.update_only_reason is None))).select(ID).sort(ID),
        created=stays.filter(~pl.col("at_meta")).select(ID),
        changed=stays.filter(pl.col("at_meta") & in_file & ~swapped & differs).select(ID),
    )


def _kept_rows(rows: pl.DataFrame, swapped: pl.Expr) -> pl.DataFrame:
    """Rows that are taken from the last accepted send, with the values that Meta has where they are swapped."""
    marked = rows.with_columns(_swapped=swapped)
    values = {name: pl.when("_swapped").then(pl.col(acknowledged(name))).otherwise(pl.col(name)) for name in VOLATILE}
    own = {**values, "_kept": pl.lit(value=True), "_sequence": pl.col("sequence"), "_static_hash": pl.lit(None)}
    return marked.select(*_sent(**own), "_swapped")


def _sent(**own: pl.Expr) -> list[pl.Expr]:
    """Columns of a `sent` table for compared rows that go out as a whole."""
    columns = {
        "_full": pl.lit(value=True),
        "_volatile": pl.lit(ALL_VOLATILE),
        "_created": ~pl.col("at_meta"),
        **own,
    }
    return [columns.get(name, pl.col(name)).cast(dtype).alias(name) for name, dtype in SENT.items()]


def resting_rows(desired: pl.DataFrame, index: int, sequence: int) -> pl.DataFrame:
    """The `sent` rows of items of one partition of which Meta has everything as the source has it."""
    rows = desired.with_columns(
        pl.lit(index).alias(PARTITION), pl.lit(value=True).alias("at_meta"), _row_hash=row_hash(pl.col("_static_hash"))
    )
    own = {"_kept": pl.lit(value=False), "_sequence": pl.lit(sequence), "_static_hash": pl.col("_static_hash")}
    return rows.select(_sent(**own))


def fields_of(columns: Iterable[str]) -> list[str]:
    """Columns of a full send's file: every field of any table that it takes rows from, and all volatile ones."""
    return in_order({*columns, ID, *VOLATILE})


def source_rows(
    texts: pl.LazyFrame, fields: Sequence[str], altered: pl.DataFrame, left_out: pl.DataFrame
) -> pl.LazyFrame:
    """Rows of a file in the order in which they are stored, with `altered` volatile values, without some ids."""
    rows = _with_fields(texts, fields)
    if left_out.height:
        rows = rows.join(left_out.lazy().select(ID), on=ID, how="anti", maintain_order="left")
    if not altered.height:
        return rows
    other = altered.lazy().select(
        ID, *(pl.col(name).alias(acknowledged(name)) for name in VOLATILE), pl.lit(value=True).alias(ALTERED)
    )
    return rows.join(other, on=ID, how="left", maintain_order="left").select(
        pl.when(ALTERED).then(pl.col(acknowledged(name))).otherwise(pl.col(name)).alias(name)
        if name in VOLATILE
        else pl.col(name)
        for name in fields
    )


def kept_rows(kept: pl.DataFrame, texts: pl.LazyFrame, fields: Sequence[str]) -> pl.DataFrame:
    """Fill kept rows up with their texts: `fields` and a `sent` table. A row that is missing leaves no row at all."""
    static = [name for name in fields if name != ID and name not in VOLATILE]
    side = _with_fields(texts, [ID, *static], "_group_hash", "_static_hash")
    head = kept.drop("_group_hash", "_static_hash").lazy()
    rows = side.join(head, on=ID, how="inner", maintain_order="left").with_columns(
        _row_hash=pl.when("_swapped").then(row_hash(pl.col("_static_hash"))).otherwise(pl.col("_row_hash"))
    )
    return rows.select(*fields, *(name for name in SENT if name.startswith("_"))).collect().sort(ID)


def _with_fields(texts: pl.LazyFrame, fields: Sequence[str], *more: str) -> pl.LazyFrame:
    present = texts.collect_schema()
    filled = (pl.col(name) if name in present else pl.lit(None, dtype=pl.String).alias(name) for name in fields)
    return texts.select(*filled, *more)


def batch_rows(compared: pl.LazyFrame, fields: Sequence[str], sequence: int) -> pl.DataFrame:
    """Items at Meta with a volatile value to be sent, as a `sent` table, by partition and id."""
    chosen = [name for name in VOLATILE if name in fields]
    if not chosen:
        return pl.DataFrame(schema=SENT)
    own = _partial(sequence) | {"_volatile": _pending_bits(chosen), "_group_hash": pl.lit(None)}
    rows = compared.filter(any_pending(chosen)).sort(PARTITION, ID)
    return rows.select(_sent(**own, _static_hash=pl.lit(None))).collect()


def update_rows(compared: pl.LazyFrame, sequence: int) -> pl.DataFrame:
    """Items at Meta with anything to be sent, as a `sent` table by id.

    `_full` rows differ in a field that only their texts tell: they are said as a whole. Of the others exactly the
    fields in `_volatile` are said. An empty cell clears; so a row that is not in the source, of which a field without
    a value is unknown, is not said as a whole.
    """
    clears = pl.any_horizontal(~pl.col(known(name)) & pl.col(name).is_null() for name in VOLATILE)
    whole = pl.col("static_pending") & (pl.col("in_source") | ~clears)
    bits = pl.when(whole).then(pl.lit(ALL_VOLATILE, dtype=pl.UInt8)).otherwise(_pending_bits(VOLATILE))
    own = _partial(sequence) | {"_full": whole, "_volatile": bits}
    said = compared.filter(whole | any_pending(VOLATILE)).sort(ID)
    return said.select(_sent(**own, _static_hash=pl.when(whole).then(pl.col("source_static")))).collect()


def _partial(sequence: int) -> dict[str, pl.Expr]:
    """What is common to rows that are sent because something of them changed."""
    return {
        "_full": pl.lit(value=False),
        "_kept": ~pl.col("in_source"),
        "_created": pl.lit(value=False),
        "_sequence": pl.when(pl.col("in_source")).then(pl.lit(sequence)).otherwise(pl.col("sequence")),
    }


def _pending_bits(fields: Iterable[str]) -> pl.Expr:
    return pl.sum_horizontal(
        pl.when(pl.col(pending(name))).then(bit(name)).otherwise(0).cast(pl.UInt8) for name in fields
    )


def fields_in(mask: int) -> list[str]:
    """Volatile fields whose bits are set."""
    return [name for name in VOLATILE if mask & bit(name)]


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
