"""Rows are written while they are read, and stand where they belong in the end, whatever seemed to be at first."""

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.preparing.row_tables import NOWHERE, RowTables
from controller.preparing.spill import ORDER

PARTITIONS = (0, 2, 5)


class Seeming:
    """Homes that a test chose, by the number in the id."""

    def __init__(self, homes: list[int]) -> None:
        self._homes = np.array(homes, np.uint16)

    def place(self, rows: pl.DataFrame) -> npt.NDArray[np.uint16]:
        found: npt.NDArray[np.uint16] = self._homes[rows.get_column("id").cast(pl.Int64).to_numpy()]
        return found


def block(first: int, last: int, refused: set[int]) -> pl.DataFrame:
    numbers = list(range(first, last))
    rejected = ["broken" if each in refused else None for each in numbers]
    columns = {"id": list(map(str, numbers)), "title": [f"t{each}" for each in numbers], "_rejected": rejected}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


ROW = st.tuples(st.sampled_from(PARTITIONS), st.sampled_from([*PARTITIONS, None]), st.booleans())


@settings(max_examples=40, deadline=None)
@given(st.lists(ROW, max_size=24), st.integers(1, 24), st.sampled_from([PARTITIONS, (0,)]))
def test_every_accepted_row_reaches_its_table_in_order(
    rows: list[tuple[int, int | None, bool]], size: int, partitions: tuple[int, ...]
) -> None:
    several = len(partitions) > 1
    seeming = [home if several else 0 for home, _, _ in rows]
    settled = [None if refused or to is None else to if several else 0 for _, to, refused in rows]
    refused = {number for number, row in enumerate(rows) if row[2]}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        with RowTables(scratch, partitions, Seeming(seeming), lenient=False) as tables:
            starts = range(0, max(len(rows), 1), size)
            taken = pl.concat([tables.add(block(at, min(at + size, len(rows)), refused)) for at in starts])
            assert taken.get_column(ORDER).to_list() == list(range(len(rows)))
            fit = [home for home, row in zip(settled, rows, strict=True) if not row[2]]
            found = np.array([NOWHERE if home is None else home for home in fit], np.uint16)
            standing = tables.standing(found).select("id").collect().to_series().cast(pl.Int64)
            assert sorted(standing) == [at for at, home in enumerate(settled) if home is not None]
            assert sorted(tables.rows().select("id").collect().to_series().cast(pl.Int64)) == list(range(len(rows)))
            targets = {index: scratch / f"{index}.parquet" for index in partitions}
            tables.publish(found, targets)
        for index, path in targets.items():
            table = pl.read_parquet(path)
            assert table.columns == ["id", "title"]
            assert table.get_column("id").to_list() == [str(at) for at, home in enumerate(settled) if home == index]
        assert sorted(each.name for each in scratch.iterdir()) == sorted(each.name for each in targets.values())


def test_a_full_disk_is_told_where_rows_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    def fill(tables: RowTables) -> None:
        for at in range(0, 100, 10):
            tables.add(block(at, at + 10, set()))

    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", full)
    tables = RowTables(tmp_path, (0,), Seeming([0] * 100), lenient=False)
    with tables, pytest.raises(OSError, match="No space left"):
        fill(tables)
    assert list(tmp_path.iterdir()) == []
