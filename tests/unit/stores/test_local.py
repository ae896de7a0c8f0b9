"""A store is whole objects or nothing, and never takes a lost volume for an empty one."""

import errno
import json
import os
from pathlib import Path

import pytest

from controller.faults import Disposition, Fault
from controller.stores import local
from controller.stores.local import LocalStore, ThreadedStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    found = LocalStore(tmp_path / "store")
    found.claim_identity("one")
    return found


def reason(error: pytest.ExceptionInfo[Fault]) -> str:
    return error.value.reason


def test_objects_are_written_listed_read_and_deleted(store: LocalStore) -> None:
    store.write("a/b/one.json", b"1")
    store.write("a/c/two.json", b"2")
    assert store.keys("") == ("a/b/one.json", "a/c/two.json")
    assert store.keys("a/b/") == ("a/b/one.json",)
    assert store.keys("a/c/t") == ("a/c/two.json",)
    assert store.keys("zzz/") == ()
    assert store.read("a/b/one.json") == b"1"
    assert store.read("a/b/none.json") is None
    store.delete(("a/b/one.json", "a/b/one.json", "never/was"))
    assert store.keys("") == ("a/c/two.json",)
    assert not (store.root / "a" / "b").exists()


def test_an_object_is_immutable(store: LocalStore) -> None:
    store.write("a", b"1")
    store.write("a", b"1")
    with pytest.raises(Fault) as caught:
        store.write("a", b"2")
    assert caught.value.disposition is Disposition.DEFECT
    assert store.read("a") == b"1"


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../b", "a//b", ".hidden", "a/.tmp-1", "a\x00b", "a\\b", "ä", "a/"]
)
def test_a_key_cannot_leave_the_store(store: LocalStore, key: str) -> None:
    for call in (store.read, store.path, lambda each: store.write(each, b""), lambda each: store.delete((each,))):
        with pytest.raises(Fault) as caught:
            call(key)
        assert reason(caught) == "StoreKeyInvalid"


def test_an_interrupted_write_leaves_nothing(store: LocalStore) -> None:
    def interrupted() -> None:
        with store.creating("a/b") as path:
            path.write_bytes(b"half")
            raise InterruptedError(errno.EIO, "x")

    with pytest.raises(Fault):
        interrupted()
    assert store.read("a/b") is None
    assert [each for each in store.root.rglob("*") if each.is_file()] == [store.root / "identity.json"]


def test_leftovers_of_killed_processes_are_not_listed_and_can_be_removed(store: LocalStore) -> None:
    store.write("a/b", b"1")
    (store.root / "a" / ".tmp-123-4").write_bytes(b"half")
    spilled = store.spool_directory() / "rows-x"
    spilled.mkdir()
    (spilled / "000000.parquet").write_bytes(b"rows")
    assert store.keys("") == ("a/b",)
    assert store.remove_leftovers() == 2
    assert not spilled.exists()
    assert store.remove_leftovers() == 0
    assert store.read("a/b") == b"1"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_has_its_own_reason(store: LocalStore, number: int) -> None:
    with pytest.raises(Fault) as caught, store.creating("a"):
        raise OSError(number, os.strerror(number))
    assert (reason(caught), caught.value.disposition) == ("StoreFull", Disposition.RETRY)
    with pytest.raises(Fault) as caught, store.creating("a"):
        raise OSError(errno.EIO, "x")
    assert reason(caught) == "StoreUnavailable"


def test_a_directory_without_identity_is_no_store(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "nowhere")
    assert store.identity() is None
    for call in (lambda: store.read("a"), lambda: store.keys(""), lambda: store.write("a", b"")):
        with pytest.raises(Fault) as caught:
            call()
        assert (reason(caught), caught.value.disposition) == ("SnapshotLost", Disposition.STALLED)


def test_objects_without_identity_are_a_lost_store_not_a_new_one(store: LocalStore) -> None:
    store.write("a", b"1")
    (store.root / "identity.json").unlink()
    for call in (store.identity, lambda: store.claim_identity("two")):
        with pytest.raises(Fault) as caught:
            call()
        assert reason(caught) == "SnapshotLost"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", json.dumps({"format": 2, "identity": "x"}).encode()])
def test_an_unreadable_identity_is_a_lost_store(store: LocalStore, content: bytes) -> None:
    (store.root / "identity.json").write_bytes(content)
    with pytest.raises(Fault) as caught:
        store.identity()
    assert reason(caught) == "SnapshotLost"


def test_an_identity_is_claimed_once(store: LocalStore) -> None:
    store.claim_identity("one")
    with pytest.raises(Fault) as caught:
        store.claim_identity("two")
    assert reason(caught) == "SnapshotLost"
    assert LocalStore(store.root).identity() == "one"


def test_a_url_names_a_store(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "with space")
    assert LocalStore.from_url(store.url).root == store.root
    for url in ("s3://bucket", "file://host/path", "file:relative", "/plain"):
        with pytest.raises(Fault):
            LocalStore.from_url(url)


def test_a_write_is_flushed_before_it_has_its_name(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bool]] = []
    flush = os.fsync

    def recorded(descriptor: int) -> None:
        seen.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), (store.root / "a" / "b").exists()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    store.write("a/b", b"1")
    names = [Path(name).name for name, _ in seen]
    assert names[0] == "store"
    assert names[1].startswith(".tmp-")
    assert seen[1][1] is False
    assert seen[-1] == (str(store.root / "a"), True)


async def test_the_operators_side_is_the_same_store(tmp_path: Path) -> None:
    core = LocalStore(tmp_path / "store")
    store = ThreadedStore(core)
    assert await store.identity() is None
    await store.claim_identity("one")
    content = os.urandom(2 * local.PIECE_BYTES + 17)
    await store.write("a/b", content)
    assert await store.read("a/b") == content
    assert await store.keys("a/") == ("a/b",)
    pieces = [piece async for piece in store.stream("a/b")]
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= local.PIECE_BYTES
    await store.delete(("a/b",))
    with pytest.raises(Fault) as caught:
        _ = [piece async for piece in store.stream("a/b")]
    assert reason(caught) == "SnapshotLost"
    assert store.url == core.url
