"""States made of several objects: read from the previous format, checked part by part, refused when newer."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from controller.faults import Fault
from controller.ports.preparing import Limits, Method
from controller.preparing.kept import kept, texts
from controller.preparing.manifests import (
    is_manifest,
    manifest_of,
    read_rows_manifest,
    read_snapshot_manifest,
)
from controller.preparing.objects import table_key, write_table
from controller.products.tables import Kind
from tests.unit.preparing.world import CATALOG, World, as_csv, guard, product

COUNT = 6_000
"""Enough for a snapshot to keep its base."""


def remembering(directory: Path, rows_min: int = 1) -> tuple[World, list[dict[str, str]]]:
    world = World(directory)
    world.limits = Limits(incremental_rows_min=rows_min)
    world.guard = guard(always_allow=100)
    rows = [product(f"{number:05}") for number in range(COUNT)]
    world.offer(as_csv(rows))
    world.refresh()
    world.send_full()
    return world, rows


def changed(world: World, rows: list[dict[str, str]], price: str) -> None:
    rows[7]["price"] = price
    world.offer(as_csv(rows))
    world.look()


def as_format_1(world: World) -> None:
    """Call everything as the previous release did: the same tables under names of version 1, kept rows with texts."""
    payload = with_copied_texts(world)
    world.partitions = (world.partitions[0].model_copy(update={"payload": payload}),)
    for path in list(world.store.root.rglob("*-v2-*.parquet")):
        shutil.copy(path, path.with_name(path.name.replace("-v2-", "-v1-")))
    assert world.head is not None
    text = world.head.model_dump_json().replace("-v2-", "-v1-")
    world.head = type(world.head).model_validate_json(text)
    world.partitions = tuple(
        type(each).model_validate_json(each.model_dump_json().replace("-v2-", "-v1-")) for each in world.partitions
    )


def with_copied_texts(world: World) -> str:
    """Write what is kept as the previous release did: one table with everything."""
    found = kept(world.store, world.partitions[0].payload)
    rows = pl.concat(texts(world.store, found, found.ids().collect()), how="diagonal").collect()
    assert rows.height == COUNT
    return write_table(world.store, table_key(f"{CATALOG}/0/before", Kind.PAYLOAD, "000"), rows.sort("id"))


def test_a_state_of_the_previous_format_is_taken_over(tmp_path: Path) -> None:
    world, rows = remembering(tmp_path, rows_min=10**9)
    as_format_1(world)
    before = world.partitions[0].snapshot
    assert before is not None
    assert "snapshot-v1-" in before
    world.limits = Limits(incremental_rows_min=1)
    changed(world, rows, "1 EUR")
    assert manifest_of(world.store, world.head) is not None
    world.send_batch()
    assert world.meta.items["00007"]["price"] == "1.00 EUR"
    key = world.partitions[0].snapshot
    assert key is not None
    manifest = read_snapshot_manifest(world.store, key)
    assert (manifest.base.key, manifest.later is not None) == (before, True)
    changed(world, rows, "2 EUR")
    world.send_batch()
    assert world.meta.items["00007"]["price"] == "2.00 EUR"
    assert world.look().pending[0].volatile == 0
    world.offer(as_csv(rows[1:]))
    world.look()
    assert world.send_full()[0].plan.unchanged == COUNT
    assert world.meta.items["00000"]["title"] == "Product 00000", "a row that is not in the source any more"
    assert is_manifest(world.partitions[0].payload)


def test_a_newer_manifest_is_refused_by_name(tmp_path: Path) -> None:
    world, _ = remembering(tmp_path)
    assert world.head is not None
    path = world.store.path(world.head.partitions[0].desired)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 3}))
    with pytest.raises(Fault) as caught:
        world.look()
    assert caught.value.reason == "SnapshotTooNew"


@pytest.mark.parametrize("damage", ["other bytes", "cut", "gone"])
@pytest.mark.parametrize("which", ["prints", "later prints", "open", "base", "later", "snapshot", "later snapshot"])
def test_a_damaged_part_is_a_lost_snapshot(tmp_path: Path, which: str, damage: str) -> None:
    world, rows = remembering(tmp_path)
    changed(world, rows, "1 EUR")
    world.send_batch()
    changed(world, rows, "3 EUR")
    assert world.head is not None
    named = world.partitions[0].snapshot
    assert named is not None
    assert is_manifest(named)
    held = read_rows_manifest(world.store, world.head.partitions[0].desired)
    snapshot = read_snapshot_manifest(world.store, named)
    parts = {
        "prints": held.prints,
        "later prints": held.later_prints,
        "open": held.open.table if held.open else None,
        "base": held.tables[0].part,
        "later": held.later[-1],
        "snapshot": snapshot.base,
        "later snapshot": snapshot.later,
    }
    part = parts[which]
    assert part is not None
    path = world.store.path(part.key)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content if damage == "other bytes" else content[:-1])
    with pytest.raises(Fault) as caught:
        read_of(world, rows, which)
    assert caught.value.reason == "SnapshotLost"


def read_of(world: World, rows: list[dict[str, str]], which: str) -> None:
    """Run the step that reads a part."""
    if which == "open":
        world.encode(Method.ITEMS_BATCH)
    elif "prints" in which:
        changed(world, rows, "4 EUR")
    else:
        world.encode(Method.REPLACE_FEED, 0)
