"""Hashes that are stored: xxh3 with seed 0 over text, stable across releases of every library involved.

`static`  over the fields that only a full send carries, as name 0x1e value joined by 0x1f; fields without a value
          contribute nothing, so a field that a later release learns about changes no hash.
`row`     over the static hash and the volatile values: the whole row, computable without its texts.
`slot`    hash id 1: the top 12 bits over the trimmed group id, or the item id where there is none.
"""

import polars as pl
import polars_hash  # noqa: F401 - registers the `nchash` name space

from controller.products.fields import GROUP, ID, VOLATILE, in_order

NORMALISER = 1
"""Grows whenever the same bytes would become other values or hashes: then nothing is recognised by its bytes."""
SLOTS = 4_096
_SLOT_DIVISOR = 1 << 52
_STATIC = "_static_hash"
_NAME_END = "\x1e"
_FIELD_END = "\x1f"


def xxh3(text: pl.Expr) -> pl.Expr:
    return text.nchash.xxh3_64()  # type: ignore[attr-defined,no-any-return]


def static_fields(columns: list[str]) -> list[str]:
    return sorted(name for name in in_order(columns) if name != ID and name not in VOLATILE)


def static_hash(columns: list[str]) -> pl.Expr:
    parts = [pl.lit(name + _NAME_END) + pl.col(name) for name in static_fields(columns)]
    return xxh3(pl.concat_str(parts, separator=_FIELD_END, ignore_nulls=True) if parts else pl.lit(""))


def static_hashes(rows: pl.DataFrame, columns: list[str]) -> pl.Series:
    """Return what `static_hash` gives, in half the time where most fields have a value in every row.

    Without a null, a name and its value are two parts of one long concatenation instead of one more column.
    """
    names = [name for name in static_fields(columns) if rows.get_column(name).null_count() < rows.height]
    full = next((at for at, name in enumerate(names) if not rows.get_column(name).null_count()), None)
    if full is None:
        return rows.select(static_hash(columns).alias(_STATIC)).to_series()
    text = ""
    parts: list[pl.Expr] = []
    for at, name in enumerate(names):
        before = (_FIELD_END if at > full else "") + name + _NAME_END
        behind = _FIELD_END if at < full else ""
        if rows.get_column(name).null_count():
            own = pl.concat_str(pl.lit(before), pl.col(name), *([pl.lit(behind)] if behind else []))
            text += "{}"
            parts.append(own.fill_null(""))
        else:
            text += _braced(before) + "{}" + _braced(behind)
            parts.append(pl.col(name))
    return rows.select(xxh3(pl.format(text, *parts)).alias(_STATIC)).to_series()


def _braced(text: str) -> str:
    """What a pattern writes for a text."""
    return text.replace("{", "{{").replace("}", "}}")


def row_hash(static: pl.Expr) -> pl.Expr:
    """Hash of the whole row from its static hash (null where unknown) and the volatile columns beside it."""
    parts = [static.cast(pl.String).fill_null(""), *(pl.col(name).fill_null("") for name in VOLATILE)]
    return xxh3(pl.concat_str(parts, separator=_FIELD_END))


def group_hash(columns: list[str]) -> pl.Expr:
    """Hash of the trimmed group id, null for rows without one."""
    if GROUP not in columns:
        return pl.lit(None, dtype=pl.UInt64)
    trimmed = pl.col(GROUP).str.strip_chars()
    return pl.when(trimmed != "").then(xxh3(trimmed))  # type: ignore[no-any-return,unused-ignore]


def slot(group: pl.Expr) -> pl.Expr:
    """Slot of a row from its group hash and its id."""
    key = pl.coalesce(group, xxh3(pl.col(ID)))
    return (key // pl.lit(_SLOT_DIVISOR, dtype=pl.UInt64)).cast(pl.UInt16)
