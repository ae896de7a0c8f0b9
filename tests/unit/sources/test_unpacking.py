"""Compression: whole files come out, cut and damaged ones are refused, and nothing expands without bound."""

import bz2
import gzip
import io
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.api.v1alpha1.items import Compression
from controller.faults import Fault
from controller.sources import unpacking

CONTENT = b"id,title\n" + b"".join(b"%d,some title of %d\n" % (number, number * 7) for number in range(20_000))


def zipped(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


PACK: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.GZIP: lambda content: gzip.compress(content, mtime=0),
    Compression.BZIP2: bz2.compress,
    Compression.ZSTD: zstandard.ZstdCompressor(write_content_size=False).compress,
    Compression.ZIP: lambda content: zipped(("products.csv", content)),
}
STREAMS = [Compression.GZIP, Compression.BZIP2, Compression.ZSTD]


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def unpacked(content: bytes, scratch: Path, declared: Compression = Compression.AUTO, size: int = 5_000) -> bytes:
    return b"".join(unpacking.unpacked(pieces(content, size), declared, scratch))


def refused(content: bytes, scratch: Path, declared: Compression = Compression.AUTO) -> str:
    with pytest.raises(Fault) as caught:
        unpacked(content, scratch, declared)
    assert caught.value.reason == "SourceMalformed"
    return caught.value.message


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("size", [1, 977, 1 << 20])
def test_a_file_comes_out_as_it_was(tmp_path: Path, kind: Compression, size: int) -> None:
    packed = PACK[kind](CONTENT[:3_000] if size == 1 else CONTENT)
    assert unpacked(packed, tmp_path, size=size) == (CONTENT[:3_000] if size == 1 else CONTENT)
    assert unpacked(packed, tmp_path, kind, size) == (CONTENT[:3_000] if size == 1 else CONTENT)


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("cut", [1, 8, 1_000])
def test_a_cut_file_is_refused(tmp_path: Path, kind: Compression, cut: int) -> None:
    assert "cut short" in refused(PACK[kind](CONTENT)[:-cut], tmp_path)


@pytest.mark.parametrize("kind", STREAMS)
def test_members_follow_each_other(tmp_path: Path, kind: Compression) -> None:
    packed = PACK[kind](b"one\n") + PACK[kind](b"two\n") + PACK[kind](b"three\n")
    for size in (1, 7, 1_000):
        assert unpacked(packed, tmp_path, size=size) == b"one\ntwo\nthree\n"


@pytest.mark.parametrize("kind", PACK)
def test_what_is_something_else_is_refused_when_declared(tmp_path: Path, kind: Compression) -> None:
    assert refused(b"id,title\n1,x\n", tmp_path, kind)


def test_what_is_plain_stays(tmp_path: Path) -> None:
    for content in (b"", b"a", b"id\n1\n", CONTENT):
        assert unpacked(content, tmp_path) == content
    assert unpacked(PACK[Compression.GZIP](b"x"), tmp_path, Compression.NONE) == PACK[Compression.GZIP](b"x")


@pytest.mark.parametrize("kind", PACK)
def test_a_bomb_is_refused_without_its_memory(tmp_path: Path, kind: Compression) -> None:
    bomb = PACK[kind](bytes(200 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(Fault, match="expands more than"):
            for _ in unpacking.unpacked(pieces(bomb, 1 << 20), Compression.AUTO, tmp_path):
                pass
        assert tracemalloc.get_traced_memory()[1] < 150 << 20
    finally:
        tracemalloc.stop()


def test_a_zip_has_one_file(tmp_path: Path) -> None:
    assert "holds 2" in refused(zipped(("a.csv", b"1"), ("b.csv", b"2")), tmp_path)
    assert "holds 0" in refused(zipped(), tmp_path)
    assert "Office" in refused(zipped(("[Content_Types].xml", b""), ("xl/workbook.xml", b"")), tmp_path)
    assert unpacked(zipped(("folder/", b""), ("folder/a.csv", b"1"), ("__MACOSX/._a.csv", b"x")), tmp_path) == b"1"


def test_a_zip_with_a_password_or_damage_is_named(tmp_path: Path) -> None:
    packed = bytearray(zipped(("a.csv", CONTENT)))
    directory = packed.rindex(b"PK\x01\x02")
    packed[directory + 8] |= 1
    packed[6] |= 1
    assert "encrypted" in refused(bytes(packed), tmp_path)
    damaged = bytearray(zipped(("a.csv", CONTENT)))
    damaged[1_000] ^= 0xFF
    assert "damaged" in refused(bytes(damaged), tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(list(PACK)), at=st.floats(0, 1), garbage=st.binary(min_size=1, max_size=20))
def test_damage_ends_in_the_same_bytes_or_a_refusal(
    tmp_path: Path, kind: Compression, at: float, garbage: bytes
) -> None:
    packed = PACK[kind](CONTENT[:5_000])
    position = int(at * len(packed))
    damaged = packed[:position] + garbage + packed[position + len(garbage) :]
    try:
        assert unpacked(damaged, tmp_path, kind)[:5_000] != b"\x00" * 5_000
    except Fault as fault:
        assert fault.reason == "SourceMalformed"  # noqa: PT017 - both ends are fine
