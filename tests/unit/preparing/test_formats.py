"""Every format through the whole of a refresh: the same products in any of them are the same items at Meta."""

import bz2
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import zstandard

from tests.unit.preparing.test_refresh import refused
from tests.unit.preparing.world import Row, World, as_csv, products

ROWS = products(30, title="Größe „x“, 'y' & <b>")


def as_tsv(rows: list[Row]) -> bytes:
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    return "\n".join(lines).encode() + b"\n"


def as_xml(rows: list[Row]) -> bytes:
    def text(value: str) -> str:
        return value.replace("&", "&amp;").replace("<", "&lt;")

    items = ("".join(f"<g:{name}>{text(value)}</g:{name}>" for name, value in row.items()) for row in rows)
    body = "\n".join(f"<item>{item}</item>" for item in items)
    return f'<rss xmlns:g="http://base.google.com/ns/1.0"><channel>{body}</channel></rss>'.encode()


def as_parquet(rows: list[Row]) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(rows).write_parquet(buffer)
    return buffer.getvalue()


def as_zip(rows: list[Row]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("products.csv", as_csv(rows))
    return buffer.getvalue()


FORMATS: dict[str, Callable[[list[Row]], bytes]] = {
    "csv": as_csv,
    "csv with a comment": lambda rows: b"# made by a shop\n" + as_csv(rows),
    "tsv": as_tsv,
    "json lines": lambda rows: "\n".join(map(json.dumps, rows)).encode() + b"\n",
    "json": lambda rows: json.dumps(rows, indent=1).encode(),
    "rss": as_xml,
    "parquet": as_parquet,
    "gzip": lambda rows: gzip.compress(as_csv(rows)),
    "zip": as_zip,
    "bzip2": lambda rows: bz2.compress(as_xml(rows)),
    "zstd": lambda rows: zstandard.compress(as_csv(rows)),
    "utf-16": lambda rows: as_csv(rows).decode().encode("utf-16"),
    "windows-1252": lambda rows: as_csv(rows).decode().encode("cp1252"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_products_in_any_format_are_the_same_items(tmp_path: Path, name: str) -> None:
    world = World(tmp_path)
    world.offer(FORMATS[name](ROWS))
    result = world.refresh()
    assert result.refused is None
    world.send_full()
    assert world.meta.items == {row["id"]: row for row in ROWS}
    assert [each.rule for each in result.checks if each.level == "Error"] == []
    assert ("encoding-guessed" in {each.rule for each in result.checks}) is (name == "windows-1252")


WITHOUT_AN_END = {"csv", "csv with a comment", "tsv", "utf-16", "windows-1252"}


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in WITHOUT_AN_END])
def test_a_cut_file_leaves_the_last_good_state_in_force(tmp_path: Path, name: str) -> None:
    world = World(tmp_path)
    world.offer(FORMATS[name](ROWS))
    world.refresh()
    world.send_full()
    before = world.head
    world.offer(FORMATS[name](ROWS)[:-7])
    result = world.look()
    assert refused(result) == "SourceMalformed"
    assert result.refused is not None
    assert "cut short" in result.refused.message
    assert world.head == before


def test_a_csv_that_ends_in_the_middle_of_a_line_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.offer(ROWS)
    world.refresh()
    world.send_full()
    world.offer(as_csv(ROWS)[:-60])
    result = world.look()
    assert refused(result) == "SourceMalformed"
    assert result.refused is not None
    assert "line 31 has" in result.refused.message


def test_a_column_that_vanishes_refuses_the_read_where_it_is_required(tmp_path: Path) -> None:
    world = World(tmp_path, evidence={"requiredColumns": ["sale_price"]})
    world.offer(products(3, sale_price="1.00 EUR"))
    assert world.refresh().refused is None
    world.offer(products(3))
    assert refused(world.look()) == "SourceMalformed"


def test_nested_fields_are_mapped_by_their_path(tmp_path: Path) -> None:
    rows = [{**row, "price": {"text": "9.99 EUR"}, "variants": [{"sku": row["id"]}], "id": "x"} for row in ROWS]
    mapping = {"columns": [{"field": "id", "column": "variants.0.sku"}, {"field": "price", "column": "price.text"}]}
    world = World(tmp_path, mapping=mapping, format={"rowsAt": "data.products"})
    world.offer(json.dumps({"data": {"products": rows}}).encode())
    assert world.refresh().refused is None
    world.send_full()
    assert world.meta.items == {row["id"]: row for row in ROWS}


BROKEN: dict[str, tuple[bytes, bytes]] = {
    "csv": (b"\n00002,", b'\nbad,"never closed,c\n00002,'),
    "json lines": (b'\n{"id": "00002"', b'\n{"id": "bad\n{"id": "00002"'),
    "json": (b' {\n  "id": "00002"', b' {"id": "bad", "title": ]},\n {\n  "id": "00002"'),
    "rss": (b"<item><g:id>00002<", b"<item><g:id>bad<g:title></item>\n<item><g:id>00002<"),
}
"""Where a broken row is put, and what stands there then."""


@pytest.mark.parametrize("name", BROKEN)
def test_while_a_row_is_broken_nothing_counts_as_gone(tmp_path: Path, name: str) -> None:
    world = World(tmp_path)
    world.offer(FORMATS[name](ROWS))
    world.refresh()
    world.send_full()
    before, after = BROKEN[name]
    remaining = FORMATS[name](ROWS[:5])
    assert before in remaining
    world.offer(remaining.replace(before, after, 1))
    for _ in range(3):
        result = world.look()
        assert result.refused is None
        assert (result.watching, result.newly_leaving) == (0, 0)
        assert "row-malformed" in {each.rule for each in result.checks}
    assert len(world.meta.items) == len(ROWS)
    world.offer(remaining)
    assert world.look().watching == len(ROWS) - 5
