"""What a refresh knows of rows, however they were read: their tables, their places, the head that stands for them."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from controller.api.v1alpha1.items import ItemsEntry, RejectedRows
from controller.ports.preparing import (
    PartitionDesired,
    RefreshHead,
    RefreshRequest,
)
from controller.ports.sources import Version
from controller.preparing.both_sides import (
    Everything,
)
from controller.preparing.comparing import (
    Inputs,
)
from controller.preparing.context import Context
from controller.preparing.manifests import RowsManifest
from controller.preparing.objects import reading, table_key
from controller.preparing.ranges import scan_desired, scan_heads
from controller.preparing.row_tables import NOWHERE
from controller.products import partition
from controller.products.fields import ID
from controller.products.partition import SlotRange
from controller.products.rules import RuleFinding
from controller.products.tables import Kind

SUPERSEDED_MAX = 16


@dataclass(frozen=True, slots=True)
class Seen:
    """Which bytes were read."""

    digest: str
    version: Version


@dataclass(frozen=True, slots=True)
class Rows:
    """What the source wants, wherever it came from, and the head that will stand for it."""

    inputs: Inputs | Everything
    stays: pl.DataFrame
    findings: list[RuleFinding]
    rejected: str | None
    complete: bool
    head: RefreshHead
    manifest: RowsManifest | None
    """To be written once it is known what is not at rest; None where the head names what stands for the rows."""
    looked: bool = True
    """False: the full source was not looked at, so nothing more is known of what it lacks."""


def head_of(
    request: RefreshRequest,
    seen: Seen,
    named: tuple[PartitionDesired, ...],
    rows: int,
    valid: int,
    findings: str,
) -> RefreshHead:
    previous = request.previous
    before = (previous.digest, *previous.superseded_digests) if previous else ()
    superseded = dict.fromkeys(each for each in before if each != seen.digest)
    return RefreshHead(
        sequence=request.sequence,
        read_at=request.now,
        digest=seen.digest,
        etag=seen.version.etag,
        last_modified=seen.version.last_modified,
        configuration_digest=request.configuration_digest,
        partitions=named,
        departures=previous.departures if previous else None,
        findings=findings,
        superseded_digests=tuple(superseded)[:SUPERSEDED_MAX],
        rows=rows,
        valid=valid,
        invalid=rows - valid,
    )


def stays_of(entry: ItemsEntry, rejected: pl.DataFrame) -> pl.DataFrame:
    """Rejected ids that do not count as gone."""
    keeps = entry.rejected_rows is RejectedRows.KEEP_LAST_GOOD
    return rejected.filter(pl.col(ID).is_not_null()) if keeps else rejected.clear()


@contextlib.contextmanager
def targets_of(request: RefreshRequest, context: Context) -> Iterator[tuple[dict[int, str], dict[int, Path]]]:
    """Yield key and path of the table of each partition."""
    keys = {each.index: table_key(request.prefix, Kind.DESIRED, f"{each.index:03}") for each in request.partitions}
    with contextlib.ExitStack() as stack:
        yield keys, {index: stack.enter_context(context.store.creating(named)) for index, named in keys.items()}


def desired_partitions(keys: Mapping[int, str], found: npt.NDArray[np.uint16]) -> tuple[PartitionDesired, ...]:
    counts = np.bincount(found, minlength=NOWHERE)
    return tuple(PartitionDesired(index=index, desired=key, rows=int(counts[index])) for index, key in keys.items())


def known_homes(request: RefreshRequest, context: Context) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return where Meta holds items, and where the last refresh placed them, as far as those partitions exist."""
    if len(request.partitions) == 1:
        return partition.no_homes(), partition.no_homes()
    previous = request.previous
    known = {each.index for each in previous.partitions} if previous is not None else set()
    held = scan_heads(context.store, request.partitions)["snapshot"].filter("at_meta")
    earlier = sorted(each.index for each in request.partitions if each.index in known)
    placed = scan_desired(context.store, previous, earlier).rename({"_group_hash": "group_hash"}) if earlier else None
    with reading():
        return partition.hashed(held), partition.hashed(placed) if placed is not None else partition.no_homes()


def ranges_of(request: RefreshRequest) -> list[SlotRange]:
    return [SlotRange(each.index, each.slot_from, each.slot_to) for each in request.partitions]
