"""Both sides of one partition, compared range by range of ids: as much at once as fits into memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import polars as pl

from controller.ports.preparing import Partition, RefreshHead
from controller.preparing.comparing import (
    OPEN_ROWS_MAX,
    OPEN_ROWS_MIN,
    OPEN_SHARE_MAX,
    Compared,
    looked,
    pending_of,
    resting_of,
)
from controller.preparing.heads import scan_snapshot
from controller.preparing.kept import kept
from controller.preparing.row_state import desired_of
from controller.preparing.slicing import Scratch, Sliced
from controller.products.compare import DeparturePolicy, as_counts, compare, summed
from controller.products.fields import ID
from controller.products.open_rows import AtRest, Sides, apart, to_table
from controller.products.partition import PARTITION
from controller.products.tables import NARROW, SNAPSHOT
from controller.stores.local import LocalStore


def sides_of(store: LocalStore, refresh: RefreshHead | None, document: Partition) -> dict[str, pl.LazyFrame]:
    """What source and Meta say, not yet read. A partition that the refresh does not know has no rows."""
    desired = desired_of(store, refresh, document.index) if refresh is not None else None
    return {
        "desired": desired.select(*NARROW) if desired is not None else pl.LazyFrame(schema=NARROW),
        "snapshot": scan_snapshot(store, document.snapshot),
        "payload": kept(store, document.payload).ids(),
    }


def tables_of(sides: Sides) -> dict[str, pl.LazyFrame]:
    """Rows that are in memory, as `sides_of` has them."""
    return {
        "desired": sides.desired.lazy().select(*NARROW),
        "snapshot": sides.snapshot.lazy().select(*SNAPSHOT),
        "payload": sides.payload_ids.lazy().select(ID),
    }


def ranges(tables: Mapping[str, pl.LazyFrame], index: int, scratch: Scratch, slice_rows: int) -> Iterator[Sides]:
    """Yield both sides of one partition. Ranges ascend by id."""
    here = pl.lit(index, dtype=pl.UInt16).alias(PARTITION)
    for rows in Sliced(tables, scratch.directory(f"sides-{index:03}"), slice_rows):
        yield Sides(*(rows[name].with_columns(here) for name in ("desired", "snapshot", "payload")))


def compared(sides: Sides, departures: pl.DataFrame, policy: DeparturePolicy, now: datetime) -> pl.LazyFrame:
    return compare(sides.desired, sides.snapshot, departures, sides.payload_ids, policy, now)


def compared_all(
    pieces: Iterable[Sides],
    departures: pl.DataFrame,
    partitions: Sequence[Partition],
    policy: DeparturePolicy,
    now: datetime,
    *,
    keep_open: bool,
) -> Compared:
    """Do as `comparing.compared` does, piece by piece. All rows of a partition's id are in one piece."""
    tallies: list[pl.DataFrame] = []
    tables: list[pl.DataFrame] = []
    uncounted: dict[int, AtRest] = {}
    resting: dict[int, AtRest] = {}
    restless = 0
    for both in pieces:
        sides, rest = apart(both, departures)
        uncounted = resting_of(uncounted, rest, partitions)
        tally, marked = looked(sides, departures, policy, now)
        tallies.append(tally)
        if keep_open:
            resting = resting_of(resting, pl.concat([rest, marked.filter("rest").select(rest.columns)]), partitions)
            open_ = marked.filter(~pl.col("rest"))
            restless += open_.height
            if restless <= OPEN_ROWS_MAX:
                tables.append(to_table(sides, open_))
            else:
                tables.clear()
    counts = as_counts(summed(tallies))
    total = restless + sum(each.rows for each in resting.values())
    few = keep_open and restless <= min(max(total * OPEN_SHARE_MAX, OPEN_ROWS_MIN), OPEN_ROWS_MAX)
    return Compared(
        pending_of(counts, partitions, uncounted), pl.concat(tables) if few else None, resting if few else {}
    )
