"""CatalogLedger: the operator's own record of one catalog at Meta.

It outlives the custom resources, so that what is in flight is never forgotten. One object per catalog id, in the
operator's namespace, written by the operator alone and only as a whole (PUT with resourceVersion): there is no status
subresource and nobody else's field to keep. Shard and operation status show copies for people; the truth is here.
"""

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from controller.api.base import WireModel
from controller.api.resource import Resource
from controller.api.values import Timestamp


class Owner(WireModel):
    """The one Catalog that may write to this catalog at Meta."""

    installation: str
    namespace: str
    name: str
    uid: str


class LocaleRecord(WireModel):
    """A language, a country, or one within the other. Mirrors controller.ports.locales.Locale."""

    language: str | None = None
    country: str | None = None


class Claim(WireModel):
    """A partition that one operation has to itself. Never expires by time."""

    operation: str
    """uid of the SyncOperation."""
    name: str
    """namespace/name of the SyncOperation, for people."""
    epoch: int
    method: str
    since: Timestamp


class IntentState(StrEnum):
    OPEN = "Open"
    """Written before the first byte. After a crash: may have been accepted."""
    ACCEPTED = "Accepted"
    """Meta answered with a handle or session id."""
    COLLECTED = "Collected"
    """Terminal, and all result pages are in the store."""


class Intent(WireModel):
    """One body that was, or was about to be, sent. Rows are by reference to store objects."""

    id: str
    """<operation uid>/<number of the body>."""
    operation: str
    method: str
    epoch: int
    incarnation: str
    """Which process wrote it: an Open intent of another one is uncertain."""
    partitions: tuple[int, ...]
    state: IntentState = IntentState.OPEN
    at: Timestamp
    payload: str
    """Key of the body in the store."""
    bytes: int
    digest: str
    sent: str
    """Key of the table of what the body says per item."""
    budget_seconds: float
    """Within this time after `at` the request has ended, one way or the other."""
    file_name: str | None = None
    feed_id: str | None = None
    update_only: bool = False
    removes_feed: bool = False
    """Not an upload: the feed is deleted, because none of its items stays."""
    rows: int = 0
    deletes: str | None = None
    delete_count: int = 0
    handle: str | None = None
    """Batch handle or upload session id."""
    accepted_at: Timestamp | None = None
    fate: str | None = None
    """Once collected: Applied | NeverAccepted | Unknown."""
    results: str | None = None
    read_back: str | None = None
    unnamed_refused: int = 0
    ended_at: Timestamp | None = None
    overlay: str | None = None
    locale: LocaleRecord | None = None
    """Not the items' own values: those of this overlay, for one language or country."""


class LocaleCounts(WireModel):
    """What a partition owes Meta for one language or country. Mirrors controller.ports.locales.LocalePending."""

    name: str
    locale: LocaleRecord
    ids: int = 0
    acknowledged: int = 0
    changes: int = 0
    refused: int = 0
    unknown: int = 0


class LocaleHeadRecord(WireModel):
    """What Meta acknowledged for one language or country. Mirrors controller.ports.locales.LocaleHead."""

    name: str
    locale: LocaleRecord
    snapshot: str


class LocaleDeclaredRecord(WireModel):
    """A language or country of the spec. Mirrors controller.ports.locales.LocaleDeclared."""

    name: str
    locale: LocaleRecord


class PendingCounts(WireModel):
    """What a partition owes Meta, and since when at the latest."""

    creations: int = 0
    volatile: int = 0
    static: int = 0
    deletions: int = 0
    kept_missing: int = 0
    items_at_meta: int = 0
    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    creations_since: Timestamp | None = None
    volatile_since: Timestamp | None = None
    static_since: Timestamp | None = None
    localized: tuple[LocaleCounts, ...] | None = Field(default=None, max_length=32)


class PartitionRecord(WireModel):
    index: int
    shard: str
    """Name of the CatalogShard."""
    slot_from: int
    slot_to: int
    feed_id: str | None = None
    feed_requested_at: Timestamp | None = None
    """When the creation of the feed was asked for. It stands here because a person may delete the CatalogShard."""
    claim: Claim | None = None
    snapshot: str | None = None
    payload: str | None = None
    locales: tuple[LocaleHeadRecord, ...] = Field(default=(), max_length=32)
    head_operation: str | None = None
    """uid of the operation that made the heads."""
    desired_rows: int = 0
    pending: PendingCounts = PendingCounts()
    replace_proven: bool = False
    """An update-only upload of this feed and encoder was counted right by Meta: a replace is allowed."""
    deletion_enabled: bool = False
    last_effect_at: Timestamp | None = None
    last_full_at: Timestamp | None = None
    """Start of the last successful full send."""
    last_full_sequence: int = 0
    last_batch_at: Timestamp | None = None
    unexpected: str | None = None
    """Why replaces of this partition are stopped until a person looks (UnexpectedResult)."""


