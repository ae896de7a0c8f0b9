"""What is compared: everything, or only what is not at rest, and what a comparison leaves for the next one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import polars as pl

from controller.ports.preparing import Partition, Pending, RefreshHead
from controller.preparing.context import Context
from controller.preparing.heads import Heads, in_partition
from controller.preparing.kept import kept_ids
from controller.preparing.manifests import (
    Open,
    Part,
    RowsManifest,
    Settled,
    is_manifest,
    manifest_of,
    part_of,
    read_snapshot_manifest,
    verified,
)
from controller.preparing.objects import read_or_empty, read_table, table_key, write_table
from controller.products.compare import (
    Counts,
    DeparturePolicy,
    as_counts,
    at_rest,
    compare,
    summed,
    tallied,
    tallied_new,
)
from controller.products.fields import ID
from controller.products.open_rows import (
    AtRest,
    Sides,
    apart,
    at_rest_after,
    from_table,
    snapshot_at_rest,
    to_table,
    without,
)
from controller.products.partition import PARTITION
from controller.products.tables import NARROW, Kind
from controller.stores.local import LocalStore

OPEN_SHARE_MAX = 0.25
"""Of all rows. When more are not at rest, keeping them apart would save nothing."""
OPEN_ROWS_MIN = 1_000
"""So few are always kept apart."""
OPEN_ROWS_MAX = 1_000_000
"""More are not kept apart, because they are taken into memory together."""
_KEY = (ID, PARTITION)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Both sides of a comparison, without the rows that are at rest."""

    sides: Sides
    resting: Mapping[int, AtRest]
    """By partition; empty where everything is in `sides`."""

    @property
    def whole(self) -> bool:
        return not self.resting


def everything(desired: pl.DataFrame, heads: Heads) -> Inputs:
    return Inputs(Sides(desired, heads.snapshot, heads.payload_ids), {})


def but_at_rest(
    pieces: Iterable[Inputs], departures: pl.DataFrame, partitions: Sequence[Partition], rows_max: int
) -> Inputs | None:
    """Keep what is not at rest of both sides, or return None where that is more than `rows_max`.

    All rows of an id are in one piece. `departures` as the last refresh left them.
    """
    left: list[Sides] = []
    resting: dict[int, AtRest] = {}
    rows = 0
    for piece in pieces:
        sides, rest = apart(piece.sides, departures)
        rows += max(sides.desired.height, sides.snapshot.height)
        if rows > rows_max:
            return None
        left.append(sides)
        resting = resting_of(resting, rest, partitions)
    sides = Sides(
        pl.concat([each.desired for each in left]),
        pl.concat([each.snapshot for each in left]),
        pl.concat([each.payload_ids for each in left]),
    )
    return Inputs(sides, resting if any(each.rows for each in resting.values()) else {})


def open_inputs(store: LocalStore, manifest: RowsManifest | None, partitions: Sequence[Partition]) -> Inputs | None:
    """Return the rows that are not at rest, or None where that is not known of these rows and heads."""
    if manifest is None:
        return None
    resting: dict[int, AtRest] = {}
    tables: dict[str, tuple[Part, list[int]]] = {}
    for each in partitions:
        found = _open_of(store, manifest, each)
        if found is None:
            return None
        settled, part = found
        resting[each.index] = AtRest(settled.rows, settled.kept)
        tables.setdefault(part.key, (part, []))[1].append(each.index)
    frames = [
        read_table(store, verified(store, part).key).filter(pl.col(PARTITION).is_in(indices))
        for part, indices in tables.values()
    ]
    return Inputs(from_table(pl.concat(frames)), resting)


def _open_of(store: LocalStore, manifest: RowsManifest, partition: Partition) -> tuple[Settled, Part] | None:
    candidates = [manifest.open]
    if partition.snapshot is not None and is_manifest(partition.snapshot):
        candidates.append(read_snapshot_manifest(store, partition.snapshot).open)
    for each in candidates:
        if each is not None:
            settled = each.of(partition.index, manifest.identity, partition.snapshot, partition.payload)
            if settled is not None:
                return settled, each.table
    return None


def all_inputs(store: LocalStore, refresh: RefreshHead | None, partitions: Sequence[Partition]) -> Inputs:
    """Both sides as a whole."""
    return everything(desired_rows(store, refresh, partitions), Heads.load(store, partitions))


def desired_rows(store: LocalStore, refresh: RefreshHead | None, partitions: Iterable[Partition]) -> pl.DataFrame:
    """What the source wants, by its narrow columns; partitions that the refresh does not know have no rows."""
    keys = {each.index: each.desired for each in refresh.partitions} if refresh is not None else {}
    manifest = manifest_of(store, refresh)
    frames = []
    for each in partitions:
        if manifest is not None and each.index in keys:
            from controller.preparing.row_state import scan_partition  # brings arrays along; mostly not needed

            narrow = scan_partition(store, manifest, each.index).select(*NARROW).collect()
        else:
            narrow = read_or_empty(store, keys.get(each.index), NARROW)
        frames.append(in_partition(narrow, each.index))
    return pl.concat(frames)


