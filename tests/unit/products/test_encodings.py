"""Encodings: UTF-8 untouched, everything else turned into it, and no guess where a line says what it is."""

import codecs
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.faults import Fault
from controller.products import encodings
from controller.products.encodings import UTF8, Encoding

GERMAN = "Größe: schöne Füße, weiß – 10 €\nÄpfel und Birnen für München über Köln\nSchuhe für Männer und Mädchen\n"
POLISH = "Zażółć gęślą jaźń łódź kość źdźbło\nDługi płaszcz męski w kolorze żółtym\n"
RUSSIAN = "Мужские кроссовки чёрные размер 42\nЖенское платье летнее красное\n"
FRENCH = "Été à la plage, façade, naïveté, où ça\nChaussures légères pour garçons\n"
JAPANESE = "日本語の商品説明です。靴とカバン\n"


def pieces(content: bytes, size: int = 1 << 16) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def recoded(content: bytes, encoding: Encoding, size: int = 1 << 16) -> str:
    return b"".join(encodings.recode(pieces(content, size), encoding)).decode()


@pytest.mark.parametrize(
    ("text", "written"),
    [(GERMAN, "cp1252"), (POLISH, "cp1250"), (RUSSIAN, "cp1251"), (FRENCH, "cp1252"), (JAPANESE, "cp932")],
)
@pytest.mark.parametrize("times", [1, 50])
def test_common_encodings_are_told_from_the_text(text: str, written: str, times: int) -> None:
    content = (text * times).encode(written)
    found = encodings.examine(pieces(content))
    assert found.guessed
    assert recoded(content, found) == text * times


@pytest.mark.parametrize("text", [GERMAN, JAPANESE, "plain\n", "🙂 שלום\n"])
@pytest.mark.parametrize("size", [1, 3, 1 << 16])
def test_utf_8_is_nothing_to_guess(text: str, size: int) -> None:
    assert encodings.examine(pieces(text.encode(), size)) == Encoding(UTF8)


def test_a_few_foreign_lines_do_not_change_a_file_in_utf_8() -> None:
    lines = [*GERMAN.encode().splitlines() * 10, *GERMAN.encode("cp1252").splitlines()]
    assert encodings.examine([b"\n".join(lines)]) == Encoding(UTF8)


def test_a_few_lines_in_utf_8_stay_what_they_are() -> None:
    lines = [*GERMAN.encode("cp1252").splitlines() * 10, *GERMAN.encode().splitlines()]
    found = encodings.examine([b"\n".join(lines)])
    assert found == Encoding("cp1252", guessed=True)
    assert recoded(b"\n".join(lines), found) == "\n".join(GERMAN.splitlines() * 11)


def test_the_foreign_part_may_come_late_and_across_pieces() -> None:
    content = b"plain\n" * 50_000 + GERMAN.encode("cp1252") * 40
    found = encodings.examine(pieces(content, 4_099))
    assert found == Encoding("cp1252", guessed=True)
    assert recoded(content, found, 4_099).endswith(GERMAN)


def test_garbage_is_no_encoding() -> None:
    noise = bytes(range(256)) * 20
    content = b"id,title\n" + b"\n".join(b"%d,%b" % (number, "ä".encode()) for number in range(100)) + b"\n" + noise
    found = encodings.examine([content])
    assert b"".join(encodings.recode([content], found)).startswith("id,title\n0,ä\n1,ä".encode())


@pytest.mark.parametrize("name", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("size", [1, 5, 1 << 16])
def test_a_byte_order_mark_announces(name: str, size: int) -> None:
    content = GERMAN.encode(name)
    announced = encodings.announced(content)
    assert announced is not None
    assert recoded(content, Encoding(announced), size) == GERMAN


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_seen_by_its_zeros(name: str) -> None:
    content = "id,title\n1,Größe\n".encode(name)
    assert encodings.announced(content) == name
    assert recoded(content, Encoding(name)) == "id,title\n1,Größe\n"


def test_utf_16_that_is_cut_is_refused() -> None:
    with pytest.raises(Fault, match="cut"):
        recoded("id,title\n".encode("utf-16-le")[:-1], Encoding("utf-16-le"))


def test_an_xml_declaration_announces() -> None:
    assert encodings.announced(b'<?xml version="1.0" encoding="ISO-8859-1"?><rss/>') == "cp1252"
    assert encodings.announced(b'<?xml version="1.0"?><rss/>') is None


@pytest.mark.parametrize("name", ["latin-1", "Windows-1252", "UTF-16LE", "Shift_JIS", "koi8-r", "utf8"])
def test_names_that_people_write(name: str) -> None:
    assert codecs.lookup(encodings.named(name, "format.encoding"))


@pytest.mark.parametrize("name", ["rot13", "base64", "unicode_escape", "idna", "no-such", "utf-7", "zip"])
def test_other_names_are_refused_with_the_field(name: str) -> None:
    with pytest.raises(Fault) as caught:
        encodings.named(name, "format.encoding")
    assert caught.value.message.startswith(f"format.encoding: '{name}'")


@given(st.binary(max_size=400), st.integers(1, 50))
def test_any_bytes_come_to_an_end_and_ascii_lines_stay(content: bytes, size: int) -> None:
    found = encodings.examine(pieces(content, size))
    lines = b"".join(encodings.recode(pieces(content, size), found)).split(b"\n")
    assert [line for line in content.removeprefix(codecs.BOM_UTF8).split(b"\n") if line.isascii()] == [
        line for line in lines if line.isascii()
    ]
