"""Values that an item has for one language or country only, beside its own.

They belong to the item's number, so they go when it goes. As with items the table is the truth, and reads lag behind
it; what reads still see is kept in memory until then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from hack.emulator.documented import Provenance, behaviour
from hack.emulator.items import Item, ItemTable

LANGUAGE, COUNTRY, BOTH = "LANGUAGE", "COUNTRY", "LANGUAGE_AND_COUNTRY"
TYPES = (LANGUAGE, COUNTRY, BOTH)
Values: TypeAlias = "dict[str, str]"
# Number of the item, type, key.
Place: TypeAlias = "tuple[int, str, str]"

behaviour(
    "override.precedence",
    page="Product Item",
    section="Reading",
    provenance=Provenance.ASSUMED,
    says="a country's value is shown before that of a language, and that of both before either",
)


@dataclass(frozen=True, slots=True)
class Override:
    """What one item has for one localization."""

    type: str
    key: str
    values: Values


@dataclass(slots=True)
class OverrideTable:
    items: ItemTable
    past: dict[Place, list[tuple[float, Values]]] = field(default_factory=dict)  # until when reads see what

    def get(self, place: Place) -> Values:
        row = self.items.db.execute(
            "SELECT layout, row FROM override WHERE n = ? AND type = ? AND key = ?", place
        ).fetchone()
        return {} if row is None else self.items.decode(*row)

    def put(self, place: Place, values: Mapping[str, str], *, visible: float) -> None:
        """Replace what is there; nothing but empty values is nothing. Reads see it from `visible` on."""
        chain = self.past.setdefault(place, [])
        chain.append((max([visible, *(until for until, _ in chain)]), self.get(place)))
        kept = {name: value for name, value in values.items() if value}
        if kept:
            self.items.db.execute(
                "INSERT OR REPLACE INTO override VALUES (?, ?, ?, ?, ?)", (*place, *self.items.encode(kept))
            )
        else:
            self.items.db.execute("DELETE FROM override WHERE n = ? AND type = ? AND key = ?", place)

    def forget(self, now: float) -> None:
        for place, chain in list(self.past.items()):
            if all(until <= now for until, _ in chain):
                del self.past[place]

    def between(self, first: int, last: int) -> dict[int, list[Override]]:
        """By item number, whatever reads see."""
        found: dict[int, list[Override]] = {}
        query = "SELECT n, type, key, layout, row FROM override WHERE n BETWEEN ? AND ? ORDER BY n, type, key"
        for n, type_, key, layout, row in self.items.db.execute(query, (first, last)):
            found.setdefault(n, []).append(Override(type_, key, self.items.decode(layout, row)))
        return found

    def seen(self, n: int, now: float) -> list[Override]:
        """What reads see of an item's overrides."""
        there = {(one.type, one.key): one.values for one in self.between(n, n).get(n, [])}
        for (number, type_, key), chain in self.past.items():
            before = next((values for until, values in chain if until > now), None)
            if number == n and before is not None:
                there[type_, key] = before
        return [Override(type_, key, values) for (type_, key), values in sorted(there.items()) if values]

    def shown(self, item: Item, now: float, *, language: str, country: str) -> Item:
        """The item as it is shown in a language and a country."""
        keys = {LANGUAGE: language, COUNTRY: country, BOTH: f"{language}|{country}"}
        values = self.items.decode(item.layout, item.row)
        seen: Sequence[Override] = self.seen(item.n, now)
        for type_ in TYPES:
            for one in seen:
                if (one.type, one.key) == (type_, keys[type_]):
                    values |= one.values
        layout, row = self.items.encode(values)
        return replace(item, layout=layout, row=row)
