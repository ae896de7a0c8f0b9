"""What the auditor is told when the export changes."""

from hack.demo import witness

SHIRT = {"id": "1", "price": "9.90 EUR", "availability": "In  Stock", "sale_price": "", "title": "Shirt"}


def said(**changes: str) -> dict[str, dict[str, str]]:
    return witness.said({"1": {**SHIRT, **changes}})


def test_the_first_version_is_told_in_full_and_only_what_has_a_value() -> None:
    told = witness.testify({}, said(), 1)
    assert told.records == [
        {"item": "1", "field": "price", "value": "9.90 EUR", "sequence": 1},
        {"item": "1", "field": "availability", "value": "in stock", "sequence": 1},
    ]
    assert told.removals == []


def test_only_what_changed_is_told_with_the_next_number() -> None:
    told = witness.testify(said(), said(price="8.50 EUR", title="Blouse"), 2)
    assert told.records == [{"item": "1", "field": "price", "value": "8.50 EUR", "sequence": 2}]


def test_a_value_that_was_cleared_is_told_as_empty() -> None:
    told = witness.testify(said(sale_price="5.00 EUR"), said(), 2)
    assert told.records == [{"item": "1", "field": "sale_price", "value": "", "sequence": 2}]


def test_what_is_gone_goes_out_of_stock_first() -> None:
    told = witness.testify(said(), {}, 2)
    assert told.records == [{"item": "1", "field": "availability", "value": "out of stock", "sequence": 2}]
    assert told.removals == [{"item": "1"}]


def test_what_returns_is_told_in_full() -> None:
    assert witness.testify({}, said(), 3).records[1] == {
        "item": "1",
        "field": "availability",
        "value": "in stock",
        "sequence": 3,
    }


def test_the_same_again_is_nothing_to_tell() -> None:
    assert witness.testify(said(), said(), 2) == witness.Testimony()
