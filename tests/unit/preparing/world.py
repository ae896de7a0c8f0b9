"""A small world around the steps: a source on a volume, a store, heads as a ledger would keep them, a model of Meta."""

import csv
import gzip
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from controller.api.v1alpha1.items import ItemsEntry
from controller.ports.preparing import (
    AcknowledgeRequest,
    AcknowledgeResult,
    EncodeRequest,
    EncodeResult,
    Fate,
    GuardPolicy,
    Limits,
    Method,
    Partition,
    PayloadFile,
    Receipt,
    RefreshHead,
    RefreshRequest,
    RefreshResult,
    Request,
    Result,
    SourceRoot,
)
from controller.preparing import entry, failures
from controller.reconcile import documents
from controller.stores.local import LocalStore

CATALOG = "998877"
START = datetime(2026, 1, 1, tzinfo=UTC)
INTERVAL = timedelta(minutes=5)
SLICE_ROWS_MAX = Limits().slice_rows_max
"""Rows that a world has in memory at once."""
COLUMNS = ("id", "title", "description", "availability", "condition", "price", "link", "image_link", "brand")

Row = dict[str, str]


def product(number: int | str, **changes: str) -> Row:
    """One valid product."""
    row = {
        "id": str(number),
        "title": f"Product {number}",
        "description": f"Description of product {number}, with all that belongs to it",
        "availability": "in stock",
        "condition": "new",
        "price": "9.99 EUR",
        "link": f"https://shop.example/p/{quote(str(number))}",
        "image_link": f"https://shop.example/i/{quote(str(number))}.jpg",
        "brand": "ACME",
    }
    return row | changes


def products(count: int, **changes: str) -> list[Row]:
    return [product(f"{number:05}", **changes) for number in range(count)]


def as_csv(rows: Sequence[Mapping[str, str]]) -> bytes:
    names = list(dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)]))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def items_entry(**changes: object) -> ItemsEntry:
    document = {"name": "products", "source": {"volume": {"name": "exports", "path": "items.csv"}}, **changes}
    return ItemsEntry.model_validate(document)


def split(count: int) -> tuple[Partition, ...]:
    width = 4_096 // count
    return tuple(
        Partition(
            index=index, slot_from=index * width, slot_to=4_095 if index == count - 1 else (index + 1) * width - 1
        )
        for index in range(count)
    )


def guard(**changes: object) -> GuardPolicy:
    defaults: dict[str, object] = {
        "max_delete_percent": 5,
        "always_allow": 20,
        "max_out_of_stock_percent": 30,
        "grace": timedelta(0),
    }
    return GuardPolicy.model_validate(defaults | changes)


@dataclass
class Meta:
    """What the other side holds, by the simplest reading: per feed, id to fields.

    A replace deletes what it does not carry, and an existing item whose changed row it refuses: the worst reading.
    """

    items: dict[str, Row] = field(default_factory=dict)
    feed: dict[str, int] = field(default_factory=dict)
    refuse: set[str] = field(default_factory=set)

    def upload(self, content: bytes, partition: int, *, update_only: bool) -> list[dict[str, str | None]]:
        rows = list(csv.DictReader(io.StringIO(gzip.decompress(content).decode(), newline="")))
        assert len({row["id"] for row in rows}) == len(rows)
        bare = {row["id"]: {name: value for name, value in row.items() if value} for row in rows}
        refused = [each for each in bare if each in self.refuse and bare[each] != self.items.get(each)]
        good = {each: row for each, row in bare.items() if each not in refused}
        if not update_only:
            for each in [each for each, owner in self.feed.items() if owner == partition and each not in good]:
                del self.items[each], self.feed[each]
        for each, row in good.items():
            assert self.feed.setdefault(each, partition) == partition
            self.items[each] = row
        return [fatal(each) for each in refused]

    def update(self, content: bytes, partition: int) -> list[dict[str, str | None]]:
        """Take a part of an update: only the columns that it has, and an empty cell clears."""
        rows = list(csv.DictReader(io.StringIO(gzip.decompress(content).decode(), newline="")))
        assert len({row["id"] for row in rows}) == len(rows)
        said = []
        for row in rows:
            item = row.pop("id")
            assert self.feed[item] == partition
            if item in self.refuse:
                said.append(fatal(item))
                continue
            changed = self.items[item] | row
            self.items[item] = {name: value for name, value in changed.items() if value}
        return said

    def remove_feed(self, partition: int) -> list[dict[str, str | None]]:
        for each in [each for each, owner in self.feed.items() if owner == partition]:
            del self.items[each], self.feed[each]
        return []

    def batch(self, content: bytes) -> list[dict[str, str | None]]:
        body = json.loads(content)
        assert body["item_type"] == "PRODUCT_ITEM"
        assert body["allow_upsert"] is False
        said = []
        for each in body["requests"]:
            assert each["method"] == "UPDATE"
            data = dict(each["data"])
            item = data.pop("id")
            if item in self.refuse or item not in self.items:
                said.append(fatal(item))
                continue
            for name, value in data.items():
                if value == "":
                    self.items[item].pop(name, None)
                else:
                    self.items[item][name] = str(value)
        return said


def fatal(item: str, message: str = "A required field is missing", field: str | None = None) -> dict[str, str | None]:
    return {"id": item, "severity": "fatal", "message": message, "field": field}


