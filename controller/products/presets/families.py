"""Exports in which a row names its parent, or a parent its children, anywhere in the file.

The source is read twice: first for the parents alone, which are few and narrow, then for the rows. So memory stays
bounded by the parents.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import polars as pl
from typing_extensions import override

from controller.products.assembly import Again, Frames, Left, conform
from controller.products.presets.parts import Export, named
from controller.products.rules import NAMED_MAX

PARENT = "parent:"
"""Prefix of what a row knows of its parent."""
KEY = "_parent"


class Families(Export):
    """Rows of variants and their parents. For one read."""

    ROW_LOCAL: ClassVar = False

    def __init__(self, available: Sequence[str], fields: Mapping[str, pl.Expr], what_is_left: str) -> None:
        super().__init__(available, fields, Left("not-sellable", what_is_left, NAMED_MAX))

    @override
    def frames(self, blocks: Frames, again: Again) -> Iterator[pl.DataFrame]:
        found = [self._parents(conform(block, self._available)) for block in again()]
        parents = pl.concat(found, how="vertical").unique(KEY, keep="first", maintain_order=True) if found else None
        for block in blocks:
            rows = self._keyed(conform(block, self._available))
            if parents is not None:
                rows = rows.join(parents, on=KEY, how="left", maintain_order="left")
            rows = self._inherited(rows)
            sellable = rows.select(self._sellable().fill_null(value=False)).to_series()
            self._leave_out(rows.get_column(self._name()).filter(~sellable))
            yield rows.filter(sellable).with_columns(named(self._fields)).select(*self.columns, *self._private(block))

    def _private(self, block: pl.DataFrame) -> list[str]:
        return [name for name in block.columns if name.startswith("_") and name not in self._available]

    @abstractmethod
    def _parents(self, block: pl.DataFrame) -> pl.DataFrame:
        """Parents of a block: `_parent`, by which a child finds it, and what children take from it."""

    @abstractmethod
    def _keyed(self, block: pl.DataFrame) -> pl.DataFrame:
        """Add `_parent` to each row: how it finds its parent, null where it has none."""

    @abstractmethod
    def _inherited(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Fill what a child leaves blank."""

    @abstractmethod
    def _sellable(self) -> pl.Expr: ...

    @abstractmethod
    def _name(self) -> str:
        """Column that names a row to people."""