class OverlayRecord(WireModel):
    """One overlay as the rows of the last accepted refresh have it. Mirrors controller.ports.preparing.OverlayHead."""

    name: str
    read_at: Timestamp
    digest: str
    etag: str | None = None
    last_modified: str | None = None
    configuration_digest: str
    fields: tuple[str, ...] = Field(default=(), max_length=256)
    table: str
    rows: int = 0
    ids: int = 0
    unknown: int = 0
    sample_unknown: tuple[str, ...] = Field(default=(), max_length=10)
    superseded_digests: tuple[str, ...] = Field(default=(), max_length=16)
    locale: LocaleRecord | None = None
    localized: str | None = None


class OverlayRepeat(WireModel):
    """An older version that an overlay shows, and how often it was read in a row."""

    name: str
    digest: str
    count: int


class RefreshRecord(WireModel):
    """The last accepted refresh. Mirrors controller.ports.preparing.RefreshHead."""

    sequence: int
    read_at: Timestamp
    digest: str
    etag: str | None = None
    last_modified: str | None = None
    configuration_digest: str
    desired: tuple[str, ...] = ()
    """Keys per partition, in order of index."""
    desired_rows: tuple[int, ...] = ()
    departures: str | None = None
    findings: str | None = None
    superseded_digests: tuple[str, ...] = ()
    rows: int = 0
    valid: int = 0
    invalid: int = 0
    layout_id: int = 1
    overlays: tuple[OverlayRecord, ...] = Field(default=(), max_length=16)
    judge_again: bool = False
    locales: tuple[LocaleDeclaredRecord, ...] = Field(default=(), max_length=16)


class HeldRecord(WireModel):
    digest: str
    count: int
    leaving: int
    unsellable: int
    prices: int = 0
    of: int
    sample_ids: tuple[str, ...] = Field(default=(), max_length=10)
    ids: str


class ItemsRecord(WireModel):
    """One items entry of the Catalog."""

    name: str
    sequence: int = 0
    """Last sequence number that was handed out, accepted or not."""
    refresh: RefreshRecord | None = None
    looked_at: Timestamp | None = None
    """Last complete look: an accepted read, or a source that had not changed."""
    next_look_at: Timestamp | None = None
    held: HeldRecord | None = None
    watching: int = 0
    went_back_digest: str | None = None
    went_back_count: int = 0
    overlays: tuple[OverlayRepeat, ...] = Field(default=(), max_length=16)


class GuardCounts(WireModel):
    """What the deletion guard remembers. Index 0 of the lists is the hour or day in `hour` or `day`; older follow."""

    hour: int = 0
    """Unix time // 3600 of the first entry."""
    leaving: tuple[int, ...] = Field(default=(), max_length=24)
    unsellable: tuple[int, ...] = Field(default=(), max_length=24)
    day: int = 0
    items_max: tuple[int, ...] = Field(default=(), max_length=7)


class QuotaRecord(WireModel):
    """Calls reserved of one quota. Written before use."""

    app_id: str
    bucket: str
    blocks: tuple[tuple[int, int], ...] = Field(default=(), max_length=512)
    """(unix second of the reservation, calls), oldest first, within the last hour."""
    blocked_until: Timestamp | None = None


class Followed(WireModel):
    """An abandoned body whose ids are read once more, to see whether it took effect after all."""

    intent: str
    sent: str
    at: Timestamp
    """When to read."""
    locale: LocaleRecord | None = None


class StoreRecord(WireModel):
    identity: str


class LayoutRecord(WireModel):
    id: int = 1
    shards: int
    hash: int = 1
    """Which slot hash: 1 = top 12 bits of xxh3_64, seed 0."""


class LedgerContent(WireModel):
    owner: Owner | None = None
    epoch: int = 0
    connection: str | None = None
    """Name of the MetaConnection in the owner's namespace."""
    endpoints: tuple[str, ...] = Field(default=(), max_length=16)
    store: StoreRecord | None = None
    layout: LayoutRecord | None = None
    partitions: tuple[PartitionRecord, ...] = Field(default=(), max_length=512)
    intents: tuple[Intent, ...] = Field(default=(), max_length=1024)
    items: tuple[ItemsRecord, ...] = Field(default=(), max_length=16)
    guard: GuardCounts = GuardCounts()
    used_approvals: tuple[str, ...] = Field(default=(), max_length=64)
    quota: tuple[QuotaRecord, ...] = Field(default=(), max_length=64)
    rolled_back: bool = False
    """What the ledger says of rows can't be trusted: nothing is sent before Meta was listed, nothing is deleted
    before the next full sends."""
    relisted_at: Timestamp | None = None
    """When the heads were last made anew from Meta's listing."""
    snapshot_lost_at: Timestamp | None = None
    """The store was lost: only update-only sends until grace has passed since then, or a person approves."""
    created: bool = False
    """We made the catalog at Meta, so `deletionPolicy: Delete` may remove it."""
    followed: tuple[Followed, ...] = Field(default=(), max_length=64)


class CatalogLedger(Resource):
    """Named catalog-<catalog id>, in the operator's namespace."""

    KIND: ClassVar[str] = "CatalogLedger"
    PLURAL: ClassVar[str] = "catalogledgers"
    SHORT_NAME: ClassVar[str] = "mledger"

    ledger: LedgerContent = LedgerContent()
