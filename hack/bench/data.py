"""A merchant's export to measure with: 29 columns, about 885 bytes a row, and the same export some time later.

The same rows are written as CSV and, for the rows of the table that are about it, as an RSS feed.

Deterministic and streamed. Ids in three shapes (prefix, leading zeros, hex), 3 % of the descriptions with quotes, 2 %
with line breaks, 10 % with non-ASCII text. Later: 2 % of the rows have another price, availability or quantity, 0.2 %
another text, 0.5 % are new, 0.3 % are gone; all others are the same bytes in the same order. What was changed is
counted while it is written, so that a fast answer can be checked.
"""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.sax.saxutils import escape

COLUMNS = (
    *("id", "title", "description", "availability", "condition", "price", "link", "image_link", "brand"),
    *("google_product_category", "fb_product_category", "quantity_to_sell_on_facebook", "sale_price"),
    *("item_group_id", "gender", "color", "size", "age_group", "material", "pattern", "product_type", "gtin", "mpn"),
    *("custom_label_0", "custom_label_1", "custom_label_2"),
    *("additional_image_link", "shipping_weight", "internal_label"),
)
_TEXT = """
winter coat lined cotton with pockets and warm zip soft wool hood long short slim
fit classic modern light heavy water proof breathable inner outer seam button collar sleeve cuff
hem waist belt loop quilted padded feather recycled organic certified made for men women children
everyday travel city mountain rain snow wind season colour fabric care machine wash cold iron
low dry clean only imported designed tested quality guarantee return
"""
_WORDS = tuple(_TEXT.split())
_FOREIGN = ["Größe", "très", "léger", "Übergröße", "façon", "日本製", "señal", "žluťoučký"]
CHANGED_VOLATILE, CHANGED_TEXT, NEW, GONE = 0.02, 0.002, 0.005, 0.003
_TEXT_WORDS = 72
_MASK = (1 << 64) - 1
_SPAN = float(1 << 64)
ROWS_PER_WRITE = 10_000
BYTES_PER_ROW = 885
"""About."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What differs between the two exports."""

    rows: int
    new: int = 0
    gone: int = 0
    volatile: int = 0
    text: int = 0

    @property
    def changed(self) -> int:
        return self.volatile + self.text


def mixed(number: int) -> int:
    """Spread a number over 64 bits (splitmix64)."""
    number = (number + 0x9E3779B97F4A7C15) & _MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _MASK
    return number ^ (number >> 31)


def item_id(number: int) -> str:
    if number % 3 == 0:
        return f"SKU-{number:08d}"
    return f"{number:09d}" if number % 3 == 1 else f"{number * 2654435761 % 2**32:08x}-{number:x}"


