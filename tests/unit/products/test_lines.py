"""Lines as Polars cuts and hashes them are those that Python sees."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.products.lines import cut
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
        found = cut(text, bytes_min)
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
