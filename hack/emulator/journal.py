"""What the emulator saw: requests, accepted mutations, what became of items, and what a witness says should have.

The audit is computed from these records and nothing else. Bodies are not kept; a mutation keeps the sorted 64-bit
hashes of the item ids it touches, eight bytes an item.
"""

from array import array
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from hack.emulator.storage import Store


@dataclass(slots=True)
class RequestRecord:
    seq: int
    first_byte: float
    answered: float
    method: str
    path: str
    app: str = ""
    catalog: int = 0
    bucket: str = ""  # quota it counted against; empty: none
    status: int = 0
    code: int = 0
    told_minutes: float = 0  # of a throttling answer that went out
    delivered: bool = True
    mutation: int = 0


@dataclass(slots=True)
class Mutation:
    """One accepted change of items, with the span in which it may have had effects."""

    id: int
    request: int
    kind: str  # replace | update | batch | localized | feed_delete | catalog_delete
    catalog: int
    feed: int
    first_byte: float
    accepted: float
    ends: float  # last effect
    rows: int
    session: str = ""
    handle: str = ""
    filename: str = ""
    digest: str = ""  # sha256 of the file, where there is one
    delivered: bool = True
    refused: bool = False
    duplicate_ids: int = 0  # item ids that stood in it more than once
    duplicate_samples: list[str] = field(default_factory=list)
    keys: "array[int]" = field(default_factory=lambda: array("Q"))


@dataclass(slots=True)
class Applied:
    """A witnessed field got another value. One of a language or country is `field@key`, e.g. price@FR."""

    at: float
    catalog: int
    item: str
    field: str
    value: str
    mutation: int


@dataclass(slots=True)
class Lost:
    """An item was deleted or became unsellable."""

    at: float
    catalog: int
    item: str
    what: str  # deleted | unsellable
    mutation: int


@dataclass(slots=True)
class WitnessRecord:
    item: str
    field: str
    value: str
    sequence: int
    at: float
    catalog: str = ""  # empty: any


@dataclass(slots=True)
class WitnessRemoval:
    item: str
    at: float
    catalog: str = ""
    approved: bool = True


class Journal:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.requests: list[RequestRecord] = []
        self.mutations: list[Mutation] = []
        self.applied: list[Applied] = []
        self.lost: list[Lost] = []
        self.records: list[WitnessRecord] = []
        self.removals: list[WitnessRemoval] = []
        self.watched: dict[str, set[str]] = {}  # items with a witness, and their witnessed fields
        self._load()

    def request(self, record: RequestRecord) -> None:
        self.requests.append(record)
        if self.store.durable:
            self.store.put_log("request", record.seq, asdict(record))

    def rewrite_request(self, record: RequestRecord) -> None:
        if self.store.durable:
            self.store.put_log("request", record.seq, asdict(record))

    def open_mutation(self, mutation: Mutation) -> None:
        assert mutation.id == len(self.mutations) + 1, "mutations are numbered without gaps"
        self.mutations.append(mutation)
        self.save_mutation(mutation)

    def mutation(self, id: int) -> Mutation:  # noqa: A002
        return self.mutations[id - 1]

    def save_mutation(self, mutation: Mutation) -> None:
        if self.store.durable:
            doc = asdict(mutation)
            del doc["keys"]
            self.store.put_log("mutation", mutation.id, doc, mutation.keys.tobytes())

    def apply(self, records: Iterable[Applied]) -> None:
        for record in records:
            self.applied.append(record)
            self.store.put_log("applied", len(self.applied), asdict(record) if self.store.durable else {})

    def lose(self, records: Iterable[Lost]) -> None:
        for record in records:
            self.lost.append(record)
            self.store.put_log("lost", len(self.lost), asdict(record) if self.store.durable else {})

    def witness(self, records: Iterable[WitnessRecord], removals: Iterable[WitnessRemoval]) -> None:
        for record in records:
            self.records.append(record)
            self.watched.setdefault(record.item, set()).add(record.field)
            self.store.put_log("witness_record", len(self.records), asdict(record))
        for removal in removals:
            self.removals.append(removal)
            self.store.put_log("witness_removal", len(self.removals), asdict(removal))

    def _load(self) -> None:
        for doc, _ in self.store.logged("request"):
            self.requests.append(RequestRecord(**doc))  # type: ignore[arg-type]  # written above
        for doc, keys in self.store.logged("mutation"):
            if doc.get("ends") is None:
                doc["ends"] = float("inf")
            self.mutations.append(Mutation(**doc, keys=array("Q", keys)))  # type: ignore[arg-type]  # written above
        for doc, _ in self.store.logged("applied"):
            self.applied.append(Applied(**doc))  # type: ignore[arg-type]  # written above
        for doc, _ in self.store.logged("lost"):
            self.lost.append(Lost(**doc))  # type: ignore[arg-type]  # written above
        for doc, _ in self.store.logged("witness_record"):
            record = WitnessRecord(**doc)  # type: ignore[arg-type]  # written above
            self.records.append(record)
            self.watched.setdefault(record.item, set()).add(record.field)
        for doc, _ in self.store.logged("witness_removal"):
            self.removals.append(WitnessRemoval(**doc))  # type: ignore[arg-type]  # written above
