"""The state that the ledger names, as frames: what steps read first and write last."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

import polars as pl

from controller.ports.preparing import GuardPolicy, Partition, RefreshHead
from controller.preparing.kept import kept_ids
from controller.preparing.manifests import SnapshotManifest, is_manifest, read_snapshot_manifest, verified
from controller.preparing.objects import (
    read_metadata,
    read_or_empty,
    reading,
    rows_in,
    scan_or_empty,
    table_key,
    write_table,
)
from controller.products.compare import DeparturePolicy
from controller.products.departures import Generations
from controller.products.fields import ID
from controller.products.partition import PARTITION
from controller.products.tables import DEPARTURES, SNAPSHOT, Kind
from controller.stores.local import LocalStore

MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Heads:
    """What Meta acknowledged, for some partitions together; `_partition` says which a row belongs to."""

    snapshot: pl.DataFrame
    payload_ids: pl.DataFrame

    @classmethod
    def load(cls, store: LocalStore, documents: Iterable[Partition]) -> "Heads":
        ordered = sorted(documents, key=lambda each: each.index)
        snapshots = [in_partition(snapshot_rows(store, each.snapshot), each.index) for each in ordered]
        payloads = [in_partition(kept_ids(store, each.payload), each.index) for each in ordered]
        return cls(pl.concat(snapshots), pl.concat(payloads))


def scan_snapshot(store: LocalStore, key: str | None) -> pl.LazyFrame:
    """What Meta acknowledged, however it is kept, not yet read."""
    if key is not None and is_manifest(key):
        return scan_parts(store, read_snapshot_manifest(store, key))
    return scan_or_empty(store, key, SNAPSHOT)


def scan_parts(store: LocalStore, manifest: SnapshotManifest) -> pl.LazyFrame:
    """Rows of a snapshot that is kept in parts."""
    base = scan_or_empty(store, verified(store, manifest.base).key, SNAPSHOT)
    if manifest.later is None:
        return base
    later = scan_or_empty(store, verified(store, manifest.later).key, SNAPSHOT)
    return pl.concat([base.join(later.select(ID), on=ID, how="anti", maintain_order="left"), later])


def check_snapshot(store: LocalStore, key: str | None) -> None:
    """Refuse a lost snapshot where its rows are not read."""
    scan_snapshot(store, key)


def snapshot_height(store: LocalStore, key: str | None) -> int:
    """At most how many rows a snapshot has."""
    if key is None:
        return 0
    if not is_manifest(key):
        return rows_in(store, key)
    manifest = read_snapshot_manifest(store, key)
    return manifest.base.rows + (manifest.later.rows if manifest.later else 0)


def snapshot_rows(store: LocalStore, key: str | None) -> pl.DataFrame:
    """What Meta acknowledged, however it is kept."""
    with reading():
        return scan_snapshot(store, key).collect()


def in_partition(table: pl.DataFrame, index: int) -> pl.DataFrame:
    return table.with_columns(pl.lit(index, dtype=pl.UInt16).alias(PARTITION))


def no_texts() -> pl.DataFrame:
    """Complete rows, where there are none."""
    return pl.DataFrame(schema={ID: pl.String, "_group_hash": pl.UInt64, "_static_hash": pl.UInt64})


def policy_of(guard: GuardPolicy) -> DeparturePolicy:
    return DeparturePolicy(guard.grace, guard.out_of_stock_first)


@dataclass(frozen=True, slots=True)
class Memory:
    """What a refresh leaves for the next look at the same rows. It stands in the metadata of the departures."""

    generations: Generations = field(default_factory=Generations)
    rejected: str | None = None
    """Table of the rows that failed our checks."""
    complete: bool = True
    """False: the read met rows without a readable id, or had to skip some; then nothing counts as gone."""


def departures_of(store: LocalStore, refresh: RefreshHead | None) -> pl.DataFrame:
    return read_or_empty(store, refresh.departures if refresh is not None else None, DEPARTURES)


def memory_of(store: LocalStore, refresh: RefreshHead | None) -> Memory:
    if refresh is None or refresh.departures is None:
        return Memory()
    stored = json.loads(read_metadata(store, refresh.departures)[MEMORY])
    generations = Generations(tuple((int(number), str(digest)) for number, digest in stored["generations"]))
    return Memory(generations, stored["rejected"], bool(stored["complete"]))


def write_departures(store: LocalStore, prefix: str, table: pl.DataFrame, memory: Memory) -> str:
    document = {
        "generations": memory.generations.digests,
        "rejected": memory.rejected,
        "complete": memory.complete,
    }
    return write_table(store, table_key(prefix, Kind.DEPARTURES, "all"), table, {MEMORY: json.dumps(document)})
