"""What a body said, however it is kept: a table of its own, or an index with the tables that hold the texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from controller.preparing.kept import TABLE, Kept, kept, texts
from controller.preparing.manifests import is_manifest, read_sent_manifest, verified
from controller.preparing.objects import reading, scan_or_empty, scan_table
from controller.products.fields import ID, VOLATILE
from controller.products.tables import SENT
from controller.stores.local import LocalStore


@dataclass(frozen=True, slots=True)
class Sent:
    """The rows of one body."""

    rows: pl.LazyFrame
    """SENT."""
    columns: frozenset[str]
    """Fields that the body may carry."""
    complete: Kept | None
    """Where the complete rows are; None where the body has none."""

    def with_texts(self, store: LocalStore, ids: pl.DataFrame, fields: Sequence[str]) -> pl.DataFrame:
        """Rows of some ids, with those of the fields that the body carries."""
        with reading():
            rows = self.rows.join(ids.lazy().select(ID), on=ID, how="semi", maintain_order="left").collect()
            carried = [name for name in fields if name in self.columns and name not in VOLATILE]
            if self.complete is None or not carried:
                return rows
            found = texts(store, self.complete, rows)
            if not found:
                return rows
            sides = [each.select(ID, *(name for name in carried if name in each.collect_schema())) for each in found]
            return rows.join(pl.concat(sides, how="diagonal").collect(), on=ID, how="left", maintain_order="left")


def opened(store: LocalStore, key: str) -> Sent:
    if is_manifest(key):
        manifest = read_sent_manifest(store, key)
        table = scan_table(store, verified(store, manifest.index).key)
        complete = Kept(table.select(ID, TABLE), manifest.tables)
        return Sent(table.select(*SENT), frozenset(manifest.columns), complete)
    table = scan_table(store, key)
    present = frozenset(table.collect_schema())
    # The previous release wrote full sends as tables with all texts.
    copied = kept(store, key) if not present <= set(SENT) else None
    return Sent(scan_or_empty(store, key, SENT), present, copied)
