"""Pieces as Polars cuts and hashes them are those that Python sees."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.products.cutting import cut_behind, cut_lines
from controller.products.raw import hash_of

NATIVE, PLAIN = 0, 1 << 40
PARTS = (
    *(
        b"\n",
        b"\r\n",
        b"\r",
        b"\r\r\n",
        b"\n\n",
        b'"',
        b",",
        b"a",
        b"\0",
        b"\xef\xbb\xbf",
        b"\x0b",
        b"\x0c",
        b"\x1c",
        b" ",
    ),
    *("é".encode(), "日本語".encode(), "\x85".encode(), "\u2028".encode(), b'"two\nlines"', b"x" * 70_000),
)
BROKEN = (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80")


def _split(text: bytes) -> list[bytes]:
    found = text.split(b"\n")
    return found if found[-1] else found[:-1]


def must_agree(text: bytes) -> None:
    expected = _split(text)
    for bytes_min in (NATIVE, PLAIN):
        found = cut_lines(text, bytes_min)
        assert list(found) == expected
        assert found.hashes.tolist() == [hash_of(each) for each in expected]
        assert found.hashes.dtype == np.uint64
        assert [text[stop : stop + 1] for stop in found.stops.tolist()] == [b"\n"] * (len(expected) - 1) + (
            [text[-1:] if text.endswith(b"\n") else b""] if expected else []
        )


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=12))
def test_any_text(parts: list[bytes]) -> None:
    must_agree(b"".join(parts))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from((*PARTS, *BROKEN)), max_size=12))
def test_text_that_is_not_utf8(parts: list[bytes]) -> None:
    must_agree(b"".join(parts))


@pytest.mark.parametrize("start", [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda"])
def test_text_that_looks_packed(start: bytes) -> None:
    must_agree(start + b",a\nb,c\n")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_many_lines(end: bytes) -> None:
    must_agree(end.join(b"%d,%s" % (number, b"x" * (number % 300)) for number in range(3_000)))


ITEMS = (
    b"</i>",
    b"</i",
    b"i>",
    b"<i>",
    b"\n",
    b" \t",
    b"\xa0",
    b" ",
    b"\v\f\r",
    b" " * 70,
    "é".encode(),
    b"\0",
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from((*ITEMS, *ITEMS[:4])), max_size=16), st.booleans())
def test_pieces_behind_an_end(parts: list[bytes], strip: bool) -> None:
    text = b"".join(parts)
    expected = text.split(b"</i>")
    expected = expected if expected[-1] else expected[:-1]
    expected = [each.lstrip() for each in expected] if strip else expected
    for bytes_min in (NATIVE, PLAIN):
        found = cut_behind(b"</i>", text, strip=strip, native_bytes_min=bytes_min)
        assert list(found) == expected
        assert found.hashes.tolist() == [hash_of(each) for each in expected]
