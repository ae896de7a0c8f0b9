"""What a read may say, and what nobody acts on."""

import base64
import csv
import gzip
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from controller.faults import Disposition, Fault
from controller.ports.preparing import Findings, Method, RefreshResult, SourceCredentials
from controller.preparing import entry
from controller.preparing.heads import memory_of
from controller.preparing.objects import read_table
from tests.unit.preparing.world import INTERVAL, START, World, as_csv, guard, items_entry, product, products
from tests.unit.sources.server import reply, serving


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def loaded(world: World, count: int = 3) -> World:
    """A world whose products are at Meta."""
    world.offer(products(count))
    world.refresh()
    world.send_full()
    return world


def refused(result: RefreshResult) -> str:
    assert result.refused is not None
    assert result.head is None
    return result.refused.reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "SourceEmpty"),
        (as_csv([]), "SourceEmpty"),
        (b"<html>login</html>", "SourceMalformed"),
        (b'"id,title\n1,2\n', "SourceMalformed"),
        (b"\x00\x01\x02\n\x03\n", "MappingInvalid"),
        (b"sku,name\n1,2\n", "MappingInvalid"),
        (as_csv([])[:-1] + b"\n1\n2\n", "SourceMalformed"),
    ],
)
def test_a_bad_read_changes_nothing(world: World, content: bytes, reason: str) -> None:
    before = loaded(world).head
    world.offer(content)
    assert refused(world.look()) == reason
    assert world.head == before
    assert refused(world.look()) == reason


def test_a_source_that_is_gone_is_unreachable(world: World) -> None:
    loaded(world)
    (world.directory / "exports" / "items.csv").unlink()
    assert refused(world.look()) == "SourceUnreachable"


def test_fewer_rows_than_asked_for_or_too_much_less_than_before(tmp_path: Path) -> None:
    world = World(tmp_path, evidence={"minRows": 3, "maxShrinkPercent": 50})
    world.offer(products(2))
    assert refused(world.refresh()) == "SourceTooSmall"
    world.offer(products(10))
    assert world.refresh().refused is None
    world.offer(products(4))
    result = world.refresh()
    assert refused(result) == "SourceTooSmall"
    assert result.refused is not None
    assert "4 rows after 10" in result.refused.message
    world.offer(products(5))
    assert world.refresh().refused is None


def test_a_config_map_that_somebody_put_back_is_taken(tmp_path: Path) -> None:
    world = World(tmp_path, source={"configMap": {"name": "products", "key": "items.csv"}})
    for rows in (products(3), products(3, price="1 EUR"), products(3)):
        handed_in = SourceCredentials(content=base64.b64encode(as_csv(rows)).decode())
        result = entry.run(world.refresh_request(), handed_in, durable=False)
        assert isinstance(result, RefreshResult)
        assert result.head is not None
        world.head = result.head


def test_a_known_older_version_is_not_taken_unless_it_is_meant(world: World) -> None:
    first, second = as_csv(products(3)), as_csv(products(3, price="1 EUR"))
    world.offer(first)
    world.refresh()
    world.offer(second)
    head = world.refresh().head
    assert head is not None
    assert len(head.superseded_digests) == 1
    world.offer(first)
    result = world.refresh()
    assert refused(result) == "SourceWentBack"
    assert result.refused is not None
    assert result.refused.digest == head.superseded_digests[0]
    head = world.refresh(accept_went_back=True).head
    assert head is not None
    assert head.sequence == 3
    world.offer(second)
    assert refused(world.refresh()) == "SourceWentBack"


def test_an_older_last_modified_is_a_step_back(world: World) -> None:
    dates = iter(["Fri, 02 Jan 2026 00:00:00 GMT", "Thu, 01 Jan 2026 00:00:00 GMT"])
    contents = iter([as_csv(products(3)), as_csv(products(4))])
    with serving(lambda asked: reply(next(contents), last_modified=next(dates), etag='"x"')) as server:
        world.entry = items_entry(source={"http": {"url": server.url}})
        head = world.refresh(allowed_networks=("127.0.0.0/8",)).head
        assert head is not None
        assert (head.etag, head.last_modified) == ('"x"', "Fri, 02 Jan 2026 00:00:00 GMT")
        assert refused(world.refresh(allowed_networks=("127.0.0.0/8",))) == "SourceWentBack"


def test_a_quiet_look_keeps_sequence_and_rows_and_says_the_checks_again(world: World) -> None:
    world.offer([*products(3), product("bad", price="x")])
    first = world.refresh()
    world.now += timedelta(hours=1)
    second = world.refresh()
    third = world.refresh(read=False)
    assert first.head is not None
    assert second.head is not None
    assert second.head.sequence == first.head.sequence == 1
    assert second.head.partitions == first.head.partitions
    assert second.head.read_at == START + timedelta(hours=1)
    assert [check.rule for check in first.checks if check.level == "Error"] == ["price-format"]
    assert first.checks == second.checks == third.checks
    assert (second.head.rows, second.head.valid, second.head.invalid) == (4, 3, 1)


