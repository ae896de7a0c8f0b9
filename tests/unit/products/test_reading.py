"""Reading: every good row kept, every bad row named, nothing shifted, whatever surrounds them."""

import csv
import io
import json
from collections.abc import Iterator

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.api.v1alpha1.items import FileType
from controller.faults import Fault
from controller.products import reading, shapes
from controller.products.records import LINE, Findings, RecordParser
from controller.products.shapes import Shape

LINE_MAX = 5_242_880
COMMAS = Shape(FileType.CSV, ",")


def pieces(content: bytes, size: int = 1 << 20) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def read(
    content: bytes, shape: Shape | None = None, *, size: int = 1 << 20, block: int = reading.BLOCK_BYTES
) -> tuple[list[dict[str, object]], Findings]:
    findings = Findings()
    chosen = shape or shapes.detect(content)
    blocks = reading.read(pieces(content, size), chosen, findings, line_bytes_max=LINE_MAX, block_bytes=block)
    frames = [each for each in blocks if each.height]
    rows = pl.concat(frames, how="diagonal").to_dicts() if frames else []
    return rows, findings


def values(rows: list[dict[str, object]]) -> list[list[object]]:
    return [[value for name, value in row.items() if name != LINE] for row in rows]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a,b\n1,2\n", [["1", "2"]]),
        (b"a,b\n1,2", [["1", "2"]]),
        (b"a,b\r\n1,2\r\n3,4\r\n", [["1", "2"], ["3", "4"]]),
        (b"\xef\xbb\xbfa,b\n1,2\n", [["1", "2"]]),
        (b"a;b\n1,5;2\n", [["1,5", "2"]]),
        (b"a\tb\n1\t2\n", [["1", "2"]]),
        (b"a|b\n1|2\n", [["1", "2"]]),
        (b"# a comment\n\na,b\n1,2\n", [["1", "2"]]),
        (b'a,b\n"x,1","say ""hi"""\n', [["x,1", 'say "hi"']]),
        (b'a,b\n"x\ny",2\n3,4\n', [["x\ny", "2"], ["3", "4"]]),
        (b"a,b\n007,1e5\nNA,null\n", [["007", "1e5"], ["NA", "null"]]),
        (b"a,b\n1,2\n\n3,4\n,\n", [["1", "2"], ["3", "4"]]),
        (b'a,b\n5" pipe,x\n6" pipe,y\n', [['5" pipe', "x"], ['6" pipe', "y"]]),
        (b'"a,1","b"\n1,2\n', [["1", "2"]]),
        (b"only\n1\n2\n", [["1"], ["2"]]),
        (b"a,b\n\xf0\x9f\x99\x82,\xd7\xa9\n", [["🙂", "ש"]]),
    ],
)
def test_well_formed(content: bytes, expected: list[list[str]]) -> None:
    rows, findings = read(content)
    assert values(rows) == expected
    assert findings.complete


@pytest.mark.parametrize(
    ("content", "good", "bad_lines", "resynchronised"),
    [
        (b"a,b\n1,2\n3\n5,6\n", [["1", "2"], ["5", "6"]], [(3, 3)], False),
        (b"a,b\n1,2\n3,4,5\n5,6\n", [["1", "2"], ["5", "6"]], [(3, 3)], False),
        (b"a,b\n1,2\n3,\xff\n5,6\n", [["1", "2"], ["5", "6"]], [(3, 3)], False),
        (b'a,b\n1,"x\n3,"y"\n5,6\n', [["3", "y"], ["5", "6"]], [(2, 2)], True),
        (b'a,b\n1,"x"y\n5,6\n', [["5", "6"]], [(2, 2)], True),
        (b'a,b\n1,2\n3,"open\n5,6\n7,8\n', [["1", "2"], ["5", "6"], ["7", "8"]], [(3, 3)], True),
        (b'a,b\n1,"x\ny",2,3\n5,6\n', [["5", "6"]], [(2, 3)], True),
        (b"a,b\n1,2\n\x00\x01\x02\x03\n5,6\n", [["1", "2"], ["5", "6"]], [(3, 3)], False),
        (b"a,b\n1,2\n3\n4\n5\n5,6\n", [["1", "2"], ["5", "6"]], [(3, 5)], False),
    ],
)
def test_malformed_rows_cost_themselves_only(
    content: bytes, good: list[list[str]], bad_lines: list[tuple[int, int]], resynchronised: bool
) -> None:
    rows, findings = read(content)
    assert values(rows) == good
    assert [(bad.line_from, bad.line_to) for bad in findings.samples] == bad_lines
    assert findings.resynchronised is resynchronised
    assert not findings.complete