class World:
    def __init__(self, directory: Path, partitions: int = 1, **entry_changes: object) -> None:
        self.directory = directory
        (directory / "exports").mkdir()
        self.store = LocalStore(directory / "store", durable=False)
        self.store.claim_identity("test")
        self.entry = items_entry(**entry_changes)
        self.partitions = split(partitions)
        self.guard = guard()
        self.limits = Limits(slice_rows_max=SLICE_ROWS_MAX)
        self.now = START
        self.head: RefreshHead | None = None
        self.last: RefreshResult | None = None
        self.meta = Meta()
        self._steps = itertools.count()
        self._sequence = 0
        self.roots = (SourceRoot(name="exports", directory=str(directory / "exports")),)

    def offer(self, rows: Sequence[Mapping[str, str]] | bytes) -> None:
        content = rows if isinstance(rows, bytes) else as_csv(rows)
        path = self.directory / "exports" / "items.csv"
        path.unlink(missing_ok=True)
        path.write_bytes(content)

    def prefix(self) -> str:
        return f"{CATALOG}/0/step-{next(self._steps)}"

    def run(self, request: Request) -> Result:
        return failures.unless_failed(entry.run(request, durable=False))

    def refresh_request(self, **changes: object) -> RefreshRequest:
        request = RefreshRequest(
            store=self.store.url,
            prefix=self.prefix(),
            catalog_id=CATALOG,
            now=self.now,
            items=self.entry,
            configuration_digest="c1",
            sequence=self._sequence + 1,
            interval=INTERVAL,
            layout_id=1,
            partitions=self.partitions,
            previous=self.head,
            guard=self.guard,
            limits=self.limits,
            source_roots=self.roots,
        )
        return request.model_copy(update=changes)

    def refresh(self, **changes: object) -> RefreshResult:
        result = self.run(self.refresh_request(**changes))
        assert isinstance(result, RefreshResult)
        if result.head is not None:
            # As the ledger keeps it: what it does not carry is gone.
            self.head = documents.refresh_head(documents.refresh_record(result.head, 1))
            self._sequence = max(self._sequence, result.head.sequence)
        self.last = result
        return result

    def look(self) -> RefreshResult:
        """Look again, one interval later."""
        self.now += INTERVAL
        return self.refresh()

    def encode_request(self, method: Method, index: int | None = None, **changes: object) -> EncodeRequest:
        assert self.head is not None
        chosen = self.partitions if index is None else (self.partitions[index],)
        request = EncodeRequest(
            store=self.store.url,
            prefix=self.prefix(),
            catalog_id=CATALOG,
            now=self.now,
            method=method,
            partitions=chosen,
            refresh=self.head,
            guard=self.guard,
            limits=self.limits,
        )
        return request.model_copy(update=changes)

    def encode(self, method: Method, index: int | None = None, **changes: object) -> EncodeResult:
        result = self.run(self.encode_request(method, index, **changes))
        assert isinstance(result, EncodeResult)
        return result

    def content(self, file: PayloadFile) -> bytes:
        content = self.store.read(file.key)
        assert content is not None
        assert len(content) == file.bytes
        return content

    def put(self, encoded: EncodeResult) -> list[dict[str, str | None]]:
        """Do at Meta what a full send asks for; return what it said of rows."""
        (file,) = encoded.files
        (partition,) = file.partitions
        if encoded.removes_feed:
            assert file.bytes == 0
            return self.meta.remove_feed(partition)
        return self.meta.upload(self.content(file), partition, update_only=encoded.update_only)

    def receipt(self, file: PayloadFile, lines: Sequence[Mapping[str, str | None]] = (), **changes: object) -> Receipt:
        key = None
        if lines:
            key = f"{self.prefix()}/results.jsonl"
            self.store.write(key, "\n".join(json.dumps(line) for line in lines).encode())
        return Receipt(sent=file.sent, fate=Fate.APPLIED, results=key).model_copy(update=changes)

    def acknowledge(
        self, method: Method, encoded: EncodeResult, receipts: Sequence[Receipt], indices: Sequence[int]
    ) -> AcknowledgeResult:
        assert self.head is not None
        request = AcknowledgeRequest(
            store=self.store.url,
            prefix=self.prefix(),
            catalog_id=CATALOG,
            now=self.now,
            method=method,
            update_only=encoded.update_only,
            partitions=tuple(self.partitions[index] for index in indices),
            receipts=tuple(receipts),
            deletes=encoded.deletes,
            refresh=self.head,
            guard=self.guard,
            limits=self.limits,
        )
        result = self.run(request)
        assert isinstance(result, AcknowledgeResult)
        changed = {each.index: each for each in result.partitions}
        self.partitions = tuple(changed.get(each.index, each) for each in self.partitions)
        return result

    def send_full(self, index: int = 0, **changes: object) -> tuple[EncodeResult, AcknowledgeResult | None]:
        """One full send of one partition, to Meta's answer and back."""
        encoded = self.encode(Method.REPLACE_FEED, index, **changes)
        if not encoded.files:
            return encoded, None
        receipt = self.receipt(encoded.files[0], self.put(encoded))
        return encoded, self.acknowledge(Method.REPLACE_FEED, encoded, [receipt], [index])

    def send_batch(self, **changes: object) -> tuple[EncodeResult, AcknowledgeResult | None]:
        """One batch over all partitions."""
        encoded = self.encode(Method.ITEMS_BATCH, None, **changes)
        if not encoded.files:
            return encoded, None
        receipts = [self.receipt(file, self.meta.batch(self.content(file))) for file in encoded.files]
        indices = sorted({index for file in encoded.files for index in file.partitions})
        return encoded, self.acknowledge(Method.ITEMS_BATCH, encoded, receipts, indices)

    def send_update(self, index: int = 0, **changes: object) -> tuple[EncodeResult, AcknowledgeResult | None]:
        """One update of one partition."""
        encoded = self.encode(Method.UPDATE_FEED, index, **{"calls_max": 99, **changes})
        if not encoded.files:
            return encoded, None
        receipts = [self.receipt(file, self.meta.update(self.content(file), index)) for file in encoded.files]
        return encoded, self.acknowledge(Method.UPDATE_FEED, encoded, receipts, [index])
