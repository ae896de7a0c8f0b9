"""The shop whose products are synchronised: truth, its export over HTTP, and its witness at the emulator.

Everything the shop ever says is told to the emulator's auditor with a sequence number, so that the auditor can tell a
value that went back from one that moved on, and a meant removal from an accident.
"""

import csv
import hashlib
import io
import random
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import httpx
from typing_extensions import override

from hack.emulator.auditor import comparable
from tests.simulation.additions import Addition, Kind

VOLATILE = ("price", "sale_price", "sale_price_effective_date", "availability", "quantity_to_sell_on_facebook")
COLUMNS = (
    "id",
    "title",
    "description",
    "availability",
    "condition",
    "price",
    "link",
    "image_link",
    "brand",
    "quantity_to_sell_on_facebook",
    "sale_price",
    "item_group_id",
)
WORDS = ("Läufer", "shoe", "Pañuelo", "шапка", "mug", "紅茶", 'the "best"', "coat, long", "line\nbreak")

LOCALIZED_CHANGES_SHARE = 0.25
"""Of the changes of the shop that reach the values of a language or country: texts move seldom."""


@dataclass(slots=True)
class Product:
    id: str
    title: str
    price_cents: int
    quantity: int
    group: str = ""
    broken: bool = False

    def row(self) -> dict[str, str]:
        price = "" if self.broken else f"{self.price_cents / 100:.2f} EUR"
        return {
            "id": self.id,
            "title": self.title,
            "description": f"{self.title}: a description that is long enough for everyone.",
            "availability": "in stock" if self.quantity > 0 else "out of stock",
            "condition": "new",
            "price": price,
            "link": f"https://shop.example/p/{self.id}",
            "image_link": f"https://shop.example/i/{self.id}.jpg",
            "brand": "ACME",
            "quantity_to_sell_on_facebook": str(self.quantity),
            "sale_price": "",
            "item_group_id": self.group,
        }


@dataclass(slots=True)
class Witness:
    """What is told to the auditor."""

    records: list[dict[str, object]] = field(default_factory=list)
    removals: list[dict[str, object]] = field(default_factory=list)


