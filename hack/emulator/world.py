"""All state of the emulator except items, and the only place where ids and randomness come from.

Objects are plain records in memory; with a state directory each `save` writes the record through. Randomness is drawn
per purpose from the seed, so that a new draw in one place shifts nothing elsewhere.
"""

import hashlib
from base64 import urlsafe_b64encode
from dataclasses import asdict, dataclass, field
from random import Random
from typing import TypeVar

from hack.emulator import jsons
from hack.emulator.items import ItemTable, Reads
from hack.emulator.overrides import OverrideTable
from hack.emulator.storage import Store
from hack.emulator.switches import Switches

FIRST_ID = 1_000_000_000_000_000
ID_GAP_MAX = 997

TEST_APP = "900000000000001"
TEST_APP_SECRET = "emulator-app-secret"
TEST_TOKEN = "EAAEMULATORTESTTOKEN"
TEST_BUSINESS = "1234567890"
TEST_USER = "800000000000001"
ALL_SCOPES = ("business_management", "catalog_management", "ads_management")


@dataclass(slots=True)
class App:
    id: str
    secret: str
    name: str = "Emulated app"
    proof_required: bool = False


@dataclass(slots=True)
class Token:
    value: str
    app: str
    user: str = TEST_USER
    kind: str = "SYSTEM_USER"
    business: str = TEST_BUSINESS
    scopes: list[str] = field(default_factory=lambda: list(ALL_SCOPES))
    issued: float = 0
    expires: float = 0  # 0: never
    subcode: int | None = None  # refused with this subcode of 190


@dataclass(slots=True)
class Catalog:
    id: int
    business: str
    name: str
    vertical: str
    created: float
    visible: float
    settings: jsons.Object = field(default_factory=dict)


@dataclass(slots=True)
class Feed:
    id: int
    catalog: int
    name: str
    created: float
    visible: float
    deletion_enabled: bool = True
    migrated_from: int = 0
    completed: int = 0  # upload sessions that came to an end with rows
    settings: jsons.Object = field(default_factory=dict)


@dataclass(slots=True)
class Session:
    """An upload session or a batch: when it was accepted, what it does when, what came of it."""

    id: int
    kind: str  # replace | update | batch | localized
    catalog: int
    feed: int
    app: str
    mutation: int
    accepted: float
    visible: float
    starts: float
    ends: float  # infinity where it is stuck
    dispatched: float = 0
    rows: int = 0
    detected: int = 0
    persisted: int = 0
    invalid: int = 0
    deleted: int = 0
    errors: int = 0
    warnings: int = 0
    filename: str = ""
    url: str = ""
    handle: str = ""
    input_method: str = "MANUAL_UPLOAD"
    fetch: bool = False  # its file is still to be fetched
    mischief: jsons.Object = field(default_factory=dict)  # what faults will do to it once its file is there
    login: list[str] = field(default_factory=list)
    failed: str = ""  # what made the whole file be refused
    broken: bool = False  # a batch that ends as `error`
    lost: bool = False  # a handle that is forgotten
    upsert: bool = True
    deletes: bool = False  # missing items are deleted at the end
    reads_late: bool = True  # its changes are seen late by reads
    reads_lag: float = -1  # this session's own lag, where a fault set one
    keep_columns: list[str] = field(default_factory=list)  # volatile columns that the file lacks
    report_at: float = 0


@dataclass(slots=True)
class UploadError:
    """One kind of error of an upload session: Meta shows these, with a few samples each."""

    id: int
    session: int
    severity: str
    type: str
    field: str
    summary: str
    description: str
    count: int


Node = Catalog | Feed | Session | UploadError
KINDS: dict[str, type[Catalog | Feed | Session | UploadError]] = {
    "catalog": Catalog,
    "feed": Feed,
    "session": Session,
    "upload_error": UploadError,
}
N = TypeVar("N", Catalog, Feed, Session, UploadError)


