"""Full sends, batches, and what becomes of them: kept rows, limits, refusals, doubts, lost heads."""

import csv
import gzip
import hashlib
import io
import json
from datetime import timedelta
from pathlib import Path

import pytest

from controller.faults import Fault
from controller.ports.preparing import (
    EncodeResult,
    Fate,
    Limits,
    ListedPartition,
    Method,
    RebuildRequest,
    RebuildResult,
    Receipt,
    SentIDsRequest,
    SentIDsResult,
    VerifyRequest,
    VerifyResult,
)
from tests.unit.preparing.world import CATALOG, World, fatal, guard, product, products


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def loaded(world: World, count: int = 3) -> World:
    world.offer(products(count))
    world.refresh()
    world.send_full()
    return world


def rows_of(world: World, encoded: EncodeResult) -> list[dict[str, str]]:
    content = gzip.decompress(world.content(encoded.files[0])).decode()
    return list(csv.DictReader(io.StringIO(content, newline="")))


def requests_of(world: World, encoded: EncodeResult) -> list[dict[str, object]]:
    return [each["data"] for file in encoded.files for each in json.loads(world.content(file))["requests"]]


def listing(world: World, items: list[dict[str, object]]) -> str:
    key = f"{world.prefix()}/listing.jsonl"
    world.store.write(key, "\n".join(json.dumps(each) for each in items).encode())
    return key


