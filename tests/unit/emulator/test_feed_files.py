"""Blocks are cut between records, wherever the block ends."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hack.emulator import bodies
from hack.emulator.sections.catalog import feed_files

cells = st.text(st.sampled_from('ab,"\n;'), max_size=6)


def csv_text(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_MINIMAL).writerows(rows)
    return text.getvalue().encode()


@given(rows=st.lists(st.lists(cells, min_size=2, max_size=2), max_size=12), size=st.integers(1, 40))
def test_records_survive_any_cut(rows: list[list[str]], size: int) -> None:
    text = csv_text(rows)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    blocks = list(feed_files._records(iter(pieces)))
    assert b"".join(blocks).rstrip(b"\n") == text.rstrip(b"\n")
    table = feed_files.Table(columns=("a", "b"), delimiter=",", blocks=iter(blocks))
    found = [fields for block in blocks for fields in feed_files.rows(table, block)]
    assert found == [row for row in csv.reader(io.StringIO(text.decode(), newline="")) if any(row)]


@given(rows=st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=6))
def test_the_first_record_ends_where_it_ends(rows: list[list[str]]) -> None:
    text = csv_text(rows)
    first = text[: feed_files.cut_first(text)]
    assert next(csv.reader(io.StringIO(first.decode(), newline=""))) == rows[0]


@pytest.mark.parametrize("length", [10, 5_242_880])
def test_a_line_of_the_limit_is_read(length: int) -> None:
    feed_files._check_lines(b"short\n" + b"x" * length + b"\nshort\n")


@pytest.mark.parametrize("start", [0, 3, 6_000_000])
def test_a_longer_line_is_refused_wherever_it_stands(start: int) -> None:
    before = b"line\n" * (start // 5)
    with pytest.raises(feed_files.FileProblem, match="too long"):
        feed_files._check_lines(before + b"x" * 5_242_882 + b"\nshort\n")


@pytest.mark.parametrize(
    ("start", "section"),
    [(b"PK\x03\x04zip", "zip and bzip2"), (b"BZh9", "zip and bzip2")],
)
def test_containers_that_are_not_built_say_so(start: bytes, section: str) -> None:
    with pytest.raises(Exception, match=section):
        feed_files.container_of(bodies.whole_file("f", start))


def test_xml_is_not_built_and_says_so() -> None:
    file = bodies.whole_file("f.xml", b"<?xml version='1.0'?><rss></rss>")
    with pytest.raises(Exception, match="XML"):
        feed_files.open_table(
            file, container="plain", every_member=False, encoding="AUTODETECT", delimiter="AUTODETECT"
        )


def test_a_column_of_the_google_namespace_loses_its_prefix() -> None:
    file = bodies.whole_file("f.csv", b"g:id,title\nA,B\n")
    table = feed_files.open_table(file, container="plain", every_member=False, encoding="UTF8", delimiter="COMMA")
    assert table.columns == ("id", "title")
