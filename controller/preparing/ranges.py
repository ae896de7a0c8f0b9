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
from controller.products.open_rows import AtRest, Sides, apart, to_table
from controller.products.partition import PARTITION
from controller.products.tables import NARROW
from controller.stores.local import LocalStore


def here(table: pl.LazyFrame, index: int) -> pl.LazyFrame:
    return table.with_columns(pl.lit(index, dtype=pl.UInt16).alias(PARTITION))


def scan_heads(store: LocalStore, partitions: Iterable[Partition]) -> dict[str, pl.LazyFrame]:
    """What Meta acknowledged and what is kept, not yet read."""
    ordered = sorted(partitions, key=lambda each: each.index)
    return {
        "snapshot": pl.concat([here(scan_snapshot(store, each.snapshot), each.index) for each in ordered]),
        "payload": pl.concat([here(kept(store, each.payload).ids(), each.index) for each in ordered]),
    }


def scan_desired(store: LocalStore, refresh: RefreshHead | None, indices: Iterable[int]) -> pl.LazyFrame:
    """What the source wants, not yet read; partitions that the refresh does not know have no rows."""
    frames = []
    for index in indices:
        found = desired_of(store, refresh, index) if refresh is not None else None
        frames.append(here(found.select(*NARROW) if found is not None else pl.LazyFrame(schema=NARROW), index))
    return pl.concat(frames)


def sides_of(store: LocalStore, refresh: RefreshHead | None, document: Partition) -> dict[str, pl.LazyFrame]:
    """What source and Meta say of one partition, not yet read."""
    return {"desired": scan_desired(store, refresh, [document.index]), **scan_heads(store, [document])}


def tables_of(sides: Sides) -> dict[str, pl.LazyFrame]:
    """Rows that are in memory, as `sides_of` has them."""
    return {"desired": sides.desired.lazy(), "snapshot": sides.snapshot.lazy(), "payload": sides.payload_ids.lazy()}


def ranges(tables: Mapping[str, pl.LazyFrame], index: int, scratch: Scratch, slice_rows: int) -> Iterator[Sides]:
    """Yield both sides of one partition. Ranges ascend by id."""
    for rows in Sliced(tables, scratch.directory(f"sides-{index:03}"), slice_rows):
        yield Sides(*(rows[name] for name in ("desired", "snapshot", "payload")))


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
