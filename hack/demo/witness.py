"""What the emulator's auditor has to know of the source: which values it had in which order, and what it dropped.

Without it nobody could tell a value that moved on from one that went back, or a meant removal from an accident. The
sequence grows with every version of the file. Pure: the web server says it before it serves a version.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hack.emulator import jsons

VOLATILE = ("price", "sale_price", "sale_price_effective_date", "availability", "quantity_to_sell_on_facebook")
"""Meta: catalog integration guide, the fields that have to arrive within 15 minutes."""
OUT_OF_STOCK = "out of stock"


@dataclass(frozen=True, slots=True)
class Testimony:
    """The body of POST /_emulator/witness."""

    records: list[jsons.Json] = field(default_factory=list)
    removals: list[jsons.Json] = field(default_factory=list)

    def body(self) -> jsons.Object:
        return {"records": self.records, "removals": self.removals}


def said(rows: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The witnessed values of a version, written as they are compared."""
    return {
        item: {name: _plain(name, row.get(name, "")) for name in VOLATILE if row.get(name, "").strip()}
        for item, row in rows.items()
    }


def testify(
    before: Mapping[str, Mapping[str, str]], after: Mapping[str, Mapping[str, str]], sequence: int
) -> Testimony:
    """What is new in `after`. A removed item goes out of stock at Meta before it goes, so that is said as well."""
    testimony = Testimony()

    def record(item: str, name: str, value: str) -> None:
        testimony.records.append({"item": item, "field": name, "value": value, "sequence": sequence})

    for item, values in after.items():
        known = before.get(item, {})
        for name in VOLATILE:
            value = values.get(name, "")
            if value != known.get(name, ""):
                record(item, name, value)
    for item in before:
        if item not in after:
            record(item, "availability", OUT_OF_STOCK)
            testimony.removals.append({"item": item})
    return testimony


def _plain(name: str, value: str) -> str:
    words = " ".join(value.split())
    return words.lower() if name == "availability" else words
