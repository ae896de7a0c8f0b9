"""What source and Meta say of everything, when that is more than fits into memory: compared range by range of ids.

`Everything` stands beside `comparing.Inputs`: both are taken piece by piece, and `Inputs` is one piece. Each piece
holds all rows of its ids, from whatever partition, so that results are the same however many pieces there are.
"""

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from controller.ports.preparing import Partition
from controller.preparing.comparing import Compared, Inputs, but_at_rest, compared, everything
from controller.preparing.heads import Heads
from controller.preparing.objects import reading
from controller.preparing.ranges import compared_all, scan_heads
from controller.preparing.slicing import Sliced
from controller.products.compare import DeparturePolicy
from controller.products.fields import ID
from controller.products.open_rows import Sides
from controller.products.partition import PARTITION
from controller.stores.local import LocalStore

SLICE_SHARE = 2
"""Ranges have so many times fewer rows than may be in memory at once: comparing needs room of its own."""
APART_SHARE = 1.5
"""Telling rows at rest from others needs less room than comparing: so many times more rows may be in memory for it."""


@dataclass(frozen=True, slots=True)
class Everything:
    """Both sides, not yet read, with `_partition`."""

    tables: Mapping[str, pl.LazyFrame]
    """`desired`, `snapshot` and `payload`."""
    slice_rows: int
    scratch: Path

    @contextlib.contextmanager
    def pieces(self) -> Iterator[Iterable[Inputs]]:
        """Yield the pieces; they may be gone through several times."""
        with tempfile.TemporaryDirectory(prefix="sides-", dir=self.scratch) as name:
            yield _Pieces(Sliced(self.tables, Path(name) / "dealt", self.slice_rows, stays=True))

    @property
    def at_meta(self) -> int:
        """Number of items that Meta holds."""
        with reading():
            return int(self.tables["snapshot"].select(pl.col("at_meta").sum()).collect().item())


class _Pieces:
    def __init__(self, sliced: Sliced) -> None:
        self._sliced = sliced

    def __iter__(self) -> Iterator[Inputs]:
        for rows in self._sliced:
            yield Inputs(Sides(rows["desired"], rows["snapshot"], rows["payload"]), {})


def at_meta_of(inputs: Inputs | Everything) -> int:
    if isinstance(inputs, Everything):
        return inputs.at_meta
    here = int(inputs.sides.snapshot.get_column("at_meta").sum())
    return here + sum(each.rows for each in inputs.resting.values())


@contextlib.contextmanager
def pieces_of(inputs: Inputs | Everything) -> Iterator[Iterable[Inputs]]:
    if isinstance(inputs, Everything):
        with inputs.pieces() as pieces:
            yield pieces
    else:
        yield (inputs,)


def height(table: pl.LazyFrame) -> int:
    with reading():
        return int(table.select(pl.len()).collect().item())


def both(
    store: LocalStore,
    desired: pl.LazyFrame,
    partitions: Sequence[Partition],
    departures: pl.DataFrame,
    rows_max: int,
    known: pl.DataFrame | None = None,
) -> Inputs | Everything:
    """Both sides, read where few rows are not at rest. `known`: the rows of `desired`, if they are in memory."""
    tables = {"desired": desired, **scan_heads(store, partitions)}
    rows = {name: height(table) for name, table in tables.items() if name != "desired" or known is None}
    most = max(*rows.values(), known.height if known is not None else 0)
    if most <= rows_max or (rows["snapshot"] and most <= rows_max * APART_SHARE):
        with reading():
            whole = everything(desired.collect() if known is None else known, Heads.load(store, partitions))
        found = but_at_rest([whole], departures, partitions, rows_max)
        if found is not None or most <= rows_max:
            return found or whole
    dealt = Everything(tables, max(rows_max // SLICE_SHARE, 1), store.spool_directory())
    if not rows["snapshot"]:
        return dealt
    with dealt.pieces() as pieces:
        return but_at_rest(pieces, departures, partitions, rows_max) or dealt


def compared_pieces(
    inputs: Inputs | Everything,
    pieces: Iterable[Inputs],
    departures: pl.DataFrame,
    partitions: Sequence[Partition],
    policy: DeparturePolicy,
    now: datetime,
    *,
    keep_open: bool,
) -> Compared:
    """Compare, and count what each partition owes Meta."""
    if isinstance(inputs, Inputs):
        return compared(inputs, departures, partitions, policy, now, keep_open=keep_open)
    sides = (each.sides for each in pieces)
    return compared_all(sides, departures, partitions, policy, now, keep_open=keep_open)


def misplaced(pieces: Iterable[Inputs]) -> bool:
    """Tell whether Meta holds an item elsewhere than the last refresh placed it."""
    return any(_misplaced(each.sides) for each in pieces)


def _misplaced(sides: Sides) -> bool:
    held = sides.snapshot.filter("at_meta").select(ID, held_at=PARTITION)
    both_ = sides.desired.select(ID, PARTITION).join(held, on=ID, how="inner", maintain_order="none")
    return bool(both_.select((pl.col(PARTITION) != pl.col("held_at")).any()).item())
