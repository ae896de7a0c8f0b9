"""Update files: only what changed, nothing twice, clearing said, nothing created or deleted."""

import csv
import gzip
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from controller.faults import Fault
from controller.ports.preparing import (
    EncodeResult,
    Fate,
    Limits,
    ListedPartition,
    Method,
    RebuildRequest,
    RebuildResult,
)
from controller.preparing import encoding
from controller.preparing.context import Context
from controller.preparing.heads import snapshot_rows
from tests.unit.preparing.test_full_send import titles
from tests.unit.preparing.test_sending import listing
from tests.unit.preparing.world import CATALOG, INTERVAL, Row, World, guard, product, products


@pytest.fixture(params=["small", "large"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """A catalog of ten at Meta; `large` keeps what only large ones keep."""
    found = World(tmp_path)
    found.limits = Limits(incremental_rows_min=1 if request.param == "large" else 10**9)
    found.guard = guard(always_allow=1_000)
    found.offer(products(10, sale_price="5 EUR", color="red"))
    found.refresh()
    found.send_full()
    return found


def changed(world: World, changes: dict[int, Row], **all_of_them: str) -> None:
    rows = products(10, **{"sale_price": "5 EUR", "color": "red", **all_of_them})
    for number, change in changes.items():
        rows[number] = rows[number] | change
    world.offer(rows)
    world.now += INTERVAL
    world.refresh(accept_went_back=True)


def parts(world: World, encoded: EncodeResult) -> list[list[list[str]]]:
    """Rows of every part, the first one its columns."""
    texts = (gzip.decompress(world.content(file)).decode() for file in encoded.files)
    return [list(csv.reader(io.StringIO(text, newline=""))) for text in texts]


class TestWhatIsSaid:
    def test_rows_go_together_of_which_the_same_fields_changed(self, world: World) -> None:
        changed(world, {1: {"price": "9 EUR"}, 4: {"availability": "out of stock"}, 2: {"price": "8 EUR"}})
        encoded, answer = world.send_update()
        assert parts(world, encoded) == [
            [["id", "price"], ["00001", "9.00 EUR"], ["00002", "8.00 EUR"]],
            [["id", "availability"], ["00004", "out of stock"]],
        ]
        assert (encoded.update_only, encoded.plan.update, encoded.plan.create, encoded.more) == (True, 3, 0, False)
        assert answer is not None
        assert (answer.accepted, answer.pending[0].volatile, answer.pending[0].acknowledged) == (3, 0, 10)
        assert world.meta.items["00001"] == product("00001", sale_price="5.00 EUR", color="red", price="9.00 EUR")

    def test_clearing_is_an_empty_cell_of_a_column_that_is_named(self, world: World) -> None:
        changed(world, {3: {"sale_price": ""}})
        encoded, _ = world.send_update()
        assert parts(world, encoded) == [[["id", "sale_price"], ["00003", ""]]]
        assert "sale_price" not in world.meta.items["00003"]
        assert world.meta.items["00004"]["sale_price"] == "5.00 EUR"
        assert world.look().pending[0].volatile == 0

    def test_another_field_is_said_with_all_of_its_row_and_may_be_cleared(self, world: World) -> None:
        changed(world, {6: {"title": "Six", "color": ""}, 7: {"price": "1 EUR"}})
        encoded, answer = world.send_update()
        assert [len(part) for part in parts(world, encoded)] == [2, 2]
        assert parts(world, encoded)[1][0][:2] == ["id", "title"]
        assert answer is not None
        assert (answer.pending[0].static, answer.pending[0].volatile) == (0, 0)
        assert world.meta.items["00006"] == product("00006", title="Six", sale_price="5.00 EUR")
        assert titles(world)["00006"] == "Six", "a complete row that Meta accepted"
        assert len(titles(world)) == 10
        assert world.encode(Method.UPDATE_FEED, 0).files == ()

    def test_a_column_that_leaves_the_source_is_cleared(self, world: World) -> None:
        world.offer(products(10, sale_price="5 EUR"))
        world.look()
        world.send_update()
        assert all("color" not in item for item in world.meta.items.values())
        assert world.look().pending[0].static == 0

    def test_an_item_that_leaves_turns_out_of_stock_and_stays(self, world: World) -> None:
        world.offer(products(9, sale_price="5 EUR", color="red"))
        for _ in range(2):
            world.look()
        encoded, _ = world.send_update()
        assert parts(world, encoded) == [[["id", "availability"], ["00009", "out of stock"]]]
        assert len(world.meta.items) == 10
        assert encoded.deletes is None

    def test_nothing_is_created(self, world: World) -> None:
        changed(world, {})
        world.offer(products(12, sale_price="5 EUR", color="red"))
        assert world.look().pending[0].creations == 2
        assert world.encode(Method.UPDATE_FEED, 0).files == ()

    def test_a_held_value_stays_as_meta_has_it(self, world: World) -> None:
        world.guard = guard(always_allow=0, max_out_of_stock_percent=1)
        changed(world, {}, availability="out of stock", title="New")
        encoded, _ = world.send_update()
        assert len(encoded.files) == 1
        assert {item["availability"] for item in world.meta.items.values()} == {"in stock"}
        assert {item["title"] for item in world.meta.items.values()} == {"New"}

    def test_ids_narrow_it(self, world: World) -> None:
        changed(world, {}, price="1 EUR")
        encoded = world.encode(Method.UPDATE_FEED, 0, item_ids=("00002", "00005"))
        assert [row[0] for row in parts(world, encoded)[0][1:]] == ["00002", "00005"]

    def test_it_is_of_one_partition(self, tmp_path: Path) -> None:
        world = World(tmp_path, partitions=2)
        world.offer(products(10))
        world.refresh()
        with pytest.raises(Fault, match="exactly one partition"):
            world.encode(Method.UPDATE_FEED, None)


class TestParts:
    def test_parts_hold_to_rows_and_bytes_and_no_id_is_in_two(self, world: World) -> None:
        changed(world, {number: {"title": "Other"} for number in range(4)}, price="1 EUR")
        by_rows = world.encode(Method.UPDATE_FEED, 0, limits=Limits(update_rows_max=4), calls_max=99)
        assert [file.rows for file in by_rows.files] == [4, 2, 4]
        said = [row[0] for part in parts(world, by_rows) for row in part[1:]]
        assert sorted(said) == sorted(world.meta.items)
        text = sum(len(gzip.decompress(world.content(file))) for file in by_rows.files)
        for limit in (420, 500, text // 2, text):
            encoded = world.encode(Method.UPDATE_FEED, 0, limits=Limits(update_bytes_max=limit), calls_max=99)
            sizes = [len(gzip.decompress(world.content(file))) for file in encoded.files]
            assert max(sizes) <= limit
            assert [row[0] for part in parts(world, encoded) for row in part[1:]] == said

    def test_calls_bound_the_parts_and_the_rest_is_said_to_wait(self, world: World) -> None:
        changed(world, {1: {"availability": "out of stock", "price": "1 EUR"}}, sale_price="4 EUR")
        encoded = world.encode(Method.UPDATE_FEED, 0)
        assert ([file.rows for file in encoded.files], encoded.more) == ([9], True)
        encoded = world.encode(Method.UPDATE_FEED, 0, calls_max=2)
        assert ([file.rows for file in encoded.files], encoded.more) == ([9, 1], False)

    def test_bytes_are_a_function_of_the_rows(self, world: World) -> None:
        changed(world, {3: {"title": "Three"}}, price="1 EUR")
        context = Context(world.store)
        one, other = (
            encoding.run(world.encode_request(Method.UPDATE_FEED, 0, calls_max=9), context, slice_rows)
            for slice_rows in (10**6, 3)
        )
        assert [world.content(file) for file in one.files] == [world.content(file) for file in other.files]
        assert (one.digest, one.plan) == (other.digest, other.plan)


class TestAnswers:
    def test_a_refused_row_waits_and_what_meta_had_is_still_known(self, world: World) -> None:
        changed(world, {1: {"title": "One"}, 2: {"price": "2 EUR"}})
        world.meta.refuse = {"00001", "00002"}
        _, answer = world.send_update()
        assert answer is not None
        assert (answer.refused, answer.pending[0].refused) == (2, 2)
        assert titles(world)["00001"] == "Product 00001"
        assert world.encode(Method.UPDATE_FEED, 0).files == ()

    def test_a_lost_answer_makes_only_what_was_said_unknown(self, world: World) -> None:
        changed(world, {1: {"price": "1 EUR"}, 2: {"title": "Two"}})
        encoded = world.encode(Method.UPDATE_FEED, 0, calls_max=9)
        receipts = [world.receipt(file, fate=Fate.UNKNOWN) for file in encoded.files]
        answer = world.acknowledge(Method.UPDATE_FEED, encoded, receipts, [0])
        assert (answer.unknown, answer.pending[0].unknown, answer.pending[0].acknowledged) == (2, 2, 8)
        rows = {row["id"]: row for row in snapshot_rows(world.store, world.partitions[0].snapshot).to_dicts()}
        assert (rows["00001"]["price_known"], rows["00001"]["availability_known"]) == (False, True)
        assert rows["00001"]["static_hash"] is not None
        assert (rows["00002"]["price_known"], rows["00002"]["static_hash"]) == (False, None)
        world.send_update()
        assert world.look().pending[0].unknown == 0
        assert world.meta.items["00002"]["title"] == "Two"

    def test_what_nobody_knows_is_not_cleared(self, tmp_path: Path) -> None:
        """After a rebuild, Meta's item that the source does not have may have a sale price that no listing shows."""
        world = World(tmp_path)
        world.guard = guard(always_allow=1_000)
        world.offer(products(2))
        world.refresh()
        world.send_full()
        items: list[dict[str, object]] = [dict(each) for each in products(3)]
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
        world.partitions = rebuilt.partitions
        world.meta.items["00002"] = product("00002", sale_price="7.00 EUR")
        world.meta.feed["00002"] = 0
        world.refresh()
        world.send_update()
        assert world.meta.items["00002"]["sale_price"] == "7.00 EUR"
        assert world.look().pending[0].static == 0


def test_a_row_of_which_a_field_without_a_value_is_unknown_is_not_said_as_a_whole(world: World) -> None:
    """It left the source while an answer was lost: an empty cell could clear what Meta took, a full send may say it."""
    world.offer(products(10, color="blue"))
    world.look()
    encoded = world.encode(Method.REPLACE_FEED, 0)
    receipt = world.receipt(encoded.files[0], fate=Fate.UNKNOWN)
    world.acknowledge(Method.REPLACE_FEED, encoded, [receipt], [0])
    world.offer(products(9, color="blue"))
    for _ in range(2):
        world.look()
    assert world.look().pending[0].static == 10
    said = parts(world, world.encode(Method.UPDATE_FEED, 0, calls_max=9))
    columns = {row[0]: part[0] for part in said for row in part[1:]}
    assert "color" in columns["00008"]
    assert "sale_price" not in columns["00009"]
    assert "color" not in columns["00009"]
    assert set(columns["00009"]) <= {"id", "price", "availability"}


CHANGES = st.dictionaries(
    st.integers(0, 9),
    st.fixed_dictionaries(
        {},
        optional={
            "price": st.sampled_from(["1 EUR", "2 EUR"]),
            "sale_price": st.sampled_from(["", "0.50 EUR"]),
            "availability": st.sampled_from(["out of stock", "preorder"]),
            "quantity_to_sell_on_facebook": st.sampled_from(["", "7"]),
            "title": st.sampled_from(['Say "hi", 日本語', "two\nlines"]),
            "color": st.sampled_from(["", "blue"]),
        },
    ),
    max_size=10,
)


@settings(
    max_examples=8, deadline=None, phases=[Phase.reuse, Phase.generate], suppress_health_check=[HealthCheck.too_slow]
)
@given(st.lists(CHANGES, min_size=1, max_size=3), st.integers(150, 3_000), st.booleans())
def test_after_an_update_meta_has_what_the_source_says(rounds: list[dict[int, Row]], size: int, large: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory))
        world.limits = Limits(incremental_rows_min=1 if large else 10**9, update_bytes_max=size)
        world.guard = guard(always_allow=1_000)
        world.offer(products(10, sale_price="5 EUR", color="red"))
        world.refresh()
        world.send_full()
        for changes in rounds:
            changed(world, changes)
            world.send_update()
            owed = world.refresh(read=False).pending[0]
            assert (owed.volatile, owed.static, owed.acknowledged) == (0, 0, 10)
        held = world.meta.items
        world.meta = type(world.meta)(feed=dict(world.meta.feed))
        world.send_full(update_only=True)
        assert world.meta.items == held, "what a full send would say"
