"""Random catalogs of every field, with the texts and currencies that exports stumble over."""

import csv
import io
from collections.abc import Mapping
from random import Random

from hack.emulator.app import Emulator
from hack.emulator.auditor import comparable

TEXTS = (
    "plain",
    'Say "hi", twice',
    "two\nlines and\r\na third",
    "日本語 と 🙂👩‍👩‍👧",
    "שלום עולם",
    "مرحبا، عالم",
    "=1+1",
    "Ünïcödé; semicolons, commas",
    "tab\tinside",
    "back\\slash",
    "0042",
    "<b>not a tag",
    "null",
    "'single'",
)
CURRENCIES = {"EUR": "12.50", "JPY": "1200", "KWD": "3.125", "USD": "1999.99"}
SOLD = ("in stock", "out of stock", "available for order", "preorder")
OPTIONAL = ("sale_price", "color", "size", "material", "pattern", "custom_label_0", "internal_label", "item_group_id")


def identifier(number: int) -> str:
    shapes = (f"{number:06d}", f"SKU-{number}", f"é/{number}", f"{number:x}.{number}", f"A {number}")
    return shapes[number % len(shapes)]


def price(rng: Random, currency: str) -> str:
    amount = CURRENCIES[currency]
    return f"{rng.choice((amount, amount, '7'))} {currency}"


def row(rng: Random, number: int) -> dict[str, str]:
    item = identifier(number)
    currency = tuple(CURRENCIES)[number % len(CURRENCIES)]
    found = {
        "id": item,
        "title": f"{rng.choice(TEXTS)} {number}",
        "description": f"{rng.choice(TEXTS)} and {rng.choice(TEXTS)}",
        "availability": rng.choice(SOLD),
        "condition": rng.choice(("new", "used", "refurbished")),
        "price": price(rng, currency),
        "link": f"https://shop.example/p/{number}?a=1&b=2",
        "image_link": f"https://shop.example/i/{number}.jpg",
        "brand": rng.choice(TEXTS).splitlines()[0],
        "quantity_to_sell_on_facebook": str(rng.randint(0, 99)),
        "sale_price": rng.choice(("", f"1 {currency}")),
        "custom_label_0": rng.choice(("", *TEXTS)),
    }
    for name in OPTIONAL:
        found.setdefault(name, rng.choice(("", rng.choice(TEXTS)[:60])))
    return found


def export(rows: dict[str, dict[str, str]]) -> bytes:
    out = io.StringIO()
    names = list(next(iter(rows.values())))
    writer = csv.DictWriter(out, names, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows.values())
    return out.getvalue().encode()


def held(emulator: Emulator) -> dict[str, dict[str, str]]:
    """Item id → its fields in the names of feeds."""
    items = emulator.world.items
    return {
        item.rid: dict(items.decode(item.layout, item.row))
        for catalog in emulator.world.catalogs
        for item in items.page(catalog, None, after=0, limit=100_000)
    }


def differences(at_meta: Mapping[str, Mapping[str, str]], rows: dict[str, dict[str, str]]) -> list[str]:
    """Every field of every row; an absent one equals an empty one."""
    found = [f"{item} is not at Meta" for item in sorted(set(rows) - set(at_meta))]
    found += [f"{item} is at Meta" for item in sorted(set(at_meta) - set(rows))]
    for item in sorted(set(rows) & set(at_meta)):
        found += [
            f"{item}.{name}: {at_meta[item].get(name, '')!r}, not {wanted!r}"
            for name, wanted in rows[item].items()
            if comparable(name, at_meta[item].get(name, "")) != comparable(name, wanted)
        ]
    return found


def catalog(rng: Random, count: int) -> dict[str, dict[str, str]]:
    return {identifier(number): row(rng, number) for number in range(1, count + 1)}


def change(rng: Random, rows: dict[str, dict[str, str]], fields: tuple[str, ...] = ()) -> None:
    """New values in some fields (of these, if any are named) of every third row, and no value in others."""
    for number, (item, known) in enumerate(list(rows.items())):
        if number % 3:
            continue
        fresh = row(rng, int(known["link"].split("/p/")[1].split("?")[0]))
        assert fresh["id"] == item
        for name in fields or rng.sample(sorted(fresh), 6):
            known[name] = fresh[name]
        for name in () if fields else rng.sample(OPTIONAL, 2):
            known[name] = ""
