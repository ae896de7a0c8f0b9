"""From a spooled file to frames: every format, columns first, encodings settled, Parquet to text."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from controller.api.v1alpha1.items import FileFormat
from controller.faults import Fault
from controller.products.records import LINE, Findings
from controller.sources import readers
from controller.sources.spool import Spool

LINE_MAX = 5_242_880


def rows_of(
    directory: Path, content: bytes, **declared: str
) -> tuple[tuple[str, ...], list[dict[str, object]], Findings, Spool]:
    findings = Findings()
    chosen = FileFormat.model_validate(declared)
    with Spool(directory, 1 << 30) as spooled:
        spooled.fill([content])
        spooled.settle(chosen)
        opened = readers.open_rows(readers.shape(chosen, spooled), spooled, findings, LINE_MAX)
        frames = list(opened.frames)
        return opened.columns, pl.concat(frames, how="diagonal").to_dicts(), findings, spooled


def plain(rows: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    return [{name: value for name, value in row.items() if name != LINE} for row in rows]


TEXT = "id,title\n007,Größe\n008,Füße\n"


@pytest.mark.parametrize("written", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_text_in_any_encoding_gives_the_same_rows(tmp_path: Path, written: str) -> None:
    columns, rows, findings, spooled = rows_of(tmp_path, (TEXT * 1).encode(written))
    assert columns == ("id", "title")
    assert plain(rows) == [{"id": "007", "title": "Größe"}, {"id": "008", "title": "Füße"}]
    assert findings.complete
    assert spooled.encoding.guessed is (written == "cp1252")


def test_a_declared_encoding_is_taken_at_its_word(tmp_path: Path) -> None:
    _, rows, _, spooled = rows_of(tmp_path, "id,title\n1,žluťoučký\n".encode("cp1250"), encoding="windows-1250")
    assert rows[0]["title"] == "žluťoučký"
    assert not spooled.encoding.guessed


def test_old_line_ends_are_line_ends(tmp_path: Path) -> None:
    _, rows, _, _ = rows_of(tmp_path, b"id,title\r1,a\r2,b\r")
    assert plain(rows) == [{"id": "1", "title": "a"}, {"id": "2", "title": "b"}]


def test_xml_says_its_encoding(tmp_path: Path) -> None:
    content = '<?xml version="1.0" encoding="ISO-8859-1"?><rss><channel><item><id>1</id><t>ä</t></item></channel></rss>'
    _, rows, _, _ = rows_of(tmp_path, content.encode("latin-1"))
    assert plain(rows) == [{"id": "1", "t": "ä"}]


def test_a_large_file_names_all_its_columns_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "KEPT_BYTES_MAX", 10)
    content = b'{"id":"1"}\n{"id":"2","late":"x"}\nbroken\n'
    columns, rows, findings, _ = rows_of(tmp_path, content)
    assert columns == ("id", "late")
    assert [row["late"] for row in rows] == [None, "x"]
    assert findings.bad_rows == 1


def test_declared_formats_are_not_looked_for(tmp_path: Path) -> None:
    columns, _, _, _ = rows_of(tmp_path, b"a;b,c\n1;2,3\n", type="CSV", delimiter=";")
    assert columns == ("a", "b,c")
    columns, _, _, _ = rows_of(tmp_path, b"a,b\tc\n1,2\t3\n", type="TSV")
    assert columns == ("a,b", "c")
    columns, rows, _, _ = rows_of(tmp_path, b'{"d":{"rows":[{"a":1}]}}', rowsAt="d.rows")
    assert columns == ("a",)
    columns, rows, _, _ = rows_of(tmp_path, b"<x><y><a>1</a></y></x>", type="XML", rowsAt="x.y")
    assert plain(rows) == [{"a": "1"}]


def test_a_required_column_that_is_missing_refuses_the_read() -> None:
    readers.require(("id", "price"), ("price",))
    with pytest.raises(Fault) as caught:
        readers.require(("id", "title"), ("price", "sale_price"))
    assert "'price', 'sale_price'" in caught.value.message
    assert "evidence.requiredColumns" in caught.value.message


class TestParquet:
    FRAME = pl.DataFrame(
        {
            "id": ["007", "SKU-1"],
            "price": [Decimal("9.90"), Decimal("1234567890.10")],
            "count": [12345678901234567, None],
            "ratio": [0.1, 1e20],
            "small": pl.Series([9.9, 0.1], dtype=pl.Float32),
            "ok": [True, None],
            "day": [date(2026, 1, 2), None],
            "at": [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), None],
            "raw": [b"bytes", None],
            "amount": [{"value": 5, "unit": {"code": "EUR"}}, None],
            "images": [["a", "b"], []],
            "variants": [[{"sku": "x", "n": 1}], None],
        }
    )

    def read(self, tmp_path: Path, frame: pl.DataFrame, group: int | None = None) -> list[dict[str, object]]:
        frame.write_parquet(tmp_path / "x.parquet", row_group_size=group)
        _, rows, findings, _ = rows_of(tmp_path, (tmp_path / "x.parquet").read_bytes())
        assert findings.complete
        return rows

    def test_every_value_is_text_with_its_digits(self, tmp_path: Path) -> None:
        first, second = self.read(tmp_path, self.FRAME)
        expected = {
            "id": "007", "price": "9.90", "count": "12345678901234567", "ratio": "0.1", "small": "9.9", "ok": "true",
            "day": "2026-01-02", "raw": "bytes", "amount.value": "5", "amount.unit.code": "EUR", "images.0": "a",
            "images.1": "b", "variants.0.sku": "x", "variants.0.n": "1", LINE: 1,
        }  # fmt: skip
        assert {name: first[name] for name in expected} == expected
        assert str(first["at"]).startswith("2026-01-02T03:04:05")
        assert json.loads(str(first["amount"])) == {"value": 5, "unit": {"code": "EUR"}}
        assert json.loads(str(first["images"])) == ["a", "b"]
        assert json.loads(str(first["variants"])) == [{"sku": "x", "n": 1}]
        assert (second["price"], second["count"], second["ok"], second["amount"]) == ("1234567890.10", None, None, None)
        assert all(value is None or isinstance(value, str) or name == LINE for name, value in first.items())

    def test_row_groups_follow_each_other(self, tmp_path: Path) -> None:
        frame = pl.DataFrame({"id": [f"{number:06}" for number in range(70_000)]})
        rows = self.read(tmp_path, frame, group=9_000)
        assert [row["id"] for row in rows] == frame.get_column("id").to_list()
        assert [row[LINE] for row in rows] == list(range(1, 70_001))

    def test_an_empty_file_has_columns(self, tmp_path: Path) -> None:
        self.FRAME.clear().write_parquet(tmp_path / "x.parquet")
        columns, rows, _, _ = rows_of(tmp_path, (tmp_path / "x.parquet").read_bytes())
        assert columns[:2] == ("id", "price")
        assert rows == []

    @pytest.mark.parametrize("cut", [1, 8, 200])
    def test_a_cut_file_is_refused(self, tmp_path: Path, cut: int) -> None:
        self.FRAME.write_parquet(tmp_path / "x.parquet")
        with pytest.raises(Fault, match="cannot be read, or was cut short"):
            rows_of(tmp_path, (tmp_path / "x.parquet").read_bytes()[:-cut])

    def test_damaged_pages_refuse_the_file(self, tmp_path: Path) -> None:
        frame = pl.DataFrame({"id": [f"{number:06}" for number in range(20_000)]})
        frame.write_parquet(tmp_path / "x.parquet", compression="zstd")
        content = bytearray((tmp_path / "x.parquet").read_bytes())
        content[100:200] = bytes(100)
        with pytest.raises(Fault, match="Parquet"):
            rows_of(tmp_path, bytes(content))


def test_frames_that_wait_on_the_disk_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = "".join(f"<item><id>{number}</id><t{number % 3}>ä</t{number % 3}></item>\n" for number in range(50))
    content = f"<rss>{items}<item>broken</rss>".encode()
    columns, rows, findings, _ = rows_of(tmp_path, content)
    monkeypatch.setattr(readers, "KEPT_BYTES_MAX", 100)
    again, waited, found, _ = rows_of(tmp_path, content)
    assert (again, waited, found) == (columns, rows, findings)
    assert len(waited) == 50
    assert set(columns) == {"id", "t0", "t1", "t2"}
    assert not found.complete
