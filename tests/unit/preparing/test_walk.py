"""A walk finds the same records however its file falls into windows, and whoever cuts them."""

import random
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from controller.api.v1alpha1.items import FileType
from controller.preparing.walk import walk, windows
from controller.products.raw import INSIDE, Hashes, Index, Places, UnsuitableError, hash_of, hash_records
from controller.products.shapes import Shape
from controller.products.splitting import Splitter, splitter

ALONE, SHARED = 1 << 40, 1
HEAD = {FileType.CSV: b"id,text\n", FileType.XML: b"<rss><channel>\n", FileType.JSON: b"["}
TAIL = {FileType.CSV: b"", FileType.XML: b"</channel></rss>", FileType.JSON: b"]"}
BETWEEN = {FileType.CSV: b"\n", FileType.XML: b"\n ", FileType.JSON: b",\n"}
TEXTS = ("plain", "two\nlines", "\r\n", "Größe", "x" * 3_000, "\0", "")


def record(kind: FileType, number: int, draw: random.Random) -> bytes:
    text = draw.choice(TEXTS)
    match kind:
        case FileType.CSV:
            return f'{number},"{text} ""{number}"""'.encode()
        case FileType.XML:
            inner = f"<![CDATA[</item>{text}]]>" if draw.random() < 0.1 else text
            return f"<item><id>{number}</id>{inner}</item>".encode()
        case _:
            escaped = text.replace("\n", "\\n").replace("\r", "\\r").replace("\0", " ")
            return f'{{"id": "{number}", "text": "{escaped}", "more": [{{"id": "x"}}]}}'.encode()


def whole(kind: FileType, records: list[bytes]) -> bytes:
    return HEAD[kind] + BETWEEN[kind].join(records) + (b"\n" if kind is FileType.CSV else b"") + TAIL[kind]


def splitter_of(kind: FileType, text: bytes) -> Splitter:
    found = splitter(Shape(kind, "," if kind is FileType.CSV else ""), text[: 1 << 20], 1 << 20)
    assert found is not None
    return found


def walked(path: Path, how: Splitter, known: Index, shared: int, window_bytes: int) -> tuple[bytes, list[int], Places]:
    """Return what is unknown, the lines on which it starts, and the places of all records."""
    with (
        path.open("rb") as file,
        walk(
            file.fileno(),
            path.stat().st_size,
            how,
            known,
            path.parent,
            shared_bytes_min=shared,
            window_bytes=window_bytes,
        ) as found,
    ):
        return b"".join(found.contents()), found.candidates.lines, found.places[found.places != INSIDE]


def own_hashes(kind: FileType, records: list[bytes]) -> Hashes:
    """The hashes of records, each by itself."""
    bare = records
    if kind is FileType.XML:
        bare = [each.removesuffix(b"</item>") for each in records]
    elif kind is FileType.JSON:
        bare = [each[len(b'{"id":') : -1] for each in records]
    return np.array(list(map(hash_of, bare)), np.uint64)


@pytest.mark.parametrize("shared", [ALONE, SHARED])
@pytest.mark.parametrize("kind", [FileType.CSV, FileType.XML, FileType.JSON])
@pytest.mark.parametrize("window_bytes", [500, 4_000, 20_000, 1 << 20])
def test_unknown_records_are_found_with_their_places(
    tmp_path: Path, kind: FileType, shared: int, window_bytes: int
) -> None:
    draw = random.Random(window_bytes)
    records = [record(kind, number, draw) for number in range(1, 400)]
    text = whole(kind, records)
    path = tmp_path / "source"
    path.write_bytes(text)
    how = splitter_of(kind, text)
    known = sorted(draw.sample(range(len(records)), 350))
    hashes = own_hashes(kind, records)
    index = Index.of(hashes[known], np.arange(len(known), dtype=np.int32))
    expected = np.full(len(records), -1, np.int32)
    expected[known] = np.arange(len(known))
    unknown = [number for number in range(len(records)) if expected[number] < 0]
    content, lines, places = walked(path, how, index, shared, window_bytes)
    assert places.tolist() == expected.tolist()
    assert lines == [line_of(text, records, number, numbered=how.numbered) for number in unknown]
    for number in unknown:
        assert records[number] in content


def line_of(text: bytes, records: list[bytes], number: int, *, numbered: bool) -> int:
    return number + 1 if numbered else text[: text.index(records[number])].count(b"\n") + 1


@pytest.mark.parametrize("kind", [FileType.CSV, FileType.XML, FileType.JSON])
@pytest.mark.parametrize("window_bytes", [300, 4_000, 1 << 20])
def test_every_window_gives_the_same_hashes(tmp_path: Path, kind: FileType, window_bytes: int) -> None:
    draw = random.Random(window_bytes)
    records = [record(kind, number, draw) for number in range(1, 300)]
    text = whole(kind, records)
    path = tmp_path / "source"
    path.write_bytes(text)
    how = splitter_of(kind, text)
    with (
        path.open("rb") as file,
        closing(windows(file.fileno(), how.head_bytes, len(text), how, window_bytes=window_bytes)) as parts,
    ):
        found = hash_records(parts, how, how.first_line, torn=False)
    expected = own_hashes(kind, records)
    plain = [b"CDATA" not in each for each in records] if kind is FileType.XML else [True] * len(records)
    assert found.starts.tolist() == [
        line_of(text, records, number, numbered=how.numbered) for number in range(len(records))
    ]
    assert found.hashes[plain].tolist() == expected[plain].tolist()


def test_a_quote_that_is_never_closed_is_not_for_a_walk(tmp_path: Path) -> None:
    text = b"id,text\n" + b"1,ok\n" * 10 + b'2,"open\n' + b"3,ok\n" * 10
    path = tmp_path / "source"
    path.write_bytes(text)
    index = Index.of(np.array([hash_of(b"1,ok")], np.uint64), np.zeros(1, np.int32))
    with pytest.raises(UnsuitableError):
        walked(path, splitter_of(FileType.CSV, text), index, ALONE, 30)