def test_another_configuration_reads_the_same_bytes_anew(world: World) -> None:
    world.offer(products(3, price="5"))
    assert world.refresh().head is not None
    world.entry = items_entry(currency="EUR")
    result = world.refresh(configuration_digest="c2")
    assert result.head is not None
    assert (result.head.sequence, result.head.valid, result.head.superseded_digests) == (2, 3, ())


def test_rejected_rows_stay_at_meta_by_default(world: World) -> None:
    loaded(world)
    world.offer([product("00000", title=""), *products(3)[1:]])
    for read in (True, True, False, False):
        world.now += INTERVAL
        result = world.refresh(read=read)
        assert (result.watching, result.newly_leaving) == (0, 0)
    encoded, _ = world.send_full()
    assert encoded.update_only is False
    assert world.meta.items["00000"]["title"] == "Product 00000"


def test_dropped_rows_leave(tmp_path: Path) -> None:
    world = loaded(World(tmp_path, rejectedRows="Drop"))
    world.offer([product("00000", title=""), *products(3)[1:]])
    assert world.look().watching == 1
    assert world.look().newly_leaving == 1


def test_sent_rows_go_as_they_are_and_duplicates_never(tmp_path: Path) -> None:
    world = World(tmp_path, rejectedRows="Send")
    world.offer([product("a", price="cheap"), product("a"), product("b"), product("")])
    result = world.refresh()
    assert result.head is not None
    assert (result.head.valid, result.head.rows) == (2, 4)
    world.send_full()
    assert sorted(world.meta.items) == ["a", "b"]


def test_while_an_id_is_unreadable_nothing_counts_as_gone(world: World) -> None:
    loaded(world)
    for broken in (as_csv(products(1)) + b"00001,short\n", as_csv([*products(1), product("")])):
        world.offer(broken)
        for read in (True, True, False, False):
            world.now += INTERVAL
            result = world.refresh(read=read)
            assert (result.watching, result.newly_leaving, result.held) == (0, 0, None)
    assert world.send_full()[0].update_only is False
    assert len(world.meta.items) == 3


def test_every_item_that_fails_a_check_is_named_in_the_store(world: World) -> None:
    names = [f"{number:05}" for number in range(40)]
    world.offer([product(name, price="free") for name in names] + [product("good")])
    result = world.refresh()
    assert result.head is not None
    assert result.head.findings is not None
    found = Findings.model_validate_json(world.store.read(result.head.findings) or b"").checks
    assert [check.rule for check in found] == [check.rule for check in result.checks]
    (said,) = [check for check in found if check.rule == "price-format"]
    (short,) = [check for check in result.checks if check.rule == "price-format"]
    assert said.sample_ids == tuple(names)
    assert short.sample_ids == tuple(names[:10])
    assert said.count == short.count == 40
    again = world.refresh(read=False).head
    assert again is not None
    assert again.findings == result.head.findings, "a quiet look keeps what the read found"


def test_duplicates_are_named_with_both_lines(world: World) -> None:
    world.offer([product("a"), product("b"), product(" a ", title="other")])
    result = world.refresh()
    (check,) = [check for check in result.checks if check.level == "Error"]
    assert (check.rule, check.count, check.sample_ids) == ("id-duplicate", 1, ("a",))
    assert "a on lines 2 and 4" in check.message
    assert result.head is not None
    rejected = memory_of(world.store, result.head).rejected
    assert rejected is not None
    row = read_table(world.store, rejected).row(0, named=True)
    assert (row["id"], row["line"], row["kept_line"], row["rules"]) == ("a", 4, 2, "id-duplicate")


def test_what_is_over_the_guard_is_held_and_an_approval_releases_exactly_that(world: World) -> None:
    world.guard = guard(always_allow=1)
    loaded(world, 30)
    world.offer(products(20, price="1 EUR"))
    world.look()
    result = world.look()
    held = result.held
    assert held is not None
    assert (held.count, held.leaving, held.unsellable, held.of) == (10, 10, 0, 30)
    assert held.sample_ids[0] == "00020"
    stored = world.store.read(held.ids)
    assert stored is not None
    assert stored.decode().splitlines() == [f"{number:05}" for number in range(20, 30)]
    assert held.digest.removeprefix("sha256:") in held.ids
    assert result.pending[0].deletions == 0
    encoded, _ = world.send_full()
    assert encoded.update_only_reason == "DeletionsHeld"
    assert len(world.meta.items) == 30
    assert world.meta.items["00000"]["price"] == "1.00 EUR"
    world.guard = guard(always_allow=1, approved_digests=(held.digest,))
    result = world.refresh(read=False)
    assert (result.released_digests, result.newly_leaving, result.held) == ((held.digest,), 0, None)
    world.send_batch()
    assert {world.meta.items[f"{number:05}"]["availability"] for number in range(20, 30)} == {"out of stock"}
    assert world.refresh(read=False).pending[0].deletions == 10
    assert world.send_full()[0].plan.delete == 10
    assert len(world.meta.items) == 20


