"""An invented shop: as many products as asked for, always the same ones for a seed.

They have what real exports have and invented ones usually lack: descriptions of several lines with quotes, commas,
semicolons and tabs; titles and texts in many scripts, right to left included; ids that look like numbers with leading
zeros beside ids with letters, slashes and non-Latin characters; variants that share an item_group_id; sale prices with
and without dates. A library of fake data would be a dependency for a few sentences.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, fields

CURRENCY = "EUR"
SHOP = "https://shop.example"
SALE_SHARE = 0.12
SOLD_OUT_SHARE = 0.08
GTIN_PREFIXES = ("0042", "0401", "4006", "5901", "8710")
SALE_DATES = "2026-01-01T00:00+01:00/2029-12-31T23:59+01:00"


@dataclass(slots=True)
class Product:
    """One row of the export; the fields are its columns, in this order: what people edit comes first."""

    id: str
    price: str
    availability: str
    quantity_to_sell_on_facebook: str
    sale_price: str
    sale_price_effective_date: str
    title: str
    description: str
    condition: str
    link: str
    image_link: str
    brand: str
    gtin: str
    item_group_id: str
    color: str
    size: str
    gender: str
    age_group: str
    material: str
    google_product_category: str
    product_type: str

    def row(self) -> dict[str, str]:
        return {name: str(getattr(self, name)) for name in COLUMNS}


COLUMNS = tuple(field.name for field in fields(Product))


@dataclass(frozen=True, slots=True)
class Family:
    """What products of one sort have in common."""

    names: tuple[str, ...]
    category: str
    """Of Google's taxonomy."""
    path: str
    brands: tuple[str, ...]
    colors: tuple[str, ...]
    sizes: tuple[str, ...]
    cents: tuple[int, int]
    material: str
    gender: str = ""
    age_group: str = ""


COLORS = ("red", "navy", "weiß", "чёрный", "深緑", "sable", "ocean/sand")
FAMILIES = (
    Family(
        ("Läufer “Wolke”", "Trail shoe", "Zapatilla Niño", "Кроссовки «Ветер»", "ランニングシューズ"),
        "187",
        "Shoes > Running",
        ("ACME", "Änderung & Söhne", "Бегун"),
        COLORS,
        ("36", "38", "40", "42", "44.5"),
        (4990, 18990),
        "mesh, rubber",
        "unisex",
        "adult",
    ),
    Family(
        ('T-shirt "No. 1"', "Camiseta básica", "Μπλουζάκι", "חולצת כותנה", "टी-शर्ट"),
        "212",
        "Clothing > Tops",
        ("ACME", "Ñandú", "北風"),
        COLORS,
        ("XS", "S", "M", "L", "XL"),
        (990, 3990),
        "100 % cotton",
        "unisex",
        "adult",
    ),
    Family(
        ("Body für Babys", "Grenouillère", "ベビー服"),
        "182",
        "Clothing > Baby",
        ("Petit Éléphant", "ACME kids"),
        ("rosé", "mint", "белый"),
        ("56", "62", "68"),
        (1290, 2990),
        "organic cotton",
        "unisex",
        "newborn",
    ),
    Family(
        ("Teekanne", "Théière en fonte", "鉄瓶", "Чайник", "إبريق شاي"),
        "2169",
        "Home > Kitchen & Tea",
        ("Østergård", "南部"),
        ("black", "olive"),
        ("0,8 l", "1,2 l"),
        (2490, 12990),
        "cast iron",
    ),
    Family(
        ("Notizbuch A5", "Cuaderno", "Σημειωματάριο", "Notebook, dotted"),
        "923",
        "Office > Paper",
        ("Papier & Co.", "ACME"),
        ("kraft", "bleu nuit"),
        ("",),
        (690, 1990),
        "recycled paper",
    ),
    Family(
        ("USB-C Kabel", "Câble tressé", "充電ケーブル"),
        "259",
        "Electronics > Cables",
        ("Ohm GmbH", "ACME"),
        ("grey",),
        ("0.5 m", "1 m", "2 m", "3 m"),
        (590, 2490),
        "nylon",
    ),
)
TEXTS = (
    'Our bestseller: "once worn, never returned".\nCare: wash at 30 °C; do not bleach.',
    "Leicht, robust; für drinnen & draußen.\n\n- Sohle: Gummi\n- Futter: „Atmungsaktiv“",
    "Fabriqué à l’atelier, « à la main », depuis 1924.\nLivraison sous 3–5 jours ouvrés.",
    'Diseño de 1/2" (12,7 mm), acabado mate; garantía: 2 años.\n¿Dudas? Escríbenos.',
    "Мягкий, тёплый и прочный.\nСостав указан на этикетке; стирать при 30 °C.",
    "軽くて丈夫、毎日使えます。\n「贈り物」にも最適です。",
    "Ελαφρύ και ανθεκτικό,\nμε εγγύηση 24 μηνών.",
    "قطن ناعم، مريح طوال اليوم.\nاغسل بماء بارد.",
    "हल्का और टिकाऊ।\nठंडे पानी में धोएँ।",
    "Columns in the text:\tsize;weight;colour\n42\t250 g\tsee photo 📷 ☕",
)


