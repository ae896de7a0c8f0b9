"""Reading and looking over a real connection: truncation, redirects, packing, credentials, conditions."""

import asyncio
import gzip
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.api.v1alpha1.items import Compression, Source
from controller.faults import Disposition, Fault
from controller.ports.preparing import BasicAuth, SourceCredentials, SourceRoot
from controller.ports.sources import Look, Version
from controller.sources import unpacking, volume
from controller.sources.http import HTTPReader
from controller.sources.probe import SourceProbe
from controller.sources.spool import Spool
from tests.unit.sources.server import Asked, Server, reply, serving

LOOPBACK = ("127.0.0.0/8",)
NOBODY = SourceCredentials()
CONTENT = b"id,title\n" + b"".join(b"%d,x\n" % number for number in range(10_000))


def source(url: str, **http: object) -> Source:
    return Source.model_validate({"http": {"url": url, **http}})


def fetch(directory: Path, url: str, credentials: SourceCredentials = NOBODY, **http: object) -> bytes:
    with (
        Spool(directory, 1 << 30) as spooled,
        HTTPReader(LOOPBACK).open(source(url, **http), credentials) as delivery,
    ):
        pieces = unpacking.gunzipped(delivery.pieces) if delivery.gzip else delivery.pieces
        spooled.fill(unpacking.unpacked(pieces, Compression.AUTO, directory))
        return b"".join(spooled.pieces())


def look(server: Server, known: Version | None = None, credentials: SourceCredentials = NOBODY) -> Look:
    probe = SourceProbe(allowed_networks=LOOPBACK)
    return asyncio.run(probe.look(source(f"{server.url}/feed"), credentials, known))


def refusal(call: Callable[[], object]) -> Fault:
    with pytest.raises(Fault) as caught:
        call()
    return caught.value


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    with serving(lambda asked: reply(CONTENT)) as server:
        assert fetch(tmp_path, f"{server.url}/feed.csv") == CONTENT
    assert server.asked[0].headers["host"] == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize("cut", [0, 1, 5_000])
def test_a_body_shorter_than_declared_is_refused(tmp_path: Path, cut: int) -> None:
    with serving(lambda asked: reply(CONTENT[:cut], content_length=str(len(CONTENT)))) as server:
        fault = refusal(lambda: fetch(tmp_path, f"{server.url}/feed.csv?sig=s3cr3t"))
    assert fault.reason in {"SourceUnreachable", "SourceMalformed"}
    assert fault.disposition is Disposition.RETRY
    assert "s3cr3t" not in str(fault)


def test_a_chunked_body_without_its_end_is_refused(tmp_path: Path) -> None:
    body = b"400\r\n" + CONTENT[:1_024] + b"\r\n"
    answer = reply(body, content_length="", transfer_encoding="chunked")
    with serving(lambda asked: answer) as server:
        assert refusal(lambda: fetch(tmp_path, server.url)).reason == "SourceUnreachable"
    with serving(lambda asked: answer + b"0\r\n\r\n") as server:
        assert fetch(tmp_path, server.url) == CONTENT[:1_024]


@pytest.mark.parametrize("packed_for_transfer", [True, False])
def test_gzip_is_unpacked_by_header_or_by_its_first_bytes(tmp_path: Path, packed_for_transfer: bool) -> None:
    headers = {"content_encoding": "gzip"} if packed_for_transfer else {}
    with serving(lambda asked: reply(gzip.compress(CONTENT), **headers)) as server:
        assert fetch(tmp_path, server.url) == CONTENT


def test_a_packed_file_may_be_packed_again_for_the_transfer(tmp_path: Path) -> None:
    with serving(lambda asked: reply(gzip.compress(gzip.compress(CONTENT)), content_encoding="gzip")) as server:
        assert fetch(tmp_path, server.url) == CONTENT


def test_a_cut_gzip_and_a_bomb_are_refused(tmp_path: Path) -> None:
    with serving(lambda asked: reply(gzip.compress(CONTENT)[:-9])) as server:
        assert "cut short" in refusal(lambda: fetch(tmp_path, server.url)).message
    with serving(lambda asked: reply(gzip.compress(bytes(80 << 20)))) as server:
        assert "expands" in refusal(lambda: fetch(tmp_path, server.url)).message


def test_an_unknown_packing_is_named(tmp_path: Path) -> None:
    with serving(lambda asked: reply(b"x", content_encoding="br")) as server:
        assert "'br'" in refusal(lambda: fetch(tmp_path, server.url)).message


