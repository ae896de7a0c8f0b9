"""Hashing lines natively says what hashing them one by one says, or nothing at all."""

import os
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.api.v1alpha1.items import FileType
from controller.preparing.line_hashes import hash_lines
from controller.preparing.walk import windows
from controller.products.raw import JOINED_BYTES_MAX, Hashed, UnsuitableError, hash_of, hash_records
from controller.products.shapes import Shape
from controller.products.splitting import Lines

CSV = Shape(FileType.CSV, ",")
JSON_LINES = Shape(FileType.JSON_LINES, "")
HEADS = (b"id,title\n", b"id,title\r\n", b'id,"ti\ntle"\n', b'id,"ti\r\ntle"\r\n')
TEXT = st.text(st.sampled_from('ab,"\n\n\r\t \x0b\x0c\x1c\x85\u2028ä€😀'), max_size=60)


def _hashed(data: bytes, splitter: Lines, *, torn: bool = False) -> tuple[Hashed | str | None, Hashed | str]:
    """The native answer, and the one of records taken one by one."""
    with TemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            native: Hashed | str | None = hash_lines(file.fileno(), len(data), splitter, torn=torn)
        except UnsuitableError:
            native = "unsuitable"
        parts = windows(file.fileno(), splitter.head_bytes, len(data), splitter)
        try:
            return native, hash_records(parts, splitter, splitter.first_line, torn=torn)
        except UnsuitableError:
            return native, "unsuitable"


def _plain(found: Hashed | str) -> object:
    return found if isinstance(found, str) else (found.starts.tolist(), found.hashes.tolist())


@given(st.sampled_from(HEADS), TEXT, st.booleans())
def test_it_gives_what_one_by_one_gives(head: bytes, text: str, torn: bool) -> None:
    native, slow = _hashed(head + text.encode(), Lines(head, CSV), torn=torn)
    assert native is None or _plain(native) == _plain(slow)


RECORDS = st.lists(st.sampled_from(["a,b", '"x\ny",1', '""', "", "ä\rb", '"\n\n"']), min_size=1, max_size=8)


@given(RECORDS, st.booleans())
def test_sound_records_are_taken_whatever_ends_their_lines(records: list[str], closed: bool) -> None:
    for end in ("\n", "\r\n"):
        text = "".join(each.replace("\n", end) + end for each in ["id,title", *records])
        data = text.encode() if closed or end == "\r\n" else text.encode()[:-1]
        native, slow = _hashed(data, Lines(f"id,title{end}".encode(), CSV))
        assert native is not None
        assert _plain(native) == _plain(slow)


def test_objects_may_have_any_quotes() -> None:
    data = b'{"a": "\\""}\n\n{"b": 1}'
    native, slow = _hashed(data, Lines(b"", JSON_LINES))
    assert native is not None
    assert _plain(native) == _plain(slow) == ([1, 2, 3], [hash_of(b'{"a": "\\""}'), hash_of(b""), hash_of(b'{"b": 1}')])


@pytest.mark.parametrize(
    "data",
    [
        b"id\na\nb\r\nc\n",  # a return that only some lines have
        b"id\na\xff\n",  # no text
        b"\xef\xbb\xbfid\n1\n",
    ],
)
def test_what_it_cannot_account_for_is_left_to_others(data: bytes) -> None:
    splitter = Lines(b"\xef\xbb\xbf", JSON_LINES) if data.startswith(b"\xef") else Lines(b"id\n", CSV)
    assert _hashed(data, splitter)[0] is None


@pytest.mark.parametrize(("first", "rest"), [(10, 0), (JOINED_BYTES_MAX, 10), (10, JOINED_BYTES_MAX + 100)])
@pytest.mark.parametrize("lines", [1, 3])
def test_quotes_that_stay_open_for_long_are_suspicious(first: int, rest: int, lines: int) -> None:
    data = b'id,title\n"' + b"x" * first + b"\n" + b"y\n" * (lines - 1) + b"z" * rest + b'",1\n2,b\n'
    native, slow = _hashed(data, Lines(b"id,title\n", CSV))
    assert native is not None
    assert _plain(native) == _plain(slow)


def test_a_file_in_place_is_read_by_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "export[1].csv"  # no pattern, whatever it is called
    path.write_bytes(b"id\n1\n2\n")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        found = hash_lines(descriptor, 7, Lines(b"id\n", CSV), torn=False)
    finally:
        os.close(descriptor)
    assert found is not None
    assert found.starts.tolist() == [2, 3]