class World:
    def __init__(self, store: Store, *, seed: int, switches: Switches) -> None:
        self.store = store
        self.seed = seed
        self.switches = switches
        self.items = ItemTable(store)
        self.reads = Reads()
        self.overrides = OverrideTable(self.items)
        self.apps: dict[str, App] = {}
        self.tokens: dict[str, Token] = {}
        self.businesses: dict[str, str] = {}
        self.nodes: dict[int, Node] = {}
        self.catalogs: dict[int, Catalog] = {}
        self.feeds: dict[int, Feed] = {}
        self.sessions: dict[int, Session] = {}
        self.handles: dict[str, int] = {}
        self.by_catalog: dict[int, list[int]] = {}  # feeds of a catalog, in the order of creation
        self.by_feed: dict[int, list[int]] = {}  # upload sessions of a feed, in the order of creation
        self.errors_of: dict[int, list[UploadError]] = {}
        self.awaited: set[int] = set()  # sessions whose file is still to be fetched
        self._last_id = FIRST_ID
        self._load()

    # -- randomness and names

    def rng(self, *purpose: object) -> Random:
        return Random(f"{self.seed}/" + "/".join(str(part) for part in purpose))

    def draw(self, *purpose: object) -> float:
        """One number in [0, 1) for a purpose; cheaper than a generator."""
        text = f"{self.seed}/" + "/".join(str(part) for part in purpose)
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest()) / 2**56

    def opaque(self, *purpose: object, length: int) -> str:
        """An unguessable-looking text that the seed determines."""
        found = ""
        while len(found) < length:
            text = f"{self.seed}/{len(found)}/" + "/".join(str(part) for part in purpose)
            found += urlsafe_b64encode(hashlib.blake2b(text.encode()).digest()).decode().rstrip("=")
        return found[:length]

    def new_id(self) -> int:
        self._last_id += 1 + int(self.draw("id", self._last_id) * ID_GAP_MAX)
        return self._last_id

    def visible_at(self, now: float, id: int) -> float:  # noqa: A002
        """When a new object appears in lists: half of them as late as the switch allows."""
        share = min(1.0, 2 * self.draw("visible", id))
        return now + share * self.switches.listing_lag_seconds

    # -- objects

    def add(self, node: Node) -> None:
        self._index(node)
        self.save(node)

    def _index(self, node: Node) -> None:
        self.nodes[node.id] = node
        self._last_id = max(self._last_id, node.id)
        if isinstance(node, Catalog):
            self.catalogs[node.id] = node
            self.by_catalog.setdefault(node.id, [])
        elif isinstance(node, Feed):
            self.feeds[node.id] = node
            self.by_catalog.setdefault(node.catalog, []).append(node.id)
            self.by_feed.setdefault(node.id, [])
        elif isinstance(node, UploadError):
            self.errors_of.setdefault(node.session, []).append(node)
        else:
            self.sessions[node.id] = node
            if node.fetch:
                self.awaited.add(node.id)
            if node.handle:
                self.handles[node.handle] = node.id
            if node.feed:
                self.by_feed.setdefault(node.feed, []).append(node.id)

    def save(self, node: Node) -> None:
        if self.store.durable:
            kind = next(name for name, type_ in KINDS.items() if isinstance(node, type_))
            self.store.put_node(node.id, kind, asdict(node))

    def remove(self, node: Catalog | Feed) -> None:
        self.nodes.pop(node.id, None)
        self.store.drop_node(node.id)
        if isinstance(node, Catalog):
            self.catalogs.pop(node.id, None)
        else:
            self.feeds.pop(node.id, None)
            self.by_catalog[node.catalog].remove(node.id)

    def save_access(self) -> None:
        """Tokens, apps and businesses are few and written together."""
        self.store.set_meta(
            "access",
            {
                "apps": [asdict(app) for app in self.apps.values()],
                "tokens": [asdict(token) for token in self.tokens.values()],
                "businesses": dict(self.businesses),
            },
        )

    def _load(self) -> None:
        access = jsons.as_object(self.store.meta("access"))
        for app in jsons.as_list(access.get("apps")):
            known = App(**jsons.as_object(app))  # type: ignore[arg-type]  # written by save_access
            self.apps[known.id] = known
        for token in jsons.as_list(access.get("tokens")):
            held = Token(**jsons.as_object(token))  # type: ignore[arg-type]  # written by save_access
            self.tokens[held.value] = held
        self.businesses = {one: str(name) for one, name in jsons.as_object(access.get("businesses")).items()}
        for kind, doc in self.store.nodes():
            if doc.get("ends", 0) is None:
                doc["ends"] = float("inf")  # JSON has no infinity
            self._index(KINDS[kind](**doc))  # type: ignore[arg-type]  # written by save
        if not self.apps:
            self.apps[TEST_APP] = App(id=TEST_APP, secret=TEST_APP_SECRET)
            self.tokens[TEST_TOKEN] = Token(value=TEST_TOKEN, app=TEST_APP)
            self.businesses[TEST_BUSINESS] = "Emulated business"
            self.save_access()
