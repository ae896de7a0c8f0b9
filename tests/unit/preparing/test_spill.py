"""Rows that do not fit one block wait on the disk and arrive whole, in order, where they belong."""

from pathlib import Path

import polars as pl
import pytest

from controller.preparing.row_state import desired_of
from controller.preparing.spill import ORDER, Spill, sink
from tests.unit.preparing.world import World, product, split


def frame(first: int, last: int) -> pl.DataFrame:
    numbers = range(first, last)
    return pl.DataFrame({"id": [f"{each:05}" for each in numbers], "title": [f"t{each}" for each in numbers]})


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("rows", [100, 20_000])
@pytest.mark.parametrize("held_bytes_max", [0, 1 << 30])
def test_every_chosen_row_reaches_its_table_in_order(
    tmp_path: Path, blocks: int, partitions: int, rows: int, held_bytes_max: int
) -> None:
    with Spill(tmp_path, held_bytes_max) as spill:
        numbered = pl.concat([spill.add(frame(each * rows, each * rows + rows)) for each in range(blocks)])
        assert numbered.get_column(ORDER).to_list() == list(range(blocks * rows))
        chosen = numbered.filter(pl.col(ORDER) % 3 != 0).with_columns(
            _partition=(pl.col(ORDER) // 2 % partitions).cast(pl.UInt16)
        )
        targets = {index: tmp_path / f"{index}.parquet" for index in range(partitions + (partitions > 1))}
        sink(spill.rows(), chosen, ORDER, targets, tmp_path)
    for index, path in targets.items():
        expected = chosen.filter(pl.col("_partition") == index).select("id", "title")
        assert pl.read_parquet(path).equals(expected)
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(path.name for path in targets.values())


def test_a_source_of_several_blocks(tmp_path: Path) -> None:
    world = World(tmp_path, partitions=3)
    rows = [product(f"{number:05}", description="x" * 900) for number in range(24_000)]
    rows[7_000]["price"] = "broken"
    world.offer([*rows, product("00003", title="again")])
    result = world.refresh()
    assert result.head is not None
    assert (result.head.rows, result.head.valid, result.head.invalid) == (24_001, 23_999, 2)
    found = [desired_of(world.store, result.head, each.index) for each in result.head.partitions]
    tables = [each.collect() for each in found if each is not None]
    assert [table.height for table in tables] == [each.rows for each in result.head.partitions]
    whole = pl.concat(tables).sort("id")
    assert whole.get_column("id").to_list() == [row["id"] for row in rows if row["id"] != "07000"]
    assert whole.select("id", "_line").filter(pl.col("id") == "10000").item(0, "_line") == 10_002
    assert "_rejected" not in whole.columns
    assert list((world.store.root / ".spool").iterdir()) == []
    world.partitions = split(2)
    moved = world.refresh(read=False)
    assert moved.head is not None
    assert [each.index for each in moved.head.partitions] == [0, 1]
    assert sum(each.rows for each in moved.head.partitions) == 23_999
