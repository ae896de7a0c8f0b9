"""Compare what was sent with what Meta returns when an item is read back.

Meta writes some values its own way. Compared are only fields that come back in a form that can be normalised; others
(product types, labels, sale dates) prove nothing and are left out.
"""

import json

import polars as pl

from controller.products.fields import AVAILABILITY, GROUP, ID, QUANTITY, VOLATILE
from controller.products.rules import PRICES, canonical_price, canonical_quantity
from controller.products.tables import bit, known

COMPARABLE = (
    "title",
    "description",
    *PRICES,
    AVAILABILITY,
    QUANTITY,
    "condition",
    "link",
    "image_link",
    "brand",
    GROUP,
)
"""Fields that Meta returns and whose form is known (Meta: ProductItem reference)."""
FOUND = "_found"


def items(content: bytes) -> pl.DataFrame:
    """Read JSON Lines of items as Meta returned them: one row per id, every comparable field as text or null."""
    rows = [json.loads(line, parse_int=str, parse_float=str) for line in content.splitlines() if line.strip()]
    names = (ID, *COMPARABLE, "sale_price_effective_date")
    data = {name: [_text(row.get(name)) for row in rows] for name in names}
    frame = pl.DataFrame(data, schema=dict.fromkeys(names, pl.String))
    present = [pl.Series(f"_has_{name}", [name in row for row in rows], dtype=pl.Boolean) for name in COMPARABLE]
    return _normal(frame.with_columns(present)).unique(ID, keep="last", maintain_order=True)


def compare_back(sent: pl.DataFrame, read: pl.DataFrame) -> pl.DataFrame:
    """Return per sent id: `_found`, and per comparable field `f_equal` (null where it was not sent or not returned)."""
    fields = [name for name in COMPARABLE if name in sent.columns]
    back = read.rename({name: f"_back_{name}" for name in COMPARABLE}).with_columns(pl.lit(value=True).alias(FOUND))
    joined = _normal(sent).join(back, on=ID, how="left", maintain_order="left")
    return joined.select(
        ID,
        pl.col(FOUND).fill_null(value=False),
        *(_equal(name).alias(f"{name}_equal") for name in fields),
    )


def equal_rows(compared: pl.DataFrame) -> pl.Expr:
    """Rows that were found with at least one comparable field, and none that differs: silence proves nothing."""
    fields = [pl.col(name) for name in compared.columns if name.endswith("_equal")]
    differs = pl.any_horizontal(~each.fill_null(value=True) for each in fields)
    return pl.col(FOUND) & ~differs & pl.any_horizontal(each.is_not_null() for each in fields)


def proven(same: pl.DataFrame, sent: pl.DataFrame, before: pl.DataFrame) -> int:
    """Count rows of which Meta was known to have another value of a volatile field that is equal now.

    `same` as `compare_back` returns rows, `sent` as it takes them, `before` is a snapshot.
    """
    fields = [name for name in VOLATILE if f"{name}_equal" in same.columns]
    held = _normal(before.filter("at_meta").select(ID, *fields, *map(known, fields)))
    held = held.rename({name: f"_held_{name}" for name in fields})
    now = _normal(sent.select(ID, *fields))
    joined = same.join(now, on=ID, maintain_order="left").join(held, on=ID, maintain_order="left")
    others = [
        pl.col(f"{name}_equal").fill_null(value=False)
        & pl.col(known(name))
        & pl.col(name).ne_missing(pl.col(f"_held_{name}"))
        for name in fields
    ]
    return int(joined.select(pl.any_horizontal(others).sum()).item()) if others else 0


def _equal(name: str) -> pl.Expr:
    asked = (pl.col("_volatile") & bit(name)) > 0 if name in VOLATILE else pl.col("_full")
    same = pl.col(name).eq_missing(pl.col(f"_back_{name}"))
    if name == "sale_price":
        same |= pl.col(name).str.starts_with("0").fill_null(value=False) & pl.col(f"_back_{name}").is_null()
    return pl.when(asked & pl.col(f"_has_{name}").fill_null(value=False)).then(same)


def _normal(frame: pl.DataFrame) -> pl.DataFrame:
    """Bring both sides into one form: trimmed, prices and quantities canonical, line breaks and blanks as one blank."""
    changes = {name: canonical_price(pl.col(name), None) for name in PRICES if name in frame.columns}
    if QUANTITY in frame.columns:
        changes[QUANTITY] = canonical_quantity(pl.col(QUANTITY))
    for name in ("title", "description"):
        if name in frame.columns:
            changes[name] = pl.col(name).str.replace_all(r"\s+", " ").str.strip_chars()
    return frame.with_columns(**changes)


def _text(value: object) -> str | None:
    if value is None or value == "":
        return None
    return value.strip() or None if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
