"""Rows that are put together, through whole refreshes: what a changed parent does, and what is not sellable."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.preparing.world import Row, World, product, products
from tests.unit.products.reads import EXPORTS

SHOPIFY = {
    "preset": "Shopify",
    "templates": [{"field": "link", "template": "https://shop.example/products/{Handle}"}],
}
WOO = {"preset": "WooCommerce", "templates": [{"field": "link", "template": "https://shop.example/?p={ID}"}]}
JOINED = """
    SELECT child.sku AS id, parent.title, parent.title || ' in good quality and a fine colour' AS description,
           child.price || ' EUR' AS price, 'in stock' AS availability, 'new' AS condition,
           'https://shop.example/' || child.sku AS link, 'https://shop.example/' || child.sku || '.jpg' AS image_link,
           'ACME' AS brand, parent.sku AS item_group_id, child.color
    FROM source AS child JOIN source AS parent ON child.parent = parent.sku
    ORDER BY child.sku
"""
FAMILIES = b"sku,parent,title,price,color\nP-1,P,,9.90,red\nP-2,P,,9.90,blue\nP,,Coat,,\nQ,,Hat,,\nQ-1,Q,,5.00,red\n"


def titles(items: dict[str, Row]) -> dict[str, str]:
    return {name: row["title"] for name, row in items.items()}


def changed(world: World, content: bytes) -> int:
    """Look at other bytes, and send what changed."""
    world.offer(content)
    found = world.look()
    world.send_full()
    return sum(count.static for count in found.pending)


def test_a_changed_shopify_product_changes_all_its_variants_at_meta(tmp_path: Path) -> None:
    world = World(tmp_path, mapping=SHOPIFY, currency="EUR")
    content = (EXPORTS / "shopify.csv").read_bytes()
    world.offer(content)
    first = world.refresh()
    assert first.head is not None
    assert (first.head.rows, first.head.valid, first.head.invalid) == (4, 4, 0)
    (left,) = [check for check in first.checks if check.rule == "not-sellable"]
    assert (left.level, left.count) == ("Advice", 3)
    world.send_full()
    coats = dict.fromkeys(("COAT-S-BLUE", "COAT-M-BLUE", "COAT-M-RED"), "Wool Coat")
    assert titles(world.meta.items) == {**coats, "MUG": "Mug"}
    assert changed(world, content.replace(b"Wool Coat", b"Warm Coat")) == len(coats)
    assert titles(world.meta.items) == {**dict.fromkeys(coats, "Warm Coat"), "MUG": "Mug"}


def test_a_changed_woocommerce_parent_changes_its_variations_also_before_it(tmp_path: Path) -> None:
    world = World(tmp_path, mapping=WOO, currency="EUR")
    content = (EXPORTS / "woocommerce.csv").read_bytes()
    world.offer(content)
    world.refresh()
    world.send_full()
    assert world.meta.items["tee-s"]["description"] == "Plain tee"
    assert changed(world, content.replace(b"Plain tee", b"Fancy tee")) == 1
    assert world.meta.items["tee-s"]["description"] == "Fancy tee"


def test_a_changed_parent_changes_its_children_in_a_select_too(tmp_path: Path) -> None:
    world = World(tmp_path, mapping={"sql": JOINED})
    world.offer(FAMILIES)
    first = world.refresh()
    assert first.head is not None, first.refused
    assert (first.head.rows, first.head.valid) == (3, 3)
    world.send_full()
    assert titles(world.meta.items) == {"P-1": "Coat", "P-2": "Coat", "Q-1": "Hat"}
    assert changed(world, FAMILIES.replace(b"Coat", b"Cape")) == 2
    assert titles(world.meta.items) == {"P-1": "Cape", "P-2": "Cape", "Q-1": "Hat"}


def test_a_statement_that_is_refused_leaves_meta_untouched(tmp_path: Path) -> None:
    world = World(tmp_path, mapping={"sql": "SELECT * FROM read_text('/etc/passwd'), source"})
    world.offer(FAMILIES)
    result = world.refresh()
    assert result.refused is not None
    assert result.refused.reason == "MappingInvalid"
    assert "root" not in result.refused.message
    assert world.meta.items == {}


def test_an_archived_product_leaves_by_the_usual_way(tmp_path: Path) -> None:
    """Being absent once deletes nothing."""
    world = World(tmp_path, mapping=SHOPIFY, currency="EUR")
    content = (EXPORTS / "shopify.csv").read_bytes()
    world.offer(content)
    world.refresh()
    world.send_full()
    world.offer(b",archived\n".join(content.rsplit(b",active\n", 1)))
    found = world.look()
    assert found.head is not None
    assert found.head.rows == 3
    assert found.watching == 1
    world.send_full()
    assert "MUG" in world.meta.items


WRITTEN = """
    SELECT id, upper(title) AS title, description, availability, condition, price, link, image_link, brand FROM source
"""
ROW_LOCAL: dict[str, dict[str, Any]] = {
    "select": {"sql": WRITTEN},
    "select that leaves rows out": {"sql": f"{WRITTEN} WHERE title <> 'Product 00003'"},
    "preset": {"preset": "GoogleMerchant"},
    "template": {"preset": "MetaTemplate"},
    "templates and values": {
        "templates": [{"field": "color", "template": "{brand}: {title}"}],
        "values": [{"field": "brand", "from": "ACME", "to": "Acme"}],
    },
}


@pytest.mark.parametrize("name", ROW_LOCAL)
def test_what_changed_alone_gives_the_same_rows_as_everything(tmp_path: Path, name: str) -> None:
    """However much of the source a look reads: what Meta has in the end is what a first look would have sent."""
    rows = products(60)
    changes: list[dict[int, str]] = [{}, {7: "Seven"}, {3: "Three", 59: "Last"}, {3: "Product 00003"}]
    world = World(tmp_path, mapping=ROW_LOCAL[name])
    for change in changes:
        for number, title in change.items():
            rows[number] = product(f"{number:05}", title=title)
        world.offer(rows)
        assert world.look().refused is None
        world.send_full()
        world.send_batch()
    (tmp_path / "anew").mkdir()
    anew = World(tmp_path / "anew", mapping=ROW_LOCAL[name])
    anew.offer(rows)
    anew.refresh()
    anew.send_full()
    kept = {"00003"} if "leaves rows out" in name else set()
    assert {key: row for key, row in world.meta.items.items() if key not in kept} == anew.meta.items
    assert len(anew.meta.items) == len(rows) - len(kept)