def test_a_short_row_is_found_although_the_last_column_is_often_empty() -> None:
    content = b'a,b,c\n1,"x,y",\n2,z,\n3,z\n4,z,w\n'
    rows, findings = read(content)
    assert [row["a"] for row in rows] == ["1", "2", "4"]
    assert [bad.line_from for bad in findings.samples] == [4]


def test_lines_are_those_of_the_file() -> None:
    rows, _ = read(b'a,b\n1,"x\ny\nz"\n2,3\n\n4,5\n')
    assert [row[LINE] for row in rows] == [2, 5, 7]


def test_lines_are_right_across_blocks() -> None:
    content = b"a,b\n" + b"".join(b'%d,"x\n%d"\n' % (number, number) for number in range(100))
    rows, findings = read(content, size=7, block=64)
    assert [row[LINE] for row in rows] == [2 + 2 * number for number in range(100)]
    assert findings.complete


def test_after_an_unbalanced_quote_reading_goes_on_within_64_kib() -> None:
    width = 8
    record = ",".join(f"v{column}" for column in range(width)).encode()
    lines = [record.replace(b"v0", b"n%d" % number) for number in range(5_000)]
    lines[1_000] = lines[1_000].replace(b"v3", b'"v3')
    header = ",".join(f"c{column}" for column in range(width)).encode()
    rows, findings = read(b"\n".join([header, *lines]) + b"\n")
    assert len(rows) == 4_999
    assert findings.resynchronised
    assert [(bad.line_from, bad.line_to) for bad in findings.samples] == [(1_002, 1_002)]


def test_two_unbalanced_quotes_do_not_swallow_the_rows_between_them() -> None:
    width = 8
    header = ",".join(f"c{column}" for column in range(width)).encode()
    lines = [b"n%d,a,b,c,d,e,f,g" % number for number in range(20)]
    lines[5] = b'n5,a,b,c,d,e,f,"g'
    lines[9] = b'n9",a,b,c,d,e,f,g'
    rows, findings = read(b"\n".join([header, *lines]) + b"\n")
    assert {row["c0"] for row in rows} >= {f"n{number}" for number in range(20) if number not in {5, 9}}
    assert findings.resynchronised


def test_a_large_value_is_no_accident() -> None:
    rows, findings = read(b'a,b\n1,"' + b"x" * 3_000_000 + b'"\n2,3\n')
    assert [len(str(row["b"])) for row in rows] == [3_000_000, 1]
    assert findings.complete


def test_garbage_without_line_breaks_is_bounded() -> None:
    findings = Findings()
    content = b"a,b\n1,2\n" + b"\x00" * (LINE_MAX * 2) + b"\n3,4\n"
    frames = list(reading.read(pieces(content), COMMAS, findings, line_bytes_max=LINE_MAX))
    assert [row for frame in frames for row in frame.get_column("a").to_list()] == ["1", "3"]
    assert not findings.complete


def test_headers_are_made_unique_and_named() -> None:
    assert reading.column_names(["id", " id", "", "title"]) == ["id", "id (2)", "column 3", "title"]


@pytest.mark.parametrize(
    "content",
    [
        b"<html><body>Login</body></html>",
        b"\n<!DOCTYPE html><p>",
        b"PK\x03\x04xx",
        b"\xd0\xcf\x11\xe0\xa1xx",
        b"%PDF-1.7",
    ],
)
def test_what_is_no_table_is_refused(content: bytes) -> None:
    with pytest.raises(Fault) as caught:
        shapes.detect(content)
    assert caught.value.reason == "SourceMalformed"