def catalog(count: int, seed: int) -> list[Product]:
    """Build `count` products with ids that differ."""
    rng = random.Random(f"demo/{seed}")
    found: list[Product] = []
    number = 0
    while len(found) < count:
        number += 1
        found += _family(number, rng)
    return found[:count]


def _family(number: int, rng: random.Random) -> Iterator[Product]:
    """All variants of one product: a few colours, all sizes."""
    family = FAMILIES[number % len(FAMILIES)]
    name, brand = rng.choice(family.names), rng.choice(family.brands)
    colors = rng.sample(family.colors, k=rng.randint(1, min(3, len(family.colors))))
    cents = rng.randrange(*family.cents, 100) + 90
    text = f"{name} · {brand}\n{rng.choice(TEXTS)}\n{rng.choice(TEXTS)}"
    place = 0
    for color in colors:
        for size in family.sizes:
            place += 1
            yield _variant(family, number, place, name, brand, color, size, cents, text, rng)


def _variant(
    family: Family,
    number: int,
    place: int,
    name: str,
    brand: str,
    color: str,
    size: str,
    cents: int,
    text: str,
    rng: random.Random,
) -> Product:
    quantity = 0 if rng.random() < SOLD_OUT_SHARE else rng.randint(1, 60)
    on_sale = rng.random() < SALE_SHARE
    slug = f"{number}-{place}"
    return Product(
        id=_id(number, place),
        price=money(cents),
        availability="in stock" if quantity else "out of stock",
        quantity_to_sell_on_facebook=str(quantity),
        sale_price=money(cents * 8 // 10) if on_sale else "",
        sale_price_effective_date=SALE_DATES if on_sale and rng.random() < 1 / 2 else "",
        title=" ".join(part for part in (name, color, size) if part),
        description=text,
        condition="new",
        link=f"{SHOP}/p/{slug}?utm_source=catalog&variant={place}",
        image_link=f"{SHOP}/i/{slug}.jpg",
        brand=brand,
        gtin=_gtin(number, place, rng),
        item_group_id=f"G-{number:05}",
        color=color,
        size=size,
        gender=family.gender,
        age_group=family.age_group,
        material=family.material,
        google_product_category=family.category,
        product_type=family.path,
    )


def _id(number: int, place: int) -> str:
    """The ways in which shops write ids; those of most families are digits with leading zeros."""
    match number % 7:
        case 3:
            return f"TEE-{number:04}/{place}"
        case 5:
            return f"Арт. {number:04}.{place:02}"
        case _:
            return f"{number:05}{place:02}"


def money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02} {CURRENCY}"


def _gtin(number: int, place: int, rng: random.Random) -> str:
    """A GTIN-13 with its check digit (GS1 general specifications, 7.9)."""
    body = f"{rng.choice(GTIN_PREFIXES)}{number:06}{place:02}"
    total = sum(int(digit) * (3 if odd else 1) for digit, odd in zip(body, (False, True) * 6, strict=True))
    return f"{body}{-total % 10}"