class TestReplaceFile:
    def test_bytes_are_a_function_of_the_rows(self, world: World) -> None:
        world.offer([product("b"), product("a", title='x,"y"\nz')])
        world.refresh()
        one, other = world.encode(Method.REPLACE_FEED, 0), world.encode(Method.REPLACE_FEED, 0)
        content = world.content(one.files[0])
        assert content == world.content(other.files[0])
        assert one.digest == other.digest
        assert one.files[0].sha256 == hashlib.sha256(content).hexdigest()
        assert one.digest == "sha256:" + hashlib.sha256(one.files[0].sha256.encode()).hexdigest()
        assert content[4:8] == bytes(4)
        text = gzip.decompress(content)
        assert text.startswith(b"id,title,description,price,sale_price,sale_price_effective_date,availability,")
        assert [row["id"] for row in rows_of(world, one)] == ["a", "b"]
        assert gzip.decompress(content) == gzip.GzipFile(fileobj=io.BytesIO(content)).read()

    def test_without_rows_there_is_no_file(self, tmp_path: Path) -> None:
        world = World(tmp_path, partitions=256)
        world.offer(products(1))
        result = world.refresh()
        empty = next(each.index for each in result.pending if each.creations == 0)
        assert world.encode(Method.REPLACE_FEED, empty).files == ()

    def test_asked_for_update_only(self, world: World) -> None:
        loaded(world)
        encoded = world.encode(Method.REPLACE_FEED, 0, update_only=True)
        assert (encoded.update_only, encoded.update_only_reason) == (True, "Requested")

    def test_an_unchanged_catalog_goes_as_a_replace(self, world: World) -> None:
        encoded, _ = loaded(world).send_full()
        assert (encoded.update_only, encoded.plan.unchanged, encoded.plan.update) == (False, 3, 0)

    def test_changed_rows_of_existing_items_travel_as_updates(self, world: World) -> None:
        """What a replace does to an item whose changed row Meta refuses is not published; deleting is the worst."""
        loaded(world)
        world.offer([product("00000", title="new"), *products(3)[1:]])
        world.refresh()
        world.meta.refuse = {"00000"}
        encoded, answer = world.send_full()
        assert (encoded.update_only_reason, encoded.plan.update) == ("UntestedRows", 1)
        assert answer is not None
        assert (answer.refused, answer.accepted) == (1, 2)
        assert (answer.pending[0].refused, answer.pending[0].static) == (1, 0)
        assert len(world.meta.items) == 3
        world.now += timedelta(hours=24)
        assert world.refresh().pending[0].static == 1

    def test_a_send_that_deletes_carries_only_accepted_rows(self, world: World) -> None:
        loaded(world, 4)
        world.offer(products(3))
        world.look()
        world.look()
        world.send_batch()
        world.offer([product("00000", title="new", price="5 EUR"), *products(3)[1:]])
        world.refresh()
        world.meta.refuse = {"00000"}
        encoded, _ = world.send_full()
        assert (encoded.update_only, encoded.plan.delete, encoded.plan.update) == (False, 1, 0)
        assert sorted(world.meta.items) == ["00000", "00001", "00002"]
        assert world.meta.items["00000"] == product("00000")
        world.meta.refuse = set()
        assert world.refresh(read=False).pending[0].static == 1
        assert world.send_full()[0].update_only_reason == "UntestedRows"
        assert world.meta.items["00000"]["title"] == "new"

    def test_kept_rows_carry_the_newest_acknowledged_values(self, world: World) -> None:
        loaded(world)
        world.offer([product("00000", price="3 EUR"), *products(3)[1:]])
        world.refresh()
        world.send_batch()
        world.offer(products(3)[1:])
        world.look()
        encoded = world.encode(Method.REPLACE_FEED, 0)
        assert encoded.update_only_reason == "DeletionsHeld"
        (kept,) = [row for row in rows_of(world, encoded) if row["id"] == "00000"]
        assert (kept["price"], kept["title"], kept["availability"]) == ("3.00 EUR", "Product 00000", "in stock")

    def test_a_missing_kept_row_makes_it_update_only_and_the_rest_goes_out(self, world: World) -> None:
        loaded(world)
        world.partitions = (world.partitions[0].model_copy(update={"payload": None}),)
        world.offer([product("00000", title=""), product("00001", price="2 EUR"), product("00002")])
        result = world.refresh()
        assert result.pending[0].kept_missing == 1
        encoded, _ = world.send_full()
        assert encoded.update_only_reason == "KeptRowMissing"
        assert [row["id"] for row in rows_of(world, encoded)] == ["00001", "00002"]
        assert world.meta.items["00001"]["price"] == "2.00 EUR"
        assert "00000" in world.meta.items

    def test_over_metas_limit_is_said(self, world: World) -> None:
        world.offer(products(3))
        world.refresh()
        with pytest.raises(Fault) as caught:
            world.encode(Method.REPLACE_FEED, 0, limits=Limits(upload_bytes_max=100))
        assert caught.value.reason == "PayloadTooLarge"
        assert "shards" in caught.value.message

    def test_a_refused_creation_is_not_believed_and_tried_again_in_full_sends(self, world: World) -> None:
        world.offer(products(2))
        world.meta.refuse = {"00001"}
        world.refresh()
        encoded, answer = world.send_full()
        assert answer is not None
        assert answer.errors[0].model_dump() == {
            "message": "A required field is missing", "severity": "fatal", "count": 1, "sample_ids": ("00001",),
        }  # fmt: skip
        assert (answer.pending[0].items_at_meta, answer.pending[0].refused, answer.pending[0].creations) == (1, 1, 0)
        world.meta.refuse = set()
        assert world.encode(Method.ITEMS_BATCH).files == ()
        encoded, _ = world.send_full()
        assert encoded.plan.create == 1
        assert len(world.meta.items) == 2

    def test_a_refused_creation_that_leaves_the_source_is_forgotten(self, world: World) -> None:
        world.offer(products(2))
        world.meta.refuse = {"00001"}
        world.refresh()
        world.send_full()
        world.offer(products(1))
        assert world.look().watching == 0
        _, answer = world.send_full()
        assert answer is not None
        assert answer.pending[0].refused == 0