def test_json_lines_keep_the_text_of_numbers() -> None:
    content = b'{"id":"007","price":9.90,"n":1e3,"ok":true,"none":null,"list":["a",{"b":1.0}]}\n\n'
    content += b'{"id":8,"extra":"\xc3\xa4"}\n'
    rows, findings = read(content)
    assert rows[0] | {LINE: 1} == {
        "id": "007", "price": "9.90", "n": "1e3", "ok": "true", "none": None, "list": '["a",{"b":1.0}]',
        "list.0": "a", "list.1": '{"b":1.0}', "list.1.b": "1.0", "extra": None, LINE: 1,
    }  # fmt: skip
    assert rows[1]["id"] == "8"
    assert rows[1]["extra"] == "ä"
    assert rows[1][LINE] == 3
    assert findings.complete


def test_json_lines_name_what_is_no_object() -> None:
    content = b'{"id":"1"}\n[1]\n{"id":\n\xff\n{"id":"2\\ud800"}\n' + b'{"a":' * 100_000 + b"\n"
    rows, findings = read(content)
    assert [row["id"] for row in rows] == ["1", "2?"]
    assert [(bad.line_from, bad.line_to) for bad in findings.samples] == [(2, 4), (6, 6)]


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12).map(
    lambda text: text.replace("\r", "")
)


@given(
    rows=st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=12),
    size=st.integers(1, 40),
    quote=st.booleans(),
    block=st.integers(1, 200),
)
def test_what_csv_writes_is_read_back(rows: list[list[str]], size: int, quote: bool, block: int) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if quote else csv.QUOTE_MINIMAL)
    writer.writerow(["a", "b", "c"])
    writer.writerows([f"x{row[0]}", *row[1:]] for row in rows)
    found, findings = read(text.getvalue().encode(), COMMAS, size=size, block=block)
    assert findings.complete
    assert [[value or "" for value in row] for row in values(found)] == [[f"x{row[0]}", *row[1:]] for row in rows]


@given(st.binary(max_size=300), st.integers(0, 20), st.integers(1, 400))
def test_garbage_anywhere_ends_and_keeps_the_rows_before_it(garbage: bytes, at: int, block: int) -> None:
    lines = [b"n%d,x,y,z" % number for number in range(20)]
    lines.insert(at, garbage)
    content = b"id,a,b,c\n" + b"\n".join(lines) + b"\n"
    rows, _ = read(content, COMMAS, block=block)
    names = [row["id"] for row in rows]
    assert [f"n{number}" for number in range(at)] == names[:at]


@given(st.binary(max_size=200))
def test_the_record_parser_accounts_for_every_line(content: bytes) -> None:
    findings = Findings()
    found = RecordParser(",", LINE_MAX).parse(content, 3, 1, findings, final=True)
    assert found.rest == b""
    assert found.next_line >= content.count(b"\n")
    assert all(len(row) == 3 for row in found.rows)


def test_json_and_csv_give_the_same_rows() -> None:
    rows = [{"id": f"{number:03}", "t": f'q"{number}\n,x'} for number in range(50)]
    lines = "\n".join(json.dumps(row) for row in rows).encode()
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["id", "t"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    assert values(read(lines)[0]) == values(read(text.getvalue().encode())[0])


@given(
    st.lists(st.sampled_from(["a,b", '"x\ny",b', '"q""q",', ",", '"1\n\n2","\n"']), max_size=12),
    st.integers(1, 40),
    st.integers(1, 60),
)
def test_pieces_and_blocks_do_not_matter(lines: list[str], size: int, block: int) -> None:
    content = ("a,b\n" + "".join(line + "\n" for line in lines)).encode()
    assert read(content, COMMAS, size=size, block=block)[0] == read(content, COMMAS)[0]
