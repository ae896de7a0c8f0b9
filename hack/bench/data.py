"""A merchant's export to measure with: 29 columns, about 885 bytes a row, and the same export some time later.

Deterministic. Ids in three shapes (prefix, leading zeros, hex), descriptions with quotes, newlines and non-ASCII text.
Later: 2 % of the rows have another price, availability or quantity, 0.2 % another text, 0.5 % are new, 0.3 % are gone.
"""

import csv
import random
from collections.abc import Iterator
from pathlib import Path

COLUMNS = (
    *("id", "title", "description", "availability", "condition", "price", "link", "image_link", "brand"),
    *("google_product_category", "fb_product_category", "quantity_to_sell_on_facebook", "sale_price"),
    *("item_group_id", "gender", "color", "size", "age_group", "material", "pattern", "product_type", "gtin", "mpn"),
    *(
        "custom_label_0",
        "custom_label_1",
        "custom_label_2",
        "additional_image_link",
        "shipping_weight",
        "internal_label",
    ),
)
WORDS = ("winter", "coat", "lined", "cotton", "with", "pockets", "Größe", "très", "léger", "and", "warm", "zip", "soft")
CHANGED_VOLATILE, CHANGED_TEXT, NEW, GONE = 0.02, 0.002, 0.005, 0.003


def item_id(number: int) -> str:
    if number % 3 == 0:
        return f"SKU-{number:08d}"
    return f"{number:09d}" if number % 3 == 1 else f"{number * 2654435761 % 2**32:08x}-{number:x}"


def row(number: int, version: int = 1) -> list[str]:
    rng = random.Random(number)
    text = " ".join(rng.choices(WORDS, k=58))
    if rng.random() < 0.03:
        text = f'A "quoted" part, {text}'
    if rng.random() < 0.02:
        text = text.replace(" with ", "\n", 1)
    cents, quantity = rng.randint(100, 99_999), rng.randint(0, 50)
    draw = random.Random(f"{number}/{version}").random()
    if version > 1 and draw < CHANGED_VOLATILE:
        cents, quantity = cents + 100, quantity + 1
    elif version > 1 and draw < CHANGED_VOLATILE + CHANGED_TEXT:
        text = f"New: {text}"
    id_ = item_id(number)
    return [
        *(id_, f"Winter coat {number}", text, "in stock" if quantity else "out of stock", "new"),
        *(
            f"{cents / 100:.2f} EUR",
            f"https://shop.example/products/{id_}?ref=feed",
            f"https://cdn.shop.example/i/{id_}.jpg",
        ),
        *("ACME", "Apparel & Accessories > Clothing > Outerwear", "clothing > coats", str(quantity), ""),
        *(f"G{number // 5}", "unisex", rng.choice(("red", "blue", "green")), rng.choice("SML"), "adult", "cotton"),
        *("plain", "Clothing > Coats", f"40{number % 10**11:011d}", f"MPN-{number}", "a", "b", "c"),
        *(f"https://cdn.shop.example/i/{id_}-2.jpg", "1.2 kg", "winter"),
    ]


def rows(count: int, version: int = 1) -> Iterator[list[str]]:
    for number in range(1, count + 1):
        if version > 1 and random.Random(f"{number}/gone").random() < GONE:
            continue
        yield row(number, version)
    if version > 1:
        yield from (row(count + extra, version) for extra in range(1, int(count * NEW) + 1))


def write(path: Path, count: int, version: int = 1) -> int:
    """Write an export; return its size in bytes."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows(count, version))
    return path.stat().st_size