class TestBatch:
    def test_only_changed_fields_with_clearing_said(self, world: World) -> None:
        world.offer([product("a", sale_price="5 EUR", quantity_to_sell_on_facebook="007"), product("b")])
        world.refresh()
        world.send_full()
        assert world.meta.items["a"]["quantity_to_sell_on_facebook"] == "7"
        world.offer([product("a", quantity_to_sell_on_facebook="12", title="not volatile"), product("b")])
        result = world.look()
        assert (result.pending[0].volatile, result.pending[0].static) == (1, 1)
        encoded, _ = world.send_batch()
        assert requests_of(world, encoded) == [{"id": "a", "sale_price": "", "quantity_to_sell_on_facebook": 12}]
        assert "sale_price" not in world.meta.items["a"]

    def test_never_creates(self, world: World) -> None:
        world.offer(products(2))
        world.refresh()
        assert world.encode(Method.ITEMS_BATCH).files == ()

    def test_fields_and_ids_narrow_it(self, world: World) -> None:
        loaded(world)
        world.offer(products(3, price="1 EUR", availability="out of stock"))
        world.refresh()
        encoded = world.encode(Method.ITEMS_BATCH, None, fields=("price",), item_ids=("00001", "00002"))
        assert requests_of(world, encoded) == [
            {"id": "00001", "price": "1.00 EUR"},
            {"id": "00002", "price": "1.00 EUR"},
        ]
        assert world.encode(Method.ITEMS_BATCH, None, fields=("title",)).files == ()

    def test_bodies_are_filled_ordered_and_limited(self, tmp_path: Path) -> None:
        world = World(tmp_path, partitions=2)
        world.guard = guard(always_allow=1_000)
        world.offer(products(100))
        world.refresh()
        world.send_full(0)
        world.send_full(1)
        world.offer(products(100, price="1 EUR"))
        world.refresh()
        limits = Limits(batch_rows_max=30)
        encoded = world.encode(Method.ITEMS_BATCH, None, limits=limits, calls_max=2)
        assert ([file.rows for file in encoded.files], encoded.more, encoded.plan.update) == ([30, 30], True, 60)
        encoded = world.encode(Method.ITEMS_BATCH, None, limits=limits, calls_max=4)
        assert ([file.rows for file in encoded.files], encoded.more) == ([30, 30, 30, 10], False)
        said = [(world.meta.feed[str(row["id"])], str(row["id"])) for row in requests_of(world, encoded)]
        assert said == sorted(said)
        assert len(set(said)) == 100
        assert {index for file in encoded.files for index in file.partitions} == {0, 1}
        encoded = world.encode(Method.ITEMS_BATCH, None, limits=Limits(batch_bytes_max=1_000), calls_max=100)
        assert all(file.bytes <= 1_000 for file in encoded.files)
        assert min(file.bytes for file in encoded.files[:-1]) > 900
        assert sum(file.rows for file in encoded.files) == 100

    def test_while_rows_wait_bodies_are_full_across_shards(self, tmp_path: Path) -> None:
        world = World(tmp_path, partitions=7)
        world.guard = guard(always_allow=1_000)
        rows = products(230)
        world.offer(rows)
        world.refresh()
        for index in range(7):
            world.send_full(index)
        world.offer([{**row, "price": "1 EUR"} if number % 2 else row for number, row in enumerate(rows)])
        world.refresh()
        limits = Limits(batch_rows_max=20)
        encoded = world.encode(Method.ITEMS_BATCH, None, limits=limits, calls_max=99)
        assert [file.rows for file in encoded.files] == [20, 20, 20, 20, 20, 15]
        assert any(len(file.partitions) > 1 for file in encoded.files)
        said = [str(each["id"]) for each in requests_of(world, encoded)]
        assert sorted(said) == [row["id"] for row in rows[1::2]]

    def test_a_refused_row_waits_until_it_changes_or_a_day_is_over(self, world: World) -> None:
        loaded(world)
        world.meta.refuse = {"00001"}
        world.offer(products(3, price="1 EUR"))
        world.refresh()
        _, answer = world.send_batch()
        assert answer is not None
        assert (answer.accepted, answer.refused, answer.pending[0].volatile) == (2, 1, 0)
        assert world.encode(Method.ITEMS_BATCH).files == ()
        world.now += timedelta(hours=24)
        assert len(requests_of(world, world.encode(Method.ITEMS_BATCH))) == 1
        world.now -= timedelta(hours=23)
        world.offer(products(3, price="2 EUR"))
        world.refresh()
        assert len(requests_of(world, world.encode(Method.ITEMS_BATCH))) == 3

    def test_only_the_partitions_asked_for_move(self, tmp_path: Path) -> None:
        world = World(tmp_path, partitions=2)
        world.offer(products(20))
        world.refresh()
        world.send_full(0)
        world.send_full(1)
        world.offer(products(20, price="1 EUR"))
        world.refresh()
        encoded = world.encode(Method.ITEMS_BATCH)
        other = world.partitions[1]
        answer = world.acknowledge(Method.ITEMS_BATCH, encoded, [world.receipt(encoded.files[0])], [0])
        assert world.partitions[1] == other
        assert [each.index for each in answer.pending] == [0]
        assert {world.meta.feed[str(row["id"])] for row in requests_of(world, world.encode(Method.ITEMS_BATCH))} == {1}


