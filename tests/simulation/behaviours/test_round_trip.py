"""Random catalogs of every field: what Meta holds after replace files and batches is what the source said."""

import csv
import io
from datetime import timedelta
from random import Random

import pytest

from hack.emulator.auditor import comparable
from tests.simulation.behaviours.stage import Stage

ROWS = 24
ROUNDS = 3
REST = timedelta(hours=3)
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


def differences(stage: Stage, rows: dict[str, dict[str, str]]) -> list[str]:
    """Every field of every row; an absent one equals an empty one."""
    at_meta = stage.items_at_meta()
    found = [f"{item} is not at Meta" for item in sorted(set(rows) - set(at_meta))]
    found += [f"{item} is at Meta" for item in sorted(set(at_meta) - set(rows))]
    for item in sorted(set(rows) & set(at_meta)):
        found += [
            f"{item}.{name}: {at_meta[item].get(name, '')!r}, not {wanted!r}"
            for name, wanted in rows[item].items()
            if comparable(name, at_meta[item].get(name, "")) != comparable(name, wanted)
        ]
    return found


def change(rng: Random, rows: dict[str, dict[str, str]]) -> None:
    """New values in some fields of every third row, and no value in others."""
    for number, (item, known) in enumerate(list(rows.items())):
        if number % 3:
            continue
        fresh = row(rng, int(known["link"].split("/p/")[1].split("?")[0]))
        assert fresh["id"] == item
        for name in rng.sample(sorted(fresh), 6):
            known[name] = fresh[name]
        for name in rng.sample(OPTIONAL, 2):
            known[name] = ""


@pytest.mark.parametrize("seed", range(2))
async def test_meta_holds_what_the_source_said(stage: Stage, seed: int) -> None:
    rng = Random(seed)
    rows = {identifier(number): row(rng, number) for number in range(1, ROWS + 1)}
    stage.shop.said = export(rows)
    await stage.populate(guards={"gracePeriod": "0s", "maxOutOfStockPercent": 100})
    stage.launch()
    for _ in range(ROUNDS):
        await equal(stage, rows)
        change(rng, rows)
        stage.shop.said = export(rows)
    await equal(stage, rows)


async def equal(stage: Stage, rows: dict[str, dict[str, str]]) -> None:
    try:
        await stage.until(lambda: stage.quiet() and not differences(stage, rows), REST)
    except AssertionError as late:
        raise AssertionError("\n".join(differences(stage, rows)[:12])) from late
