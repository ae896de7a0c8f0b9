"""Overlays of the simulated shop: files beside its export, and what they mean by the rules that are promised.

A model of its own: what a file ever said of an item stays said; an empty cell says nothing, or ends a value; of ids
that the export lacks nothing comes. A cell or row goes from the file only after Meta was seen to have what it said,
because nobody can know what stood in a file that was never read.
"""

import csv
import io
import random
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

UNHEARD_OF = "UNHEARD-OF"
"""An id that every file has and the export never."""
SHARE = 0.5
"""Of the products that a file speaks of."""
BLANK_SHARE = 0.2
"""Of the changes that say nothing of a field, or leave the whole row out."""

Values = dict[str, str]


@dataclass(frozen=True, slots=True)
class Kind:
    """What an overlay is like."""

    name: str
    fields: tuple[str, ...]
    make: Callable[[random.Random, str], Values]
    minutes: int = 5
    clears: bool = False
    """An empty cell ends a value; otherwise it says nothing."""
    language: str | None = None
    country: str | None = None

    @property
    def key(self) -> str:
        """Meta's name of the localization; empty: for all."""
        return "|".join(part for part in (self.language, self.country) if part)

    @property
    def path(self) -> str:
        return f"/{self.name}.csv"

    def entry(self, host: str) -> dict[str, object]:
        """The overlay as people write it."""
        said: dict[str, object] = {
            "name": self.name,
            "interval": f"{self.minutes}m",
            "source": {"http": {"url": f"{host}{self.path}"}},
            "emptyCells": "Clear" if self.clears else "Keep",
        }
        where = {"language": self.language, "country": self.country}
        if self.key:
            said["override"] = {name: value for name, value in where.items() if value is not None}
        return said


def _stock(rng: random.Random, _item: str) -> Values:
    quantity = rng.randint(0, 9)
    return {
        "availability": "in stock" if quantity else "out of stock",
        "price": f"{rng.randint(100, 99_999) / 100:.2f} EUR",
        "quantity_to_sell_on_facebook": str(quantity),
    }


def _texts(rng: random.Random, item: str) -> Values:
    words = rng.choice(("Chaussure", "écharpe", 'le "meilleur"', "manteau, long"))
    return {
        "title": f"{words} {item} {rng.randint(1, 9)}",
        "description": f"{words}: une description assez longue pour tout le monde, {rng.randint(1, 99)}.",
        "link": f"https://shop.example/fr/{item}?v={rng.randint(1, 99)}",
    }


def _country(rng: random.Random, _item: str) -> Values:
    return {
        "price": f"{rng.randint(100, 99_999) / 100:.2f} EUR",
        "availability": rng.choice(("in stock", "in stock", "out of stock")),
    }


def _both(rng: random.Random, item: str) -> Values:
    return {"title": f"Schuh {item} {rng.randint(1, 9)}", "brand": f"ACME {rng.randint(1, 9)}"}


STOCK = Kind("stock", ("availability", "price", "quantity_to_sell_on_facebook"), _stock)
LOCALES = (
    Kind("french", ("title", "description", "link"), _texts, minutes=30, clears=True, language="fr_XX"),
    Kind("france", ("price", "availability"), _country, minutes=15, country="FR"),
    Kind("austria", ("title", "brand"), _both, minutes=30, language="de_XX", country="AT"),
)
KINDS = {kind.name: kind for kind in (STOCK, *LOCALES)}


@dataclass(slots=True)
class Addition:
    """One overlay: what its file says now, and what it has said."""

    kind: Kind
    rng: random.Random
    rows: dict[str, Values] = field(default_factory=dict)
    said: dict[str, Values] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rows[UNHEARD_OF] = self.kind.make(self.rng, UNHEARD_OF)

    def content(self) -> bytes:
        out = io.StringIO()
        writer = csv.DictWriter(out, ("id", *self.kind.fields), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({"id": item, **values} for item, values in self.rows.items())
        return out.getvalue().encode()

    def meant(self, item: str) -> Values:
        return {name: value for name, value in self.said.get(item, {}).items() if value}

    def say(self, item: str, values: Mapping[str, str]) -> None:
        """The row of an item from now on; what it leaves empty is empty."""
        self.rows[item] = {name: values.get(name, "") for name in self.kind.fields}
        kept = {name: value for name, value in self.rows[item].items() if value or self.kind.clears}
        self.said[item] = {**self.said.get(item, {}), **kept}

    def add(self, item: str, values: Mapping[str, str] | None = None) -> None:
        """Perhaps speak of a new product; with values, these."""
        made = self.kind.make(self.rng, item)
        if self.rng.random() < SHARE:
            self.say(item, made if values is None else {name: values[name] for name in self.kind.fields})

    def move(self, share: float, products: AbstractSet[str], settled: AbstractSet[str]) -> None:
        """Some rows change. `settled`: items of which Meta has what the file says."""
        for item in sorted(products):
            if self.rng.random() >= share or (item not in self.said and self.rng.random() < SHARE):
                continue
            made = self.kind.make(self.rng, item)
            if item not in settled or self.rng.random() >= BLANK_SHARE:
                self.say(item, made)
            elif self.rng.random() < SHARE:
                del made[self.rng.choice(self.kind.fields)]
                self.say(item, made)
            elif self.kind.clears and self.rng.random() < SHARE:
                self.say(item, {})
            else:
                self.rows.pop(item, None)

    def forget(self, item: str) -> None:
        """A product was removed from the export; some files keep its row."""
        self.said.pop(item, None)
        if self.rng.random() < SHARE:
            self.rows.pop(item, None)
