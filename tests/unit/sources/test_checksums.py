"""Checksums beside a file: what people write into them, who gets credentials, and what a mismatch says."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from controller.api.v1alpha1.items import ItemsEntry
from controller.faults import Fault
from controller.ports.preparing import BasicAuth, SourceCredentials, SourceRoot
from controller.sources import checksums, fetching
from controller.sources.http import HTTPReader
from controller.sources.spool import Spool
from tests.unit.sources.server import Asked, reply, serving

LOOPBACK = ("127.0.0.0/8",)
CONTENT = b"id,title\n1,x\n"
SHA = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


@pytest.mark.parametrize(
    ("content", "algorithm", "digest"),
    [
        (SHA, "sha256", SHA),
        (f"{SHA.upper()}\n", "sha256", SHA),
        (f"{MD5}  products.csv\n", "md5", MD5),
        (f"{OTHER}  other.csv\n{SHA} *./export/products.csv\n", "sha256", SHA),
        (f"# made today\n{SHA}\n", "sha256", SHA),
    ],
)
def test_what_people_write(content: str, algorithm: str, digest: str) -> None:
    assert checksums.parse(content.encode(), "products.csv") == checksums.Checksum(algorithm, digest)


@pytest.mark.parametrize("content", ["", "<html>", SHA[:-1], f"{SHA} a\n{OTHER} b\n", f"{SHA}\n{OTHER}\n"])
def test_what_is_no_checksum(content: str) -> None:
    with pytest.raises(Fault, match=r"evidence\.checksumURL"):
        checksums.parse(content.encode(), "products.csv")


def entry(url: str, checksum_url: str) -> ItemsEntry:
    source = {"http": {"url": url}}
    return ItemsEntry.model_validate({"name": "products", "source": source, "evidence": {"checksumURL": checksum_url}})


def around(scratch: Path, roots: Sequence[SourceRoot] = ()) -> fetching.Surroundings:
    return fetching.Surroundings(lambda: HTTPReader(LOOPBACK), LOOPBACK, roots, scratch, 1_000)


def fetch(directory: Path, wanted: ItemsEntry, credentials: SourceCredentials | None = None) -> bytes:
    with Spool(directory, 1 << 30) as spooled:
        fetching.fetch(wanted, credentials or SourceCredentials(), around(directory), spooled)
        return b"".join(spooled.pieces())


def test_a_file_that_matches_is_read_and_another_is_refused(tmp_path: Path) -> None:
    digest = SHA

    def answer(asked: Asked) -> bytes:
        return reply(digest.encode() if asked.path.endswith(".sha256") else CONTENT)

    with serving(answer) as server:
        wanted = entry(f"{server.url}/products.csv", f"{server.url}/products.csv.sha256")
        assert fetch(tmp_path, wanted) == CONTENT
        digest = OTHER
        with pytest.raises(Fault) as caught:
            fetch(tmp_path, wanted)
    assert caught.value.reason == "SourceMalformed"
    assert SHA[:16] in caught.value.message


def test_credentials_go_along_to_the_same_origin_only(tmp_path: Path) -> None:
    credentials = SourceCredentials(basic_auth=BasicAuth(username="u", password="p"), headers=(("X-Key", "k"),))
    with serving(lambda asked: reply(SHA.encode())) as other:

        def answer(asked: Asked) -> bytes:
            return reply(SHA.encode() if asked.path == "/sum" else CONTENT)

        with serving(answer) as server:
            assert fetch(tmp_path, entry(f"{server.url}/x", f"{server.url}/sum"), credentials) == CONTENT
            assert fetch(tmp_path, entry(f"{server.url}/x", f"{other.url}/sum"), credentials) == CONTENT
    assert {each.headers.get("x-key") for each in server.asked} == {"k"}
    assert "authorization" not in other.asked[0].headers
    assert "x-key" not in other.asked[0].headers


def test_the_address_rules_are_those_of_a_source(tmp_path: Path) -> None:
    with serving(lambda asked: reply(CONTENT)) as server, pytest.raises(Fault) as caught:
        fetch(tmp_path, entry(f"{server.url}/x", "http://169.254.169.254/latest"))
    assert caught.value.reason == "SourceRefused"
    assert server.asked == []


def test_a_file_of_a_volume_may_have_one_too(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_bytes(CONTENT)
    source = {"volume": {"name": "exports", "path": "products.csv"}}
    with serving(lambda asked: reply(f"{OTHER} x.csv\n{SHA} products.csv\n".encode())) as server:
        wanted = ItemsEntry.model_validate(
            {"name": "products", "source": source, "evidence": {"checksumURL": f"{server.url}/SHA256SUMS"}}
        )
        with Spool(tmp_path, 1 << 30) as spooled:
            roots = [SourceRoot(name="exports", directory=str(tmp_path))]
            fetching.fetch(wanted, SourceCredentials(), around(tmp_path, roots), spooled)
            assert b"".join(spooled.pieces()) == CONTENT
