"""What the pipeline does with an export, in a few lines: read, plan, shape, map, check."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from controller.api.v1alpha1.items import ItemsEntry
from controller.products import mapping, reading, rules
from controller.products.records import LINE, Findings
from controller.products.rules import REJECTED, RuleFinding
from controller.products.shapes import shape_of
from tests.unit.preparing.world import items_entry

EXPORTS = Path(__file__).parent / "exports"
BLOCK_BYTES = 1 << 20
LINE_BYTES_MAX = 1 << 20


class Export:
    """One read of an export."""

    def __init__(self, content: bytes, block_bytes: int = BLOCK_BYTES, **changes: Any) -> None:
        self._content = content
        self._block_bytes = block_bytes
        self.entry: ItemsEntry = items_entry(**changes)
        blocks = self._blocks()
        columns = [name for name in blocks[0].columns if name != LINE]
        self.plan = mapping.plan(self.entry, columns, blocks[0])
        shaped = list(self.plan.assembly.frames(blocks, self._blocks))
        applied = pl.concat([mapping.apply(frame, self.plan, keep=(LINE,)) for frame in shaped])
        normal = rules.normalise(applied, self.entry.currency, decimal_comma=self.plan.decimal_comma)
        self.rows, found = rules.check(normal, self.plan.rules())
        self.findings: list[RuleFinding] = [*found, *self.plan.assembly.findings()]

    def item(self, identity: str) -> dict[str, str]:
        """Fields of an item that have a value."""
        found = self.rows.filter(pl.col("id") == identity).row(0, named=True)
        return {name: value for name, value in found.items() if value is not None and not name.startswith("_")}

    @property
    def ids(self) -> list[str]:
        found: list[str] = self.rows.get_column("id").to_list()
        return found

    @property
    def rejected(self) -> dict[str, str]:
        return dict(self.rows.filter(pl.col(REJECTED).is_not_null()).select("id", REJECTED).iter_rows())

    def finding(self, rule: str) -> RuleFinding:
        (found,) = [each for each in self.findings if each.rule == rule]
        return found

    def _blocks(self) -> list[pl.DataFrame]:
        pieces = [self._content[at : at + self._block_bytes] for at in range(0, len(self._content), self._block_bytes)]
        shape = shape_of(self.entry.format, self._content)
        found = reading.read(pieces, shape, Findings(), line_bytes_max=LINE_BYTES_MAX, block_bytes=self._block_bytes)
        return list(found)


def export(name: str, declared: Mapping[str, Any], **changes: Any) -> Export:
    return Export((EXPORTS / name).read_bytes(), mapping=dict(declared), **changes)
