"""A store in a real S3-compatible bucket: what a store on a volume promises, and what a copy must not break."""

import asyncio
import itertools
from pathlib import Path
from urllib.parse import quote

import pytest

from controller.faults import Disposition, Fault
from controller.ports.preparing import RefreshResult
from controller.preparing import entry, failures
from controller.stores import bucket as buckets
from controller.stores.bucket import BucketStore
from controller.stores.local import ThreadedStore
from controller.stores.opening import CACHE_VARIABLE, open_store, step_environment
from hack.objectstore import Server
from tests.unit.preparing.world import World, products

_numbers = itertools.count()


@pytest.fixture
def url(object_server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", object_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", object_server.secret_key)
    if not (object_server.directory / "store").exists():
        object_server.make_bucket("store")
    return f"s3://store/p{next(_numbers)}/cat?region=us-east-1&endpoint={quote(object_server.url, safe='')}"


@pytest.fixture
def store(url: str, tmp_path: Path) -> BucketStore:
    opened = BucketStore.open(url, tmp_path / "cache")
    opened.claim_identity("installation-1")
    return opened


def refused(call: object) -> Fault:
    with pytest.raises(Fault) as caught:
        call()  # type: ignore[operator]
    assert "not-a-secret-key" not in str(caught.value)
    return caught.value


def test_what_is_written_is_read_anywhere(store: BucketStore, url: str, tmp_path: Path) -> None:
    store.write("a/1/x.parquet", b"one")
    store.write("a/10/y", b"two")
    other = BucketStore.open(url, tmp_path / "elsewhere")
    assert other.read("a/1/x.parquet") == b"one"
    assert other.path("a/1/x.parquet").read_bytes() == b"one"
    assert b"".join(other.stream("a/10/y")) == b"two"
    assert other.read("a/none") is None
    assert not other.path("a/none").exists()
    assert other.keys("") == ("a/1/x.parquet", "a/10/y")
    assert other.keys("a/1") == ("a/1/x.parquet", "a/10/y")
    assert other.keys("a/1/") == ("a/1/x.parquet",)
    assert other.keys("b") == ()


def test_an_object_is_written_once(store: BucketStore, url: str, tmp_path: Path) -> None:
    store.write("a/x", b"one")
    other = BucketStore.open(url, tmp_path / "elsewhere")
    other.write("a/x", b"one")
    fault = refused(lambda: other.write("a/x", b"two"))
    assert (fault.reason, fault.disposition) == ("StoreKeyTaken", Disposition.DEFECT)
    assert store.read("a/x") == b"one"


def test_large_objects_go_in_parts_and_are_written_once_too(
    store: BucketStore, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "CONDITIONAL_BYTES_MAX", 1_000)
    content = bytes(range(256)) * 60_000
    store.write("a/large", content)
    other = BucketStore.open(url, tmp_path / "elsewhere")
    assert other.read("a/large") == content
    other.write("a/large", content)
    assert refused(lambda: other.write("a/large", content[:-1])).reason == "StoreKeyTaken"


def test_an_error_leaves_neither_object_nor_copy(store: BucketStore) -> None:
    def half() -> None:
        with store.creating("a/x") as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert store.keys("") == ()
    assert [path.name for path in store.root.rglob("*") if path.is_file()] == ["identity.json"]


def test_deleting_takes_object_and_copy(store: BucketStore) -> None:
    store.write("a/x", b"one")
    store.write("a/y", b"two")
    store.delete(("a/x", "a/none"))
    assert store.keys("") == ("a/y",)
    assert store.read("a/x") is None


def test_a_bucket_without_identity_is_lost_and_a_foreign_one_is_refused(
    store: BucketStore, url: str, tmp_path: Path, object_server: Server
) -> None:
    assert BucketStore.open(url, tmp_path / "c1").identity() == "installation-1"
    foreign = BucketStore.open(url, tmp_path / "c2")
    assert refused(lambda: foreign.claim_identity("installation-2")).reason == "SnapshotLost"
    store.write("a/x", b"one")
    prefix = object_server.directory / url.removeprefix("s3://").partition("?")[0]
    (prefix / "identity.json").unlink()
    fault = refused(lambda: BucketStore.open(url, tmp_path / "c3").identity())
    assert (fault.reason, fault.disposition) == ("SnapshotLost", Disposition.STALLED)
    assert refused(lambda: BucketStore.open(url, tmp_path / "c4").read("a/x")).reason == "SnapshotLost"
    never = BucketStore.open(url.replace("/cat?", "/never?"), tmp_path / "c5")
    assert never.identity() is None
    assert refused(lambda: never.write("a/x", b"one")).reason == "SnapshotLost"


def test_copies_of_a_store_that_was_made_anew_are_thrown_away(
    store: BucketStore, url: str, tmp_path: Path, object_server: Server
) -> None:
    store.write("a/x", b"old")
    prefix = object_server.directory / url.removeprefix("s3://").partition("?")[0]
    for path in (prefix / "identity.json", prefix / "a" / "x"):
        path.unlink()
    again = BucketStore.open(url, tmp_path / "cache")
    again.claim_identity("installation-2")
    assert again.read("a/x") is None


@pytest.mark.parametrize(
    "wrong", ["s3://", "s3:///x", "s3://k:secret@bucket/x", "s3://b/x?secret_access_key=k", "s3://b/../x", "gs://b/x"]
)
def test_addresses_that_make_no_sense_are_refused(wrong: str, tmp_path: Path) -> None:
    assert refused(lambda: BucketStore.open(wrong, tmp_path)).reason in {"StoreUnavailable", "StoreKeyInvalid"}


def test_a_server_that_is_not_there_is_worth_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret-key")
    monkeypatch.setattr(buckets, "RETRIES_MAX", 0)
    closed = BucketStore.open("s3://b/x?region=us-east-1&endpoint=http%3A%2F%2F127.0.0.1%3A9", tmp_path)
    fault = refused(closed.identity)
    assert (fault.reason, fault.disposition) == ("StoreUnavailable", Disposition.RETRY)


async def test_the_operator_reads_it_as_any_store(store: BucketStore) -> None:
    threaded = ThreadedStore(store)
    await asyncio.to_thread(store.write, "a/x", b"one" * 1_000_000)
    assert await threaded.identity() == "installation-1"
    assert b"".join([piece async for piece in threaded.stream("a/x")]) == b"one" * 1_000_000
    assert await threaded.keys("a/") == ("a/x",)


def test_a_whole_refresh_and_a_send_over_a_bucket(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    world = World(tmp_path)
    world.store = open_store(url, tmp_path / "cache")
    world.store.claim_identity("test")
    world.offer(products(100))
    world.refresh()
    world.send_full()
    assert world.meta.items == {row["id"]: row for row in products(100)}
    # Another machine, whose copies are yet to be fetched, goes on from what the ledger names.
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "other"))
    result = failures.unless_failed(entry.run(world.refresh_request(read=False), durable=False))
    assert isinstance(result, RefreshResult)
    assert sum(each.volatile + each.static + each.creations for each in result.pending) == 0


def test_a_step_gets_what_reaches_the_bucket_and_no_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_PROFILE", "x")
    given = step_environment("s3://b/x", tmp_path)
    assert given["AWS_ACCESS_KEY_ID"] == "k"
    assert given[CACHE_VARIABLE] == str(tmp_path)
    assert "AWS_PROFILE" not in given
    assert step_environment("file:///x", tmp_path) == {}