def test_a_wave_of_unsellable_items_is_held_back_in_everything_we_send(world: World) -> None:
    world.guard = guard(always_allow=1)
    loaded(world, 10)
    world.offer(products(10, availability="out of stock", price="1 EUR"))
    result = world.look()
    assert result.held is not None
    assert (result.held.unsellable, result.newly_unsellable) == (10, 0)
    world.send_batch()
    world.send_full()
    assert {each["availability"] for each in world.meta.items.values()} == {"in stock"}
    assert {each["price"] for each in world.meta.items.values()} == {"1.00 EUR"}
    world.guard = guard(always_allow=1, approved_digests=(result.held.digest,))
    assert world.refresh(read=False).pending[0].volatile == 10
    world.send_batch()
    assert {each["availability"] for each in world.meta.items.values()} == {"out of stock"}
    assert world.look().held is None


def test_leavers_may_go_without_being_out_of_stock_first(world: World) -> None:
    world.guard = guard(out_of_stock_first=False)
    loaded(world)
    world.offer(products(2))
    world.look()
    assert world.look().pending[0].deletions == 1
    assert world.encode(Method.ITEMS_BATCH).files == ()
    assert world.send_full()[0].plan.delete == 1


def test_zero_rows_never_delete(world: World) -> None:
    world.guard = guard(always_allow=100, max_delete_percent=100)
    loaded(world)
    world.offer(as_csv([]))
    for _ in range(4):
        assert refused(world.look()) == "SourceEmpty"
    encoded, _ = world.send_full()
    assert encoded.plan.delete == 0
    assert len(world.meta.items) == 3


def test_a_lost_snapshot_is_never_an_empty_one(world: World) -> None:
    loaded(world)
    snapshot = world.partitions[0].snapshot
    assert snapshot is not None
    path = world.store.path(snapshot)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    for broken in ("cut", "gone"):
        if broken == "gone":
            path.unlink()
        with pytest.raises(Fault) as caught:
            world.refresh()
        assert (caught.value.reason, caught.value.disposition) == ("SnapshotLost", Disposition.STALLED)


def test_a_newer_format_is_refused_by_name(world: World) -> None:
    loaded(world)
    snapshot = world.partitions[0].snapshot
    assert snapshot is not None
    newer = snapshot.replace("snapshot-v2-", "snapshot-v3-")
    world.store.path(snapshot).rename(world.store.path(newer))
    world.partitions = (world.partitions[0].model_copy(update={"snapshot": newer}),)
    with pytest.raises(Fault) as caught:
        world.refresh()
    assert caught.value.reason == "SnapshotTooNew"


def test_members_of_a_group_share_a_partition_and_items_never_move(tmp_path: Path) -> None:
    world = World(tmp_path, partitions=4)
    rows = [product(f"{number}", item_group_id=f"g{number % 5}") for number in range(40)]
    world.offer(rows)
    world.refresh()
    for index in range(4):
        world.send_full(index)
    homes = dict(world.meta.feed)
    assert all(
        len({homes[row["id"]] for row in rows if row["item_group_id"] == f"g{group}"}) == 1 for group in range(5)
    )
    assert len(set(homes.values())) > 1
    world.offer([row | {"item_group_id": "g0"} for row in rows] + [product("new", item_group_id="g0")])
    world.look()
    for index in range(4):
        world.send_full(index)
    assert {each: world.meta.feed[each] for each in homes} == homes
    assert world.meta.feed["new"] == min(homes.values())


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    rows = [product(f"{number:03}", title=f'T "{number}"\n, größe 🙂', price="09.90 EUR") for number in range(20)]

    def written(delimiter: str, line_end: str = "\n", quoting: Literal[0, 1] = csv.QUOTE_MINIMAL) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter, lineterminator=line_end, quoting=quoting)
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()

    plain = written(",")
    files = {
        "commas": plain,
        "semicolons": written(";"),
        "tabs, all quoted, CRLF": written("\t", "\r\n", csv.QUOTE_ALL),
        "bars": written("|"),
        "utf-16": written(",").decode().encode("utf-16"),
        "json lines": "\n".join(json.dumps(row) for row in rows).encode(),
        "gzip": gzip.compress(plain),
        "two gzip members": gzip.compress(plain[:1_000]) + gzip.compress(plain[1_000:]),
    }
    tables = []
    for name, content in files.items():
        (tmp_path / name).mkdir()
        world = World(tmp_path / name)
        world.offer(content)
        head = world.refresh().head
        assert head is not None, name
        assert (head.valid, head.invalid) == (20, 0), name
        tables.append(read_table(world.store, head.partitions[0].desired).drop("_line"))
    assert [name for name, table in zip(files, tables, strict=True) if not table.equals(tables[0])] == []