class TestDoubt:
    def test_never_accepted_changes_nothing(self, world: World) -> None:
        world.offer(products(3))
        world.refresh()
        before = world.partitions
        encoded = world.encode(Method.REPLACE_FEED, 0)
        receipt = world.receipt(encoded.files[0], fate=Fate.NEVER_ACCEPTED)
        answer = world.acknowledge(Method.REPLACE_FEED, encoded, [receipt], [0])
        assert (world.partitions, answer.accepted, answer.unknown) == (before, 0, 0)
        assert answer.pending[0].creations == 3

    def test_an_unknown_fate_keeps_the_last_accepted_rows(self, world: World) -> None:
        loaded(world)
        payload = world.partitions[0].payload
        world.offer(products(4, title="new"))
        world.refresh()
        encoded = world.encode(Method.REPLACE_FEED, 0)
        answer = world.acknowledge(
            Method.REPLACE_FEED, encoded, [world.receipt(encoded.files[0], fate=Fate.UNKNOWN)], [0]
        )
        assert answer.unknown == 4
        assert (answer.pending[0].unknown, answer.pending[0].items_at_meta) == (4, 4)
        assert (answer.pending[0].volatile, answer.pending[0].static) == (4, 4)
        assert payload is not None
        world.offer(products(3)[1:])
        world.look()
        kept = rows_of(world, world.encode(Method.REPLACE_FEED, 0))[0]
        assert (kept["id"], kept["title"]) == ("00000", "Product 00000")

    def test_unnamed_refusals_are_settled_by_reading_back(self, world: World) -> None:
        world.offer(products(3))
        world.refresh()
        encoded = world.encode(Method.REPLACE_FEED, 0)
        back: list[dict[str, object]] = [dict(product(number)) for number in ("00000", "00001")]
        receipt = world.receipt(encoded.files[0], [fatal("00002")], unnamed_refused=1, read_back=listing(world, back))
        answer = world.acknowledge(Method.REPLACE_FEED, encoded, [receipt], [0])
        assert (answer.accepted, answer.refused, answer.unknown) == (2, 1, 0)
        assert answer.pending[0].acknowledged == 2

    def test_verify_and_sent_ids(self, world: World) -> None:
        world.offer(products(4))
        world.refresh()
        file = world.encode(Method.REPLACE_FEED, 0).files[0]
        step = {"store": world.store.url, "catalog_id": CATALOG, "now": world.now}
        ids = world.run(SentIDsRequest(prefix=world.prefix(), sent=(file.sent,), **step))
        assert isinstance(ids, SentIDsResult)
        content = world.store.read(ids.ids)
        assert content is not None
        assert json.loads(content) == ["00000", "00001", "00002", "00003"]
        assert ids.count == 4
        back = [product("00000"), product("00001", price="9.990 EUR"), product("00002", price="1 EUR")]
        read_back = listing(world, [dict(each) for each in back])
        result = world.run(VerifyRequest(prefix=world.prefix(), sent=(file.sent,), read_back=read_back, **step))
        assert isinstance(result, VerifyResult)
        assert (result.equal, result.different, result.missing) == (2, 1, 1)

    def test_only_what_was_known_to_be_otherwise_proves_that_a_batch_was_taken(self, world: World) -> None:
        """After a batch was given up, nobody knows whether the values came from it or from its successor."""
        loaded(world)
        rows = products(4)
        rows[1] |= {"price": "5 EUR"}
        rows[2] |= {"availability": "out of stock"}
        world.offer(rows)
        world.look()

        def verified(sent: str) -> VerifyResult:
            back = [product(number) for number in ("00000", "00001", "00002", "00003")]
            back[1] |= {"price": "5.00 EUR"}
            back[2] |= {"availability": "out of stock"}
            request = VerifyRequest(
                store=world.store.url,
                prefix=world.prefix(),
                catalog_id=CATALOG,
                now=world.now,
                sent=(sent,),
                read_back=listing(world, [dict(each) for each in back]),
                partitions=world.partitions,
            )
            result = world.run(request)
            assert isinstance(result, VerifyResult)
            return result

        first = world.encode(Method.ITEMS_BATCH)
        assert verified(first.files[0].sent) == VerifyResult(equal=2, proven=2)
        world.acknowledge(Method.ITEMS_BATCH, first, [world.receipt(first.files[0], fate=Fate.UNKNOWN)], [0])
        again = world.encode(Method.ITEMS_BATCH)
        assert verified(again.files[0].sent) == VerifyResult(equal=2, proven=0)