def test_a_source_larger_than_allowed_is_refused(tmp_path: Path) -> None:
    with serving(lambda asked: reply(CONTENT)) as server, Spool(tmp_path, 1_000) as spooled:
        reader = HTTPReader(LOOPBACK)
        with reader.open(source(server.url), NOBODY) as delivery:
            assert refusal(lambda: spooled.fill(delivery.pieces)).reason == "SourceMalformed"


def test_credentials_stay_with_their_origin(tmp_path: Path) -> None:
    credentials = SourceCredentials(basic_auth=BasicAuth(username="u", password="p"), headers=(("X-Key", "s3cr3t"),))
    with serving(lambda asked: reply(CONTENT)) as other:

        def answer(asked: Asked) -> bytes:
            if asked.path == "/1":
                return reply(status="302 Found", location="/2")
            return reply(status="307 Temporary Redirect", location=f"{other.url}/3")

        with serving(answer) as server:
            assert fetch(tmp_path, f"{server.url}/1", credentials) == CONTENT
    assert [each.path for each in server.asked] == ["/1", "/2"]
    assert {each.headers["authorization"] for each in server.asked} == {"Basic dTpw"}
    assert {each.headers["x-key"] for each in server.asked} == {"s3cr3t"}
    assert "authorization" not in other.asked[0].headers
    assert "x-key" not in other.asked[0].headers


def test_a_secret_url_replaces_the_plain_one(tmp_path: Path) -> None:
    with serving(lambda asked: reply(CONTENT)) as server:
        fetch(tmp_path, "http://192.0.2.1/", SourceCredentials(url=f"{server.url}/x?sig=1"))
    assert server.asked[0].path == "/x?sig=1"


def test_redirects_are_limited_and_each_hop_is_checked(tmp_path: Path) -> None:
    with serving(lambda asked: reply(status="302 Found", location="/again")) as server:
        assert "more than 5 times" in refusal(lambda: fetch(tmp_path, server.url)).message
    assert len(server.asked) == 6
    with serving(lambda asked: reply(status="302 Found", location="http://169.254.169.254/latest/")) as server:
        fault = refusal(lambda: fetch(tmp_path, server.url))
    assert (fault.reason, fault.disposition) == ("SourceRefused", Disposition.STALLED)


def test_loopback_is_refused_unless_allowed() -> None:
    with serving(lambda asked: reply(CONTENT)) as server:
        fault = refusal(lambda: HTTPReader(()).open(source(server.url), NOBODY).__enter__())
    assert fault.reason == "SourceRefused"
    assert server.asked == []


def test_the_checked_address_is_dialled_even_if_the_name_moves(tmp_path: Path) -> None:
    """A name that answers differently the second time is never asked a second time."""
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    with serving(lambda asked: reply(CONTENT)) as server:
        reader = HTTPReader(("127.0.0.1/32",), resolver=lambda host, port: next(answers))
        with reader.open(source(f"http://moving.example:{server.port}/"), NOBODY) as delivery:
            assert b"".join(delivery.pieces) == CONTENT
    assert server.asked[0].headers["host"] == f"moving.example:{server.port}"


@pytest.mark.parametrize(
    ("status", "reason", "disposition"),
    [
        ("401 Unauthorized", "SourceRefused", Disposition.STALLED),
        ("403 Forbidden", "SourceRefused", Disposition.STALLED),
        ("404 Not Found", "SourceUnreachable", Disposition.RETRY),
        ("500 Oops", "SourceUnreachable", Disposition.RETRY),
        ("206 Partial Content", "SourceUnreachable", Disposition.RETRY),
    ],
)
def test_other_answers_are_classified(tmp_path: Path, status: str, reason: str, disposition: Disposition) -> None:
    with serving(lambda asked: reply(b"secret body", status=status)) as server:
        read = refusal(lambda: fetch(tmp_path, f"{server.url}/feed?key=s3cr3t"))
        seen = refusal(lambda: look(server))
    for fault in (read, seen):
        assert (fault.reason, fault.disposition) == (reason, disposition)
        assert "s3cr3t" not in str(fault)
        assert "secret body" not in str(fault)


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    fault = refusal(lambda: fetch(tmp_path, f"http://127.0.0.1:{port}/?token=s3cr3t"))
    assert (fault.reason, fault.disposition) == ("SourceUnreachable", Disposition.RETRY)
    assert "s3cr3t" not in str(fault)


