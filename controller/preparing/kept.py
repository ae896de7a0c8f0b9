"""Complete rows that Meta accepted, kept without a copy of their texts.

Nearly every row of a full send stands in a table of the read that it was encoded from. So what was sent, and what is
kept of it, is an index of ids with the tables that hold their texts. Rows come from an earlier index only while the
source does not have them; they are copied where they would keep a table alive of which little else is used.

What the previous release kept is one table with all texts: its own index.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from controller.preparing.manifests import (
    Part,
    SentManifest,
    is_manifest,
    manifest_key,
    part_of,
    read_sent_manifest,
    verified,
    write_manifest,
)
from controller.preparing.objects import rows_in, scan_table, sink_table, table_key, write_table
from controller.products.fields import ID
from controller.products.tables import Kind
from controller.stores.local import LocalStore

TABLE = "_table"
"""Number of the table that holds a row's texts."""
NUMBER = pl.UInt16
USED_SHARE_MIN = 0.25
"""Of the rows of a table. Where fewer are used, they are copied, so that the rest can go."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Which complete rows there are, and where."""

    index: pl.LazyFrame
    """Ids with `_table`."""
    tables: tuple[Part, ...]

    def ids(self) -> pl.LazyFrame:
        return self.index.select(ID)


def kept(store: LocalStore, key: str | None) -> Kept:
    """Open what is kept under a key; a key of None is nothing."""
    if key is None:
        return Kept(pl.LazyFrame(schema={ID: pl.String, TABLE: NUMBER}), ())
    if is_manifest(key):
        manifest = read_sent_manifest(store, key)
        return Kept(scan_table(store, verified(store, manifest.index).key).select(ID, TABLE), manifest.tables)
    index = scan_table(store, key).select(ID, pl.lit(0, dtype=NUMBER).alias(TABLE))
    return Kept(index, (part_of(store, key, rows_in(store, key)),))


def kept_ids(store: LocalStore, key: str | None) -> pl.DataFrame:
    return kept(store, key).ids().collect()


def texts(store: LocalStore, found: Kept, ids: pl.DataFrame) -> list[pl.LazyFrame]:
    """Rows of some ids with all their fields, table by table."""
    chosen = found.index.join(ids.lazy().select(ID), on=ID, how="semi", maintain_order="left").collect()
    used = chosen.get_column(TABLE).unique()
    return [
        scan_table(store, verified(store, part).key).join(
            chosen.lazy().filter(pl.col(TABLE) == number).select(ID), on=ID, how="semi", maintain_order="left"
        )
        for number, part in enumerate(found.tables)
        if number in used
    ]


def columns(store: LocalStore, found: Kept) -> set[str]:
    """Every column of any of the tables."""
    return {name for part in found.tables for name in scan_table(store, part.key).collect_schema()}


def renumbered(found: Iterable[tuple[pl.DataFrame, Sequence[Part]]]) -> tuple[pl.DataFrame, tuple[Part, ...]]:
    """Put indexes together, and their tables, as far as they are used."""
    numbers: dict[Part, int] = {}
    frames = [pl.DataFrame(schema={ID: pl.String, TABLE: NUMBER})]
    for index, tables in found:
        used = sorted(index.get_column(TABLE).unique())
        new = {old: numbers.setdefault(tables[old], len(numbers)) for old in used}
        frames.append(index.select(ID, pl.col(TABLE).replace_strict(new, return_dtype=NUMBER) if new else TABLE))
    return pl.concat(frames), tuple(numbers)


def write_kept(
    store: LocalStore, prefix: str, part: str, taken: Sequence[tuple[pl.DataFrame, Sequence[Part]]], earlier: Kept
) -> str | None:
    """Write an index of rows that were taken now, and of other rows that an earlier index has."""
    new = pl.concat([index.select(ID) for index, _ in taken]) if taken else pl.DataFrame(schema={ID: pl.String})
    stays = earlier.index.join(new.lazy(), on=ID, how="anti", maintain_order="left").collect()
    dense, sparse = _by_use(stays, earlier.tables)
    copied: list[tuple[pl.DataFrame, Sequence[Part]]] = []
    if sparse.height:
        rows = pl.concat(texts(store, earlier, sparse), how="diagonal")
        key = sink_table(store, table_key(prefix, Kind.PAYLOAD, f"{part}-texts"), rows, sparse.height)
        copied = [(sparse.with_columns(pl.lit(0, dtype=NUMBER).alias(TABLE)), [part_of(store, key, sparse.height)])]
    index, tables = renumbered([*taken, (dense, earlier.tables), *copied])
    if not index.height:
        return None
    named = write_table(store, table_key(prefix, Kind.PAYLOAD, part), index.sort(ID))
    manifest = SentManifest(part_of(store, named, index.height), tables)
    return write_manifest(store, manifest_key(prefix, Kind.PAYLOAD.value, part), manifest)


def _by_use(index: pl.DataFrame, tables: Sequence[Part]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tell rows of tables that are much used from rows of tables that are kept alive by few."""
    used = dict(index.group_by(TABLE).len().iter_rows())
    dense = [number for number, count in used.items() if count >= tables[number].rows * USED_SHARE_MIN]
    chosen = pl.col(TABLE).is_in(dense)
    return index.filter(chosen), index.filter(~chosen)