class TestLostHeads:
    def test_rebuilt_from_metas_listing_nothing_is_known_and_nothing_is_deleted(self, world: World) -> None:
        loaded(world)
        items: list[dict[str, object]] = [dict(each) for each in products(4)]
        rebuilt = world.run(
            RebuildRequest(
                store=world.store.url,
                prefix=world.prefix(),
                catalog_id=CATALOG,
                now=world.now,
                partitions=world.partitions,
                listings=(ListedPartition(index=0, listing=listing(world, items)),),
            )
        )
        assert isinstance(rebuilt, RebuildResult)
        assert rebuilt.items == 4
        world.partitions = rebuilt.partitions
        assert world.partitions[0].payload is None
        world.meta.items["00003"] = product("00003")
        world.meta.feed["00003"] = 0
        result = world.refresh()
        assert (result.watching, result.pending[0].unknown, result.pending[0].kept_missing) == (1, 4, 1)
        assert (result.pending[0].volatile, result.pending[0].static) == (4, 3)
        encoded, answer = world.send_full()
        assert encoded.update_only_reason == "KeptRowMissing"
        assert answer is not None
        assert (answer.pending[0].acknowledged, answer.pending[0].unknown) == (3, 1)
        world.look()
        world.send_batch()
        assert world.meta.items["00003"]["availability"] == "out of stock"
        assert world.refresh(read=False).pending[0].deletions == 1
        world.send_full()
        assert sorted(world.meta.items) == ["00000", "00001", "00002"]


def test_receipts_of_two_bodies_are_taken_together(world: World) -> None:
    loaded(world, 10)
    world.offer(products(10, price="1 EUR"))
    world.refresh()
    encoded = world.encode(Method.ITEMS_BATCH, None, limits=Limits(batch_rows_max=5), calls_max=2)
    receipts: list[Receipt] = [
        world.receipt(encoded.files[0]),
        world.receipt(encoded.files[1], fate=Fate.UNKNOWN),
    ]
    answer = world.acknowledge(Method.ITEMS_BATCH, encoded, receipts, [0])
    assert (answer.accepted, answer.unknown, answer.pending[0].volatile) == (5, 5, 5)


def test_a_leaver_turns_out_of_stock_by_update_before_any_replace_deletes(world: World) -> None:
    """Meta may refuse the changed row of a leaver like any other; a replace that carried it could delete it."""
    loaded(world)
    world.offer(products(2))
    world.look()
    world.look()
    world.meta.refuse = {"00002"}
    encoded, _ = world.send_full()
    assert encoded.update_only_reason == "UntestedRows"
    assert len(world.meta.items) == 3


def test_a_partition_that_nothing_stays_in_loses_its_feed(tmp_path: Path) -> None:
    """Meta takes no empty file."""
    world = World(tmp_path, partitions=2)
    world.guard = guard(always_allow=100)
    rows = products(20)
    world.offer(rows)
    world.refresh()
    for index in (0, 1, 0, 1):
        world.send_full(index)
    stays = [row for row in rows if world.meta.feed[row["id"]] == 1]
    world.offer(stays)
    world.look()
    world.look()
    world.send_batch()
    world.look()
    encoded, answer = world.send_full(0)
    assert (encoded.removes_feed, encoded.plan.delete, encoded.files[0].rows) == (True, 20 - len(stays), 0)
    assert sorted(world.meta.items) == sorted(row["id"] for row in stays)
    assert answer is not None
    assert (answer.pending[0].items_at_meta, answer.pending[0].deletions) == (0, 0)
    assert world.encode(Method.REPLACE_FEED, 0).files == (), "there is nothing left to do"
    assert not world.encode(Method.REPLACE_FEED, 1).removes_feed


def test_a_lost_answer_to_the_removal_leaves_the_rows_to_be_removed_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.guard = guard(always_allow=100)
    loaded(world)
    world.offer([product("else", title="")])
    world.look()
    world.look()
    world.send_batch()
    world.look()
    encoded = world.encode(Method.REPLACE_FEED)
    assert encoded.removes_feed
    receipt = world.receipt(encoded.files[0], fate=Fate.UNKNOWN)
    answer = world.acknowledge(Method.REPLACE_FEED, encoded, [receipt], [0])
    assert answer.pending[0].items_at_meta == 3
    assert world.encode(Method.REPLACE_FEED).removes_feed
