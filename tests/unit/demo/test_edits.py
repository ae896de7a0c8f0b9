"""What happens to the export: exactly what the story says, and nothing to other rows."""

from decimal import Decimal

import pytest

from hack.demo import edits, products
from hack.demo.options import PRODUCTS_MIN

ROWS = {each.id: each.row() for each in products.catalog(PRODUCTS_MIN, seed=3)}


def differing(after: edits.Rows) -> set[str]:
    return {item for item in ROWS if after.get(item) != ROWS[item]}


def test_prices_and_stock_change_and_nothing_else() -> None:
    changed = edits.prices_and_stock(ROWS)
    assert differing(changed.rows) == set(changed.ids)
    assert len(changed.ids) > PRODUCTS_MIN / 20
    moved = {name for item in changed.ids for name in ROWS[item] if changed.rows[item][name] != ROWS[item][name]}
    assert moved == {"price", "availability", "quantity_to_sell_on_facebook"}
    for item in changed.ids:
        before, after = ROWS[item], changed.rows[item]
        assert Decimal(after["price"].split()[0]) >= Decimal(before["price"].split()[0])
        assert (after["availability"] == "out of stock") == (after["quantity_to_sell_on_facebook"] == "0")


@pytest.mark.parametrize(("price", "dearer"), [("9.90 EUR", "10.90 EUR"), ("0.05 EUR", "1.05 EUR")])
def test_dearer(price: str, dearer: str) -> None:
    assert edits.dearer(price) == dearer


def test_one_product_breaks() -> None:
    item = edits.place(ROWS, edits.BROKEN_PLACE)
    after = edits.broken(ROWS, item)
    assert differing(after) == {item}
    assert after[item] == {**ROWS[item], "title": ""}


def test_a_third_is_lost_and_the_rest_stays_but_for_two() -> None:
    loss = edits.third_lost(ROWS)
    assert len(loss.lost) == PRODUCTS_MIN // 3
    assert set(ROWS) - set(loss.rows) == set(loss.lost)
    assert set(loss.rows) - set(ROWS) == {loss.created}
    assert differing(loss.rows) - set(loss.lost) == {loss.retitled, loss.repriced}


def test_what_people_are_told_to_edit_is_never_lost() -> None:
    lost = edits.third_lost(ROWS).lost
    places = (edits.EDITED_PLACE, edits.BROKEN_PLACE, edits.RETITLED_PLACE, edits.REPRICED_PLACE)
    chosen = [edits.place(ROWS, number) for number in places]
    assert len(set(chosen)) == len(chosen)
    assert not set(chosen) & set(lost)