def moved_on(
    inputs: Inputs,
    changed: pl.DataFrame,
    before: pl.DataFrame,
    gone: pl.DataFrame,
    store: LocalStore,
    partitions: Sequence[Partition],
    sequence: int,
) -> Inputs:
    """Follow a change of the rows: `changed` rows as they are now, `before` as they were, and rows that are `gone`."""
    old = pl.concat([before.select(*NARROW, PARTITION), gone.select(*NARROW, PARTITION)])
    sides = inputs.sides
    stirred = old.join(sides.desired, on=_KEY, how="anti", maintain_order="left")
    moved = dict(stirred.group_by(PARTITION).len().iter_rows())
    resting = {index: AtRest(rest.rows - moved.get(index, 0), rest.kept) for index, rest in inputs.resting.items()}
    kept = _kept(stirred, inputs.resting, store, partitions)
    return Inputs(
        Sides(
            pl.concat([without(without(sides.desired, changed), gone), changed.select(*NARROW, PARTITION)]),
            pl.concat([sides.snapshot, snapshot_at_rest(stirred, sequence)]),
            pl.concat([sides.payload_ids, kept]),
        ),
        resting,
    )


def _kept(
    rows: pl.DataFrame, resting: Mapping[int, AtRest], store: LocalStore, partitions: Sequence[Partition]
) -> pl.DataFrame:
    """Which of some rows that were at rest have a complete row kept."""
    sure = [index for index, rest in resting.items() if rest.kept]
    found = [rows.filter(pl.col(PARTITION).is_in(sure)).select(_KEY)]
    for each in partitions:
        rest = resting.get(each.index)
        if rest is not None and rest.kept is None and rest.rows:
            kept = in_partition(kept_ids(store, each.payload), each.index)
            found.append(rows.select(_KEY).join(kept, on=_KEY, how="semi"))
    return pl.concat(found)


@dataclass(frozen=True, slots=True)
class Compared:
    """Counts, and the rows that are not at rest."""

    pending: tuple[Pending, ...]
    open: pl.DataFrame | None
    """As `open_rows.to_table` makes it; None where they are too many, or nobody will ask."""
    resting: dict[int, AtRest]


def compared(
    inputs: Inputs,
    departures: pl.DataFrame,
    partitions: Sequence[Partition],
    policy: DeparturePolicy,
    now: datetime,
    *,
    keep_open: bool,
) -> Compared:
    """Compare, and count what each partition owes Meta."""
    sides = inputs.sides
    tally, marked = looked(sides, departures, policy, now)
    found = summed([tally])
    if not keep_open:
        return Compared(pending_of(as_counts(found), partitions, inputs.resting), None, {})
    resting = resting_of(inputs.resting, marked.filter("rest"), partitions)
    restless = marked.filter(~pl.col("rest"))
    total = restless.height + sum(each.rows for each in resting.values())
    few = restless.height <= min(max(total * OPEN_SHARE_MAX, OPEN_ROWS_MIN), OPEN_ROWS_MAX)
    table = to_table(sides, restless) if few else None
    return Compared(pending_of(as_counts(found), partitions, inputs.resting), table, resting)


def looked(
    sides: Sides, departures: pl.DataFrame, policy: DeparturePolicy, now: datetime
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return a tally as `tallied` makes it, and which rows are at rest."""
    if not (sides.snapshot.height or sides.payload_ids.height or departures.height):
        return tallied_new(sides.desired), sides.desired.select(
            *_KEY, has_payload=pl.lit(value=False), rest=pl.lit(value=False)
        )
    plan = compare(sides.desired, sides.snapshot, departures, sides.payload_ids, policy, now)
    flags = plan.select(*_KEY, "has_payload", rest=at_rest())
    tally, marked = pl.collect_all([tallied(plan), flags])
    return tally, marked


def resting_of(before: Mapping[int, AtRest], rest: pl.DataFrame, partitions: Sequence[Partition]) -> dict[int, AtRest]:
    more = {
        index: (count, kept)
        for index, count, kept in rest.group_by(PARTITION)
        .agg(pl.len(), pl.col("has_payload").sum().alias("kept"))
        .iter_rows()
    }
    return {
        each.index: at_rest_after(before.get(each.index, AtRest()), *more.get(each.index, (0, 0)))
        for each in partitions
    }


def pending_of(
    found: Mapping[int, Counts], partitions: Sequence[Partition], resting: Mapping[int, AtRest]
) -> tuple[Pending, ...]:
    listed = []
    for index in sorted(each.index for each in partitions):
        counts = asdict(found[index]) if index in found else {}
        rest = resting.get(index, AtRest()).rows
        for name in ("items_at_meta", "acknowledged"):
            counts[name] = counts.get(name, 0) + rest
        listed.append(Pending(index=index, **counts))
    return tuple(listed)


def keep_open(
    context: Context, prefix: str, found: Compared, rows: str, partitions: Sequence[Partition]
) -> Open | None:
    """Write the rows that are not at rest. `partitions` with the heads that were compared."""
    if found.open is None:
        return None
    key = write_table(context.store, table_key(prefix, Kind.OPEN, "all"), found.open)
    settled = tuple(
        Settled(each.index, each.snapshot, each.payload, found.resting[each.index].rows, found.resting[each.index].kept)
        for each in partitions
    )
    return Open(rows, part_of(context.store, key, found.open.height), settled)
