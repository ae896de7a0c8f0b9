"""What happens to the shop's export in the course of the demo: pure, from rows to rows."""

from dataclasses import dataclass

from hack.demo.export import Row
from hack.demo.products import money

Rows = dict[str, Row]

PRICE_EVERY, SOLD_OUT_EVERY, RESTOCKED_EVERY = 20, 50, 33
DEARER_CENTS = 100
LOST_EVERY = 3
EDITED_PLACE, BROKEN_PLACE, RETITLED_PLACE, REPRICED_PLACE = 0, 3, 6, 9
"""Rows that are not lost: their places are multiples of three."""
NEW_ID = "000NEW-1"


@dataclass(frozen=True, slots=True)
class Changed:
    """The next version of the export, and the ids that were touched."""

    rows: Rows
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Loss:
    """An export that lost rows, and what else changed in the same version."""

    rows: Rows
    lost: tuple[str, ...]
    created: str
    retitled: str
    repriced: str


def place(rows: Rows, number: int) -> str:
    return list(rows)[number]


def prices_and_stock(rows: Rows) -> Changed:
    """Some prices rise, some products sell out, some get other quantities."""
    after = {item: dict(row) for item, row in rows.items()}
    touched = []
    for number, row in enumerate(after.values()):
        before = dict(row)
        if number % PRICE_EVERY == 0:
            row["price"] = dearer(row["price"])
        if number % SOLD_OUT_EVERY == 1:
            row["availability"], row["quantity_to_sell_on_facebook"] = "out of stock", "0"
        elif number % RESTOCKED_EVERY == 2:
            row["availability"], row["quantity_to_sell_on_facebook"] = "in stock", str(100 + number % 7)
        if row != before:
            touched.append(row["id"])
    return Changed(after, tuple(touched))


def dearer(price: str) -> str:
    amount, _ = price.split()
    whole, _, cents = amount.partition(".")
    return money(int(whole) * 100 + int(cents) + DEARER_CENTS)


def broken(rows: Rows, item: str) -> Rows:
    """Somebody empties a title. The sample lets Meta judge such rows (rejectedRows: Send), and Meta refuses it."""
    after = {each: dict(row) for each, row in rows.items()}
    after[item]["title"] = ""
    return after


def third_lost(rows: Rows) -> Loss:
    """Every third row is gone; a new product, a new title and a new price come in the same version."""
    lost = tuple(item for number, item in enumerate(rows) if number % LOST_EVERY == LOST_EVERY - 1)
    retitled, repriced = place(rows, RETITLED_PLACE), place(rows, REPRICED_PLACE)
    gone = frozenset(lost)
    after = {item: dict(row) for item, row in rows.items() if item not in gone}
    after[retitled]["title"] += " (new)"
    after[repriced]["price"] = dearer(after[repriced]["price"])
    after[NEW_ID] = {**after[retitled], "id": NEW_ID, "title": 'New: "the last one"', "item_group_id": ""}
    return Loss(after, lost, NEW_ID, retitled, repriced)
