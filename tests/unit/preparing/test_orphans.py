"""Variants in place of items without variants: held until it is known which item a variant replaces."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.preparing import world as world_module
from tests.unit.preparing.world import Row, World, product

BEFORE = [product("10024"), product("10025"), product("20000")]
PATTERN = {"previousID": {"idPattern": "^([0-9]+)_"}}


def variants(*of: str) -> list[Row]:
    return [
        product(f"{parent}_{size}", item_group_id=f"group-{parent}", size=size, old_sku=parent)
        for parent in of
        for size in ("S", "M")
    ]


AFTER = [*variants("10024", "10025"), product("20000")]


@pytest.fixture(autouse=True, params=[1_000_000, 2], ids=["together", "sliced"])
def slice_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows are in memory at once, the judgement is the same."""
    monkeypatch.setattr(world_module, "SLICE_ROWS_MAX", request.param)


def loaded(directory: Path) -> World:
    world = World(directory)
    world.offer(BEFORE)
    world.refresh()
    world.send_full()
    assert set(world.meta.items) == {"10024", "10025", "20000"}
    return world


def declare(world: World, **entry: Any) -> dict[str, object]:
    """Another manifest means another digest of the configuration."""
    world.entry = world.entry.model_validate(world.entry.to_wire() | entry)
    return {"configuration_digest": str(entry)}


def test_a_read_that_would_orphan_items_is_held_and_meta_stays_untouched(tmp_path: Path) -> None:
    world = loaded(tmp_path)
    before = dict(world.meta.items)
    head = world.head
    world.offer(AFTER)
    for _ in range(3):
        result = world.look()
        assert result.refused is not None
        assert result.refused.reason == "VariantsHeld"
        assert "4 new variants would replace 2 items without variants, e.g. 10024, 10025" in result.refused.message
    assert world.head == head
    world.send_full()
    assert world.meta.items == before


@pytest.mark.parametrize(
    "declared",
    [PATTERN, {"previousID": {"column": "old_sku"}}, {"previousID": {"template": "{old_sku}"}}],
    ids=["pattern", "column", "template"],
)
def test_naming_the_old_ids_lets_it_through_and_tells_meta(tmp_path: Path, declared: dict[str, Any]) -> None:
    world = loaded(tmp_path)
    world.offer(AFTER)
    assert world.look().refused is not None
    result = world.refresh(**declare(world, variants=declared))
    assert result.head is not None
    assert result.head.valid == 5
    world.send_full()
    sent = {name: row.get("previous_id") for name, row in world.meta.items.items() if "_" in name}
    assert sent == {"10024_S": "10024", "10024_M": "10024", "10025_S": "10025", "10025_M": "10025"}
    assert "previous_id" not in world.meta.items["20000"]
    assert "10024" in world.meta.items, "the old item leaves by the usual way, not at once"


def test_a_person_may_say_that_they_are_other_products(tmp_path: Path) -> None:
    world = loaded(tmp_path)
    world.offer(AFTER)
    assert world.look().refused is not None
    assert world.refresh(**declare(world, variants={"scenario": "ExistingVariants"})).head is not None


def test_one_old_id_without_a_successor_is_enough_to_hold(tmp_path: Path) -> None:
    world = loaded(tmp_path)
    world.offer([*variants("10024"), product("20000")])
    result = world.refresh(**declare(world, variants=PATTERN))
    assert result.refused is not None
    assert "2 new variants would replace 1 item without variants, e.g. 10025" in result.refused.message


def test_items_that_had_left_before_hold_nothing(tmp_path: Path) -> None:
    world = loaded(tmp_path)
    world.offer([product("10025"), product("20000")])
    for _ in range(3):
        world.look()
    world.offer([product("10025"), product("20000"), *variants("30000")])
    assert world.look().refused is None


def test_the_first_load_of_a_catalog_with_variants_is_not_held(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.offer(AFTER)
    assert world.refresh().head is not None
