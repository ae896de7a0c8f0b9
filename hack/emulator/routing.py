"""Nodes, fields and edges as registries: the section modules fill them, `app` looks things up.

A node type has fields (what `fields=` may name) and routes (method and edge). Whatever is neither here nor in `NOT_YET`
does not exist.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from hack.emulator import bodies, jsons
from hack.emulator.effects import Effects
from hack.emulator.items import Item
from hack.emulator.journal import Journal, RequestRecord
from hack.emulator.params import Param
from hack.emulator.world import App, Catalog, Feed, Session, Token, UploadError, World


class Bucket(StrEnum):
    """The quota a call counts against."""

    BATCH = "catalog_batch"
    MANAGEMENT = "catalog_management"
    PLATFORM = "platform"


class Type(StrEnum):
    """Node types under the names that Meta's messages use."""

    BUSINESS = "Business"
    USER = "User"
    APP = "Application"
    CATALOG = "ProductCatalog"
    FEED = "ProductFeed"
    UPLOAD = "ProductFeedUpload"
    UPLOAD_ERROR = "ProductFeedUploadError"
    ERROR_SAMPLE = "ProductFeedUploadErrorSample"
    ITEM = "ProductItem"
    OVERRIDE = "OverrideDetails"
    GROUP = "ProductGroup"
    ROOT = "Root"


@dataclass(frozen=True, slots=True)
class Person:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Named:
    """A node of which only id and name are known: a business, an application, a group."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ErrorSample:
    id: str
    retailer_id: str
    row_number: int


@dataclass(frozen=True, slots=True)
class OverrideDetails:
    """What an item has for one language or country, as it is read."""

    type: str
    key: str
    values: jsons.Object


Subject: TypeAlias = (
    "Catalog | Feed | Session | UploadError | Item | Person | Named | ErrorSample | OverrideDetails | App | None"
)


@dataclass(frozen=True, slots=True)
class NodeRef:
    type: Type
    subject: Subject


@dataclass(slots=True)
class Mischief:
    """What armed faults do to one call beyond its connection."""

    late_seconds: float = 0
    lose_handle: bool = False
    stuck: bool = False
    partial: bool = False
    failure: str = ""
    reads_lag: float = -1
    no_effects: bool = False


@dataclass(slots=True)
class Call:
    """One call on its way through: who asks, for what, when."""

    world: World
    journal: Journal
    effects: Effects
    now: float
    method: str
    version: str
    base_url: str
    token: Token
    record: RequestRecord
    parameters: bodies.Parameters = field(default_factory=dict)
    raw: bodies.Parameters = field(default_factory=dict)  # with fields, limit and the like
    body_size: int = 0
    mischief: Mischief = field(default_factory=Mischief)

    def text(self, name: str, default: str = "") -> str:
        value = self.parameters.get(name, default)
        assert isinstance(value, str), f"{name} is declared as text"
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        value = self.parameters.get(name, default)
        assert isinstance(value, bool), f"{name} is declared as boolean"
        return value

    def list(self, name: str) -> "list[jsons.Json]":
        value = self.parameters.get(name)
        return value if isinstance(value, list) else []

    def mapping(self, name: str) -> jsons.Object:
        value = self.parameters.get(name)
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True, slots=True)
class Page:
    """What an edge answers: nodes, and where the neighbours are."""

    nodes: Sequence[NodeRef]
    before: str = ""
    after: str = ""
    more: bool = False
    earlier: bool = False
    total: Callable[[], int] | None = None


Answer: TypeAlias = "jsons.Json | Page | NodeRef"
Handler: TypeAlias = "Callable[[Call, Subject], Awaitable[Answer]]"
Getter: TypeAlias = "Callable[[Call, Subject], jsons.Json | NodeRef | None]"


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    type: Type
    edge: str
    params: Mapping[str, Param]
    handler: Handler
    bucket: Bucket
    answers: Type | None = None  # node type of an edge's rows, or of what a create answers with fields=
    paged: bool = False
    scope: str = "catalog_management"


@dataclass(frozen=True, slots=True)
class FieldDef:
    getter: Getter
    default: bool = False
    not_yet: str = ""  # section that is missing


ROUTES: dict[tuple[str, Type, str], Route] = {}
FIELDS: dict[Type, dict[str, FieldDef]] = {type_: {} for type_ in Type}
NOT_YET: dict[tuple[Type, str], str] = {}  # documented edges that are not built: section


def route(
    method: str,
    type_: Type,
    edge: str = "",
    *,
    params: Sequence[Param] = (),
    bucket: Bucket = Bucket.MANAGEMENT,
    answers: Type | None = None,
    paged: bool = False,
    scope: str = "catalog_management",
) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        key = (method, type_, edge)
        assert key not in ROUTES, f"route {key} is registered twice"
        ROUTES[key] = Route(
            method=method,
            type=type_,
            edge=edge,
            params={param.name: param for param in params},
            handler=handler,
            bucket=bucket,
            answers=answers,
            paged=paged,
            scope=scope,
        )
        return handler

    return register


def fields(type_: Type, table: Mapping[str, FieldDef]) -> None:
    FIELDS[type_].update(table)


def not_yet(type_: Type, edges: Mapping[str, str]) -> None:
    for edge, section in edges.items():
        NOT_YET[(type_, edge)] = section


def edge_exists(type_: Type, edge: str) -> bool:
    return (type_, edge) in NOT_YET or any(key[1] is type_ and key[2] == edge for key in ROUTES)
