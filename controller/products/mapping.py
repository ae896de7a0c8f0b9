"""Columns of a source become Meta's fields: by name, by declaration, or as constants. Nothing is checked here."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from controller.api.v1alpha1.items import ItemsEntry, RejectedRows
from controller.faults import Disposition, Fault
from controller.products.fields import ID, IDENTIFIERS, KNOWN, REQUIRED, VOLATILE, in_order

NEAREST_MAX = 3


@dataclass(frozen=True, slots=True)
class MappingPlan:
    """Where each field comes from. A field stands in exactly one of the two."""

    columns: dict[str, str]
    constants: dict[str, str]

    @property
    def fields(self) -> list[str]:
        """Fields of the result, in the fixed order; volatile ones are always there, if only as nulls."""
        return in_order({*self.columns, *self.constants, *VOLATILE})


def invalid(why: str) -> Fault:
    return Fault("MappingInvalid", Disposition.STALLED, why)


def plan(entry: ItemsEntry, available: Iterable[str]) -> MappingPlan:
    """Resolve the declared mapping against the columns that a source has."""
    names = list(available)
    constants = {each.field: each.value.strip() for each in entry.mapping.constants}
    columns = _same_names(names)
    for each in entry.mapping.columns:
        if each.column not in names:
            raise invalid(
                f"mapping.columns[{each.field}]: the source has no column {each.column!r}{_near(each.column, names)}"
            )
        if each.field in constants:
            raise invalid(f"mapping: field {each.field} stands in columns and in constants; remove one of them")
        columns[each.field] = each.column
    columns = {field: column for field, column in columns.items() if field not in constants}
    _must_have(entry, {*columns, *constants}, names)
    return MappingPlan(columns, constants)


def apply(frame: pl.DataFrame, mapping: MappingPlan, keep: Iterable[str] = ()) -> pl.DataFrame:
    """Select and rename; trim every value; blank is null. Columns named in `keep` pass unchanged."""
    present = set(frame.columns)
    expressions = [_value(mapping, field, present).alias(field) for field in mapping.fields]
    return frame.select(*expressions, *keep)


def _value(mapping: MappingPlan, field: str, present: set[str]) -> pl.Expr:
    if field in mapping.constants:
        return pl.lit(mapping.constants[field] or None, dtype=pl.String)
    column = mapping.columns.get(field)
    if column is None or column not in present:
        return pl.lit(None, dtype=pl.String)
    trimmed = pl.col(column).str.strip_chars()
    return pl.when(trimmed != "").then(trimmed)


def _same_names(names: list[str]) -> dict[str, str]:
    """Columns that carry Meta's names already, also as "Image Link"; an exact name wins over a similar one."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[\s-]+", "_", name.strip().lower()).removeprefix("g:")
        if plain in KNOWN and (plain not in found or name == plain):
            found[plain] = name
    return found


def _must_have(entry: ItemsEntry, fields: set[str], names: list[str]) -> None:
    required = (ID,) if entry.rejected_rows is RejectedRows.SEND else REQUIRED
    for field in required:
        if field not in fields:
            raise invalid(
                f"no column for the required field {field}{_near(field, names)}; "
                f"name one in mapping.columns, or a value in mapping.constants"
            )
    if entry.rejected_rows is not RejectedRows.SEND and not fields.intersection(IDENTIFIERS):
        raise invalid("no column for any of brand, gtin and mpn, of which Meta requires one; name one in mapping")


def _near(wanted: str, names: list[str]) -> str:
    lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(wanted.lower(), lower, n=NEAREST_MAX, cutoff=0.5)
    shown = [lower[each] for each in close] or names[:NEAREST_MAX]
    return f"; nearest: {', '.join(map(repr, shown))}" if shown else ""
