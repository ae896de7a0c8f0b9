"""Rows of a Parquet file as text, row group by row group, from the spooled file.

Promises: every value keeps its digits (decimals with their scale, integers of any size, text with leading zeros);
structures and lists are reached by dots as in JSON. A file whose footer or any page cannot be read is refused as a
whole: Parquet has no rows to resynchronise at, and its footer is the end marker.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from polars.datatypes import DataTypeClass

from controller.products.nested import COLUMNS_MAX, DEPTH_MAX
from controller.products.records import LINE, Findings
from controller.products.shapes import malformed

ROWS_TOGETHER = 20_000
ELEMENTS_MAX = 5
"""So many elements of a list get columns of their own; the text of the whole has all."""


def read(path: Path, findings: Findings) -> Iterator[pl.DataFrame]:
    """Yield frames of text, plus `_line` with the number of the row."""
    findings.unit = "row"
    try:
        scan = pl.scan_parquet(path, glob=False)
        schema = scan.collect_schema()
        if LINE in schema or len(schema) > COLUMNS_MAX:
            raise malformed(f"the Parquet file has more than {COLUMNS_MAX} columns, or one called {LINE}")
        chosen = [expression for name, kind in schema.items() for expression in _texts(name, pl.col(name), kind, 0)]
        number = 1
        for batch in scan.select(chosen).collect_batches(chunk_size=ROWS_TOGETHER, maintain_order=True):
            line = pl.int_range(number, number + batch.height, dtype=pl.UInt64, eager=True)
            yield batch.with_columns(line.alias(LINE))
            number += batch.height
        if number == 1:
            yield pl.DataFrame(schema={**dict.fromkeys(schema.names(), pl.String), LINE: pl.UInt64})
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise malformed(f"the Parquet file cannot be read, or was cut short ({type(error).__name__})") from None


def _texts(name: str, value: pl.Expr, kind: pl.DataType, depth: int) -> Iterator[pl.Expr]:
    """Columns of a value: its text, and under dotted names what it has inside."""
    yield _text(value, kind).alias(name)
    if depth >= DEPTH_MAX:
        return
    if isinstance(kind, pl.Struct):
        for field in kind.fields:
            yield from _texts(f"{name}.{field.name}", value.struct.field(field.name), _type(field.dtype), depth + 1)
    elif isinstance(kind, pl.List | pl.Array):
        elements = value.arr.to_list() if isinstance(kind, pl.Array) else value
        for index in range(ELEMENTS_MAX):
            element = elements.list.get(index, null_on_oob=True)
            yield from _texts(f"{name}.{index}", element, _type(kind.inner), depth + 1)


def _type(kind: "pl.DataType | DataTypeClass") -> pl.DataType:
    return kind if isinstance(kind, pl.DataType) else kind()


def _text(value: pl.Expr, kind: pl.DataType) -> pl.Expr:
    if isinstance(kind, pl.String):
        return value
    if isinstance(kind, pl.Boolean):
        return pl.when(value).then(pl.lit("true")).when(~value).then(pl.lit("false"))
    if isinstance(kind, pl.Datetime):
        return value.dt.to_string("iso:strict")
    if isinstance(kind, pl.Struct):
        return pl.when(value.is_not_null()).then(value.struct.json_encode())
    if isinstance(kind, pl.List | pl.Array):
        packed = pl.struct(value.alias("v")).struct.json_encode()
        return pl.when(value.is_not_null()).then(packed.str.strip_prefix('{"v":').str.strip_suffix("}"))
    return value.cast(pl.String, strict=False)