def test_a_name_that_does_not_exist() -> None:
    def resolver(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    fault = refusal(
        lambda: HTTPReader((), resolver=resolver).open(source("https://nowhere.example/"), NOBODY).__enter__()
    )
    assert fault.reason == "SourceUnreachable"
    assert "cannot be resolved" in fault.message


def test_headers_that_the_operator_sets_are_not_overridden(tmp_path: Path) -> None:
    credentials = SourceCredentials(headers=(("Host", "evil"),))
    assert refusal(lambda: fetch(tmp_path, "http://127.0.0.1:9/", credentials)).reason == "SourceRefused"


def test_a_look_is_conditional_and_reads_no_body() -> None:
    known = Version('"v1"', "Thu, 01 Jan 2026 00:00:00 GMT")

    def answer(asked: Asked) -> bytes:
        if asked.headers.get("if-none-match") == '"v1"':
            return reply(status="304 Not Modified", etag='"v1"')
        return reply(CONTENT, content_length=str(1 << 40), etag='"v1"', last_modified=known.last_modified or "")

    with serving(answer) as server:
        assert look(server) == Look(known)
        assert look(server, known) == Look(None)
    assert server.asked[1].headers["if-modified-since"] == known.last_modified


def test_a_server_that_ignores_conditions_is_still_quiet_when_its_tag_is_the_same() -> None:
    with serving(lambda asked: reply(CONTENT, etag='"v1"')) as server:
        assert look(server, Version('"v1"', None)) == Look(None)
        assert look(server, Version('"v0"', None)) == Look(Version('"v1"', None))
    with serving(lambda asked: reply(CONTENT)) as server:
        assert look(server, Version(None, None)) == Look(Version(None, None))


class TestVolume:
    @pytest.fixture
    def root(self, tmp_path: Path) -> SourceRoot:
        (tmp_path / "root" / "sub").mkdir(parents=True)
        (tmp_path / "secret").write_text("s3cr3t")
        (tmp_path / "root" / "sub" / "items.csv").write_bytes(CONTENT)
        return SourceRoot(name="exports", directory=str(tmp_path / "root"))

    def test_a_file_inside_is_read(self, root: SourceRoot) -> None:
        assert b"".join(volume.read(volume.locate("exports", "sub/items.csv", [root]))) == CONTENT

    def test_links_may_stay_inside_and_never_lead_out(self, root: SourceRoot) -> None:
        base = Path(root.directory)
        (base / "in").symlink_to("sub/items.csv")
        (base / "out").symlink_to("../secret")
        (base / "dir").symlink_to("/proc/self")
        (base / "loop").symlink_to("loop")
        assert volume.locate("exports", "in", [root]) == base / "sub" / "items.csv"
        assert refusal(lambda: volume.locate("exports", "out", [root])).reason == "SourceRefused"
        assert refusal(lambda: volume.locate("exports", "dir/environ", [root])).reason == "SourceRefused"
        assert refusal(lambda: volume.locate("exports", "loop", [root])).reason == "SourceUnreachable"

    @pytest.mark.parametrize(
        "path", ["../secret", "/etc/passwd", "/proc/self/environ", "sub/../../secret", "sub", ".", "a\x00b"]
    )
    def test_other_paths_are_refused(self, root: SourceRoot, path: str) -> None:
        assert refusal(lambda: volume.locate("exports", path, [root])).reason == "SourceRefused"

    def test_what_is_not_there_may_come(self, root: SourceRoot) -> None:
        assert refusal(lambda: volume.locate("exports", "later.csv", [root])).disposition is Disposition.RETRY
        assert "exports" in refusal(lambda: volume.locate("other", "x", [root])).message

    def test_a_pipe_is_no_file(self, root: SourceRoot) -> None:
        os.mkfifo(Path(root.directory) / "pipe")
        assert refusal(lambda: volume.locate("exports", "pipe", [root])).reason == "SourceRefused"

    def test_a_file_that_grows_while_it_is_read_is_refused(self, root: SourceRoot) -> None:
        path = volume.locate("exports", "sub/items.csv", [root])
        reading = volume.read(path)
        next(reading)
        with path.open("ab") as file:
            file.write(b"more")
        assert refusal(lambda: list(reading)).reason == "SourceMalformed"

    async def test_a_look_tells_versions_apart(self, root: SourceRoot) -> None:
        probe = SourceProbe(source_roots=[root])
        where = Source.model_validate({"volume": {"name": "exports", "path": "sub/items.csv"}})
        first = (await probe.look(where, NOBODY, None)).version
        assert first is not None
        assert await probe.look(where, NOBODY, first) == Look(None)
        path = Path(root.directory) / "sub" / "items.csv"
        os.utime(path, ns=(1, 1))
        assert (await probe.look(where, NOBODY, first)).version not in {None, first}
