"""From a file to Meta and back, step by step, against a model of Meta."""

from datetime import timedelta
from pathlib import Path

import pytest

from controller.ports.preparing import Method
from tests.unit.preparing.world import INTERVAL, World, guard, product, products


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_first_full_send_creates_everything(world: World) -> None:
    rows = [product("00042", title='Say "hi",\nplease 🙂', price="09.9 eur"), product("7", price="100 JPY")]
    world.offer(rows)
    result = world.refresh()
    assert result.refused is None
    assert result.pending[0].creations == 2
    encoded, acknowledged = world.send_full()
    assert encoded.plan.create == 2
    assert acknowledged is not None
    assert acknowledged.accepted == 2
    assert acknowledged.pending[0].model_dump(exclude={"index", "localized"}) == {
        "creations": 0,
        "volatile": 0,
        "static": 0,
        "deletions": 0,
        "kept_missing": 0,
        "items_at_meta": 2,
        "acknowledged": 2,
        "refused": 0,
        "unknown": 0,
    }
    assert world.meta.items["00042"] == rows[0] | {"price": "9.90 EUR"}
    assert world.meta.items["7"] == rows[1]


def test_a_changed_price_goes_out_in_a_batch_with_nothing_else(world: World) -> None:
    world.offer(products(3))
    world.refresh()
    world.send_full()
    world.offer([product("00000"), product("00001", price="8 EUR"), product("00002")])
    assert world.look().pending[0].volatile == 1
    encoded, acknowledged = world.send_batch()
    assert world.content(encoded.files[0]) == (
        b'{"item_type":"PRODUCT_ITEM","allow_upsert":false,"requests":'
        b'[{"method":"UPDATE","data":{"id":"00001","price":"8.00 EUR"}}]}'
    )
    assert acknowledged is not None
    assert acknowledged.pending[0].volatile == 0
    assert world.encode(Method.ITEMS_BATCH).files == ()


def test_a_leaver_is_watched_then_out_of_stock_then_gone(world: World) -> None:
    world.guard = guard(grace=timedelta(days=90))
    world.offer(products(3))
    world.refresh()
    world.send_full()
    world.offer(products(2))
    first = world.look()
    assert (first.watching, first.newly_leaving) == (1, 0)
    assert first.next_look_at == world.now + INTERVAL
    encoded, _ = world.send_full()
    assert encoded.update_only_reason == "DeletionsHeld"
    second = world.look()
    assert (second.watching, second.newly_leaving) == (0, 1)
    world.send_batch()
    assert world.meta.items["00002"]["availability"] == "out of stock"
    world.now += timedelta(days=89)
    assert world.refresh().pending[0].deletions == 0
    world.now += timedelta(days=2)
    assert world.refresh().pending[0].deletions == 1
    encoded, acknowledged = world.send_full()
    assert encoded.plan.delete == 1
    assert encoded.plan.sample_delete == ("00002",)
    assert sorted(world.meta.items) == ["00000", "00001"]
    assert acknowledged is not None
    assert acknowledged.pending[0].items_at_meta == 2