class Shop:
    """Mutable truth. Every change of what the export says gets the next sequence number."""

    def __init__(self, rng: random.Random, products: int, overlays: Sequence[Kind] = ()) -> None:
        self._rng = rng
        self.additions = [Addition(kind, random.Random(rng.random())) for kind in overlays]
        self.products: dict[str, Product] = {}
        self._made = 0
        self.sequence = 0
        self.down = False
        self.truncated = False
        self.empty = False
        self.files: dict[str, bytes | None] = {}
        """Other files of the web server by their paths; None: it refuses the connection."""
        self._told: dict[tuple[str, str], str] = {}
        for _ in range(products):
            self.add()

    def add(self) -> Product:
        self._made += 1
        product = Product(
            id=f"{self._made:06d}" if self._made % 3 else f"SKU-{self._made}",
            title=f"{self._rng.choice(WORDS)} {self._made}",
            price_cents=self._rng.randint(100, 99_999),
            quantity=self._rng.randint(0, 9),
            group=f"G{self._made // 4}" if self._made % 5 == 0 else "",
        )
        self.products[product.id] = product
        for addition in self.additions:
            addition.add(product.id, None if addition.kind.key else product.row())
        return product

    def truth(self, product: Product) -> dict[str, str]:
        """What is meant for all: the export's row with what overlays say laid over it."""
        row = product.row()
        for addition in self.additions:
            if not addition.kind.key:
                row |= addition.meant(product.id)
        return row

    def localized(self, item: str) -> dict[str, dict[str, str]]:
        """What is meant for single languages and countries, by Meta's key."""
        found = {each.kind.key: each.meant(item) for each in self.additions if each.kind.key}
        return {key: values for key, values in found.items() if values}

    def change_some(self, share: float, settled: Mapping[str, AbstractSet[str]] | None = None) -> None:
        """Prices and stock move, a little of everything, in the export and in the overlays.

        `settled`: by overlay, the items of which Meta is known to have what it says. Only then does the export say
        something else of them: before, nobody could tell which of both is read first.
        """
        proven = settled or {}
        open_ = {
            item
            for each in self.additions
            if not each.kind.key
            for item in each.said.keys() - proven.get(each.kind.name, frozenset())
        }
        moved: set[str] = set()
        for product in list(self.products.values()):
            if self._rng.random() >= share or product.id in open_:
                continue
            moved.add(product.id)
            if self._rng.random() < 0.6:
                product.price_cents = self._rng.randint(100, 99_999)
            else:
                product.quantity = self._rng.randint(0, 9)

        for each in self.additions:
            among = {item for item in self.products if each.kind.key or item in each.said or item not in moved}
            if not each.kind.key or self._rng.random() < LOCALIZED_CHANGES_SHARE:
                each.move(share, among, proven.get(each.kind.name, frozenset()))

    def settled(
        self, items: Mapping[str, Mapping[str, str]], overrides: Mapping[str, Mapping[str, Mapping[str, str]]]
    ) -> dict[str, set[str]]:
        """Tell by overlay of which items Meta has what it says, and cannot have it from elsewhere."""
        found: dict[str, set[str]] = {}
        for each in self.additions:
            ours = found.setdefault(each.kind.name, set())
            for product in self.products.values():
                meant = each.meant(product.id)
                held = overrides.get(product.id, {}).get(each.kind.key, {}) if each.kind.key else items.get(product.id)
                told = each.kind.key != "" or meant.get("price") != product.row()["price"]
                if meant and told and held is not None and _includes(held, meant, exactly=each.kind.key != ""):
                    ours.add(product.id)
        return found

    def remove(self, count: int) -> list[str]:
        gone = self._rng.sample(sorted(self.products), min(count, len(self.products) - 1))
        for item in gone:
            del self.products[item]
            for addition in self.additions:
                addition.forget(item)
        return gone

    def publish(self) -> None:
        """Put the overlays on the web server, except where it is down for one."""
        for addition in self.additions:
            if self.files.get(addition.kind.path, b"") is not None:
                self.files[addition.kind.path] = addition.content()

    def export(self) -> bytes:
        out = io.StringIO()
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        if not self.empty:
            for product in self.products.values():
                writer.writerow(product.row())
        return out.getvalue().encode()

    def testimony(self, at: float, *, removed: list[str] | None = None) -> Witness:
        """What the auditor has to know about the export as it is now. Call after every change."""
        self.sequence += 1
        self.publish()
        witness = Witness()
        for product in self.products.values():
            row = self.truth(product)
            for where, values in self.localized(product.id).items():
                row |= {f"{name}@{where}": value for name, value in values.items()}
            for name in (*VOLATILE, *(name for name in row if "@" in name)):
                value = row.get(name, "")
                key = (product.id, name)
                if value and self._told.get(key) != value:
                    self._told[key] = value
                    witness.records.append(
                        {"item": product.id, "field": name, "value": value, "sequence": self.sequence, "at": at}
                    )
        for item in removed or []:
            self._told[(item, "availability")] = "out of stock"
            witness.removals.append({"item": item, "at": at})
            witness.records.append(
                {
                    "item": item,
                    "field": "availability",
                    "value": "out of stock",
                    "sequence": self.sequence,
                    "at": at,
                }
            )
        return witness


def _includes(held: Mapping[str, str], meant: Mapping[str, str], *, exactly: bool) -> bool:
    same = all(comparable(name, held.get(name, "")) == comparable(name, value) for name, value in meant.items())
    return same and (not exactly or held.keys() == meant.keys())


class ShopTransport(httpx.AsyncBaseTransport, httpx.BaseTransport):
    """The shop's web server without a socket: ETag, conditional requests, outages, cut bodies."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    @override
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer(request)

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer(request)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        other = self._shop.files.get(path)
        if self._shop.down if path not in self._shop.files else other is None:
            raise httpx.ConnectError("connection refused", request=request)
        body = self._shop.export() if other is None else other
        etag = '"' + hashlib.sha256(body).hexdigest()[:16] + '"'
        if request.headers.get("if-none-match") == etag:
            return httpx.Response(304, headers={"ETag": etag}, request=request)
        headers = {"ETag": etag, "Content-Type": "text/csv", "Content-Length": str(len(body))}
        if self._shop.truncated:
            body = body[: len(body) // 2]
        return httpx.Response(200, headers=headers, stream=_Bytes(body), request=request)


class _Bytes(httpx.AsyncByteStream, httpx.SyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content

    @override
    def __iter__(self) -> Iterator[bytes]:
        yield self._content

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content