def _text(number: int, draw: int) -> str:
    words = []
    for each in range(_TEXT_WORDS):
        if each % 8 == 0:
            draw = mixed(draw)
        words.append(_WORDS[(draw >> (8 * (each % 8)) & 255) % len(_WORDS)])
    kind = draw % 100
    if kind < 10:
        words[kind] = _FOREIGN[draw // 100 % len(_FOREIGN)]
    elif kind < 13:
        words[3] = f'"{words[3]}"'
    elif kind < 15:
        words[20] += "\n"
    return f"No. {number}: " + " ".join(words)


def fate(number: int) -> str:
    """What becomes of a row later: gone, volatile, text, or nothing."""
    draw = mixed(number ^ 0x5DEECE66D) / _SPAN
    for name, share in (("gone", GONE), ("volatile", CHANGED_VOLATILE), ("text", CHANGED_TEXT)):
        if draw < share:
            return name
        draw -= share
    return ""


def row(number: int, changed: str = "") -> list[str]:
    draw = mixed(number)
    text = _text(number, draw)
    cents, quantity = 100 + draw % 99_900, draw // 99_900 % 51
    sale = f"{cents * 8 // 10 / 100:.2f} EUR" if draw >> 60 == 0 else ""
    if changed == "volatile":
        cents, quantity = cents + 100, quantity + 1
    elif changed == "text":
        text = f"New: {text}"
    id_ = item_id(number)
    return [
        *(id_, f"Winter coat {_WORDS[draw % 50]} {number}", text, "in stock" if quantity else "out of stock", "new"),
        *(f"{cents / 100:.2f} EUR", f"https://shop.example/products/{id_}?ref=feed&item={draw & 0xFFFFFF:x}"),
        *(f"https://cdn.shop.example/images/{draw >> 40:x}/{id_}.jpg", ("ACME", "Nordwind", "Zephyr")[draw % 3]),
        *("Apparel & Accessories > Clothing > Outerwear", "clothing > coats", str(quantity), sale),
        *(f"G{number // 5}", ("unisex", "male", "female")[draw % 3], ("red", "blue", "green", "black")[draw >> 8 & 3]),
        *("SML"[draw % 3], "adult", "cotton", "plain", "Clothing > Coats", f"40{number % 10**11:011d}"),
        *(f"MPN-{number}", "abcdefgh"[draw >> 16 & 7], str(draw >> 20 & 31), f"batch {draw >> 30 & 255}"),
        *(f"https://cdn.shop.example/images/{draw >> 44:x}/{id_}-2.jpg", f"{draw % 40 / 10} kg", "winter"),
    ]


def rows(count: int, version: int = 1) -> Iterator[tuple[str, list[str]]]:
    """Every row with what became of it; of a row that is gone, only that."""
    for number in range(1, count + 1):
        changed = fate(number) if version > 1 else ""
        yield changed, ([] if changed == "gone" else row(number, changed))
    if version > 1:
        for number in range(count + 1, count + 1 + int(count * NEW)):
            yield "new", row(number)


def write(path: Path, count: int, version: int = 1) -> Truth:
    """Write an export; the name tells the format."""
    seen = dict.fromkeys(("new", "gone", "volatile", "text"), 0)
    written = 0
    pieces: list[str] = []
    as_text, begin, end = _XML if path.suffix == ".xml" else _CSV
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(begin % version if "%d" in begin else begin)
        for changed, values in rows(count, version):
            if changed:
                seen[changed] += 1
            if values:
                pieces.append(as_text(values))
                written += 1
            if len(pieces) == ROWS_PER_WRITE:
                file.write("".join(pieces))
                pieces.clear()
        file.write("".join(pieces) + end)
    return Truth(rows=written, **seen)


def _as_line(values: list[str]) -> str:
    return (
        ",".join(f'"{each.replace(_QUOTE, _QUOTE * 2)}"' if _SPECIAL.search(each) else each for each in values) + "\n"
    )


def _as_item(values: list[str]) -> str:
    fields = "".join(
        f"<g:{name}>{escape(each)}</g:{name}>\n" for name, each in zip(COLUMNS, values, strict=True) if each
    )
    return f"<item>\n{fields}</item>\n"


_QUOTE = '"'
_SPECIAL = re.compile(r'[",\r\n]')
_CSV = (_as_line, ",".join(COLUMNS) + "\n", "")
_XML = (
    _as_item,
    (
        '<?xml version="1.0" encoding="UTF-8"?>\n<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0">\n<channel>\n'
        "<title>Shop</title>\n<lastBuildDate>%d</lastBuildDate>\n"
    ),
    "</channel>\n</rss>\n",
)


def prepare(directory: Path, count: int, suffix: str = ".csv") -> tuple[Path, Path, Truth]:
    """Write both exports at once, or take those that an earlier run left there whole."""
    first, later, said = (
        directory / f"{count}-{name}" for name in (f"v1{suffix}", f"v2{suffix}", f"truth{suffix}.json")
    )
    if not said.exists():
        with ProcessPoolExecutor(2) as pool:
            one, other = pool.submit(write, first, count), pool.submit(write, later, count, 2)
            one.result()
            said.write_text(json.dumps(asdict(other.result())))
    return first, later, Truth(**json.loads(said.read_bytes()))
