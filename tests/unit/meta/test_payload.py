"""Streamed bodies: exact length, checked before their end."""

import email
import email.policy
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from controller.faults import Disposition, Fault
from controller.meta.payload import FilePart, JsonDocument, Stream, stream_json, stream_multipart
from tests.unit.meta.scripted import make_body

CONTENT = bytes(range(256)) * 50


async def collect(stream: Stream) -> bytes:
    return b"".join([piece async for piece in stream.open()])


async def test_multipart_is_what_a_parser_reads_back() -> None:
    stream = stream_multipart(
        FilePart("shop-0.csv.gz", make_body(CONTENT)), (("update_only", "false"), ("é", "ü")), "upload"
    )
    sent = await collect(stream)
    assert len(sent) == stream.length_bytes
    head = f"Content-Type: {stream.content_type}\r\n\r\n".encode()
    message = email.message_from_bytes(head + sent, policy=email.policy.HTTP)
    parts = {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}
    assert list(parts) == ["update_only", "é", "file"]
    assert parts["update_only"].get_payload(decode=True) == b"false"
    assert parts["file"].get_filename() == "shop-0.csv.gz"
    assert parts["file"].get_content_type() == "text/csv"
    assert CONTENT in sent


async def test_names_cannot_break_out_of_the_header() -> None:
    stream = stream_multipart(FilePart('a"\r\nX: y.csv', make_body(b"1")), (), "upload")
    assert b'filename="a%22%0D%0AX: y.csv"\r\n' in await collect(stream)


@pytest.mark.parametrize("pieces", [1, 2, 7, 12_800])
async def test_right_bytes_pass_whole(pieces: int) -> None:
    stream = stream_json(JsonDocument(make_body(CONTENT, pieces=pieces)), "batch")
    assert (await collect(stream), stream.length_bytes, stream.content_type) == (
        CONTENT,
        len(CONTENT),
        "application/json",
    )


async def test_empty_body_passes() -> None:
    assert await collect(stream_json(JsonDocument(make_body(b"")), "batch")) == b""


@pytest.mark.parametrize("pieces", [1, 2, 7])
@pytest.mark.parametrize(("size_delta", "wrong_digest"), [(-1, False), (1, False), (0, True)])
async def test_wrong_bytes_never_reach_their_end(pieces: int, size_delta: int, wrong_digest: bool) -> None:
    body = make_body(
        CONTENT,
        pieces=pieces,
        size_bytes=len(CONTENT) + size_delta,
        sha256="0" * 64 if wrong_digest else None,
    )
    passed: list[bytes] = []

    async def send() -> None:
        async with aclosing(stream_json(JsonDocument(body), "send a batch").open()) as source:
            async for piece in source:
                passed.append(piece)  # noqa: PERF401 - what passed before the fault counts

    with pytest.raises(Fault) as caught:
        await send()
    assert sum(map(len, passed)) < body.size_bytes
    assert (caught.value.disposition, caught.value.reason) == (Disposition.DEFECT, "PayloadMismatch")


async def test_source_is_closed_when_the_request_ends_early() -> None:
    closed: list[bool] = []

    async def source() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 10
        finally:
            closed.append(True)

    body = make_body(CONTENT)
    body = type(body)(body.size_bytes, body.sha256, source, 1.0)
    pieces = stream_multipart(FilePart("a.csv", body), (), "upload").open()
    await anext(pieces)
    await anext(pieces)
    await pieces.aclose()
    assert closed == [True]
