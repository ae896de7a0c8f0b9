"""Values with an inside become columns: dotted names beside the text of the whole, within limits.

`price: {amount: 9.90}` gives `price` (its JSON text) and `price.amount`; `variants: [{sku: A}]` gives `variants` and
`variants.0.sku`. Numbers keep the digits they have in the file: `Number` is their text, told from a string.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat

import polars as pl

from controller.products.records import LINE

DEPTH_MAX = 8
ELEMENTS_MAX = 20
"""So many elements of a list get columns of their own; the text of the whole has all."""
COLUMNS_MAX = 1_024
"""Meta's item tables have about 250 fields. More columns than this are a file keyed by something like an id."""
CELLS_MAX = 4_000_000
ROWS_MIN = 1_000
"""A frame has at most so many cells, a null counting like a value: 16 bytes each."""

Row = dict[str, str | None]


class Number(str):
    """Text of a number."""

    __slots__ = ()


def flatten(item: Mapping[str, object], names: set[str], *, sound: bool = False) -> Row:
    """Turn an object into a row. `names` are the columns seen so far; beyond the limit no nested one is added.

    `sound`: no text in it has half of a surrogate pair, which only an escape can bring.
    """
    row: Row = {}
    names.update(item)
    for name, value in item.items():
        column = name.strip()
        if sound and type(value) is str:
            row[column] = value or None
            continue
        row[column] = text_of(value)
        if isinstance(value, dict | list):
            row.update(_inside(column, value, names))
    names.update(row)
    return row


def _inside(prefix: str, value: object, names: set[str], depth: int = 1) -> Iterator[tuple[str, str | None]]:
    for key, inner in _members(value):
        column = f"{prefix}.{str(key).strip()}"
        if column not in names:
            if len(names) >= COLUMNS_MAX:
                return
            names.add(column)
        yield column, text_of(inner)
        if depth < DEPTH_MAX:
            yield from _inside(column, inner, names, depth + 1)


def _members(value: object) -> Iterator[tuple[object, object]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value[:ELEMENTS_MAX])


def text_of(value: object) -> str | None:
    """Text of a value as a row carries it; empty is null."""
    if value is None:
        return None
    if isinstance(value, str):
        if value.isascii():
            return str(value) if value else None
        return value.encode("utf-8", "replace").decode()
    return dumped(value)


def dumped(value: object) -> str:
    """JSON text in which numbers are as they were."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{_quoted(str(name))}:{dumped(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dumped, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else _quoted(str(value))


def _quoted(text: str) -> str:
    return json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False)


def frames_of(rows: list[Row], lines: list[int]) -> Iterator[pl.DataFrame]:
    """Put rows of different columns into frames, columns in order of their names; at least one frame."""
    names = {name for row in rows for name in row}
    size = max(ROWS_MIN, CELLS_MAX // max(1, len(names)))
    for start in range(0, max(1, len(rows)), size):
        yield _frame(rows[start : start + size], lines[start : start + size])


def _frame(rows: list[Row], lines: list[int]) -> pl.DataFrame:
    names = sorted({name for row in rows for name in row} - {LINE})
    data: dict[str, Sequence[object]] = {name: list(map(dict.get, rows, repeat(name))) for name in names}
    schema = {**dict.fromkeys(names, pl.String), LINE: pl.UInt64}
    return pl.DataFrame({**data, LINE: lines}, schema=schema)
