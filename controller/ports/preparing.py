"""The documents between the operator and the process that holds the rows.

Each step is one request and one result. A request names its inputs and the prefix under which the step may write;
a step writes immutable objects there, publishes nothing, and never sees a secret in its request (credentials come
separately). What a step wrote counts only once the ledger names it.

`Refresh`      read, map, check, partition, compare; decide what may leave. Once for all partitions of an items entry.
`Encode`       write the bytes that one operation will send, from the current refresh against the heads it holds.
`Acknowledge`  turn what was sent and what Meta answered into the next heads.
`Verify`       compare what was sent with what Meta returned when it was read back.
`Rebuild`      make heads from Meta's own listing after a store was lost.

Keys are relative to the root of the store, with forward slashes. Counts are items unless named otherwise.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal, Protocol, get_args

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic_core import from_json

from controller.api.v1alpha1.items import ItemsEntry
from controller.ports.documents import Document
from controller.ports.locales import Locale, LocaleDeclared, LocaleHead, LocalePending

FORMAT_VERSION: Literal[1] = 1
"""Version of the request and result documents. A child of another version refuses them."""

VOLATILE_FIELDS = ("price", "sale_price", "sale_price_effective_date", "availability", "quantity_to_sell_on_facebook")
"""Fields that must reach Meta within 15 minutes of a change (Meta: catalog integration guide, requirement 1)."""


class Partition(Document):
    """One shard: a range of the 4,096 slots and the state that the ledger names for it."""

    index: Annotated[int, Field(ge=0, lt=256)]
    slot_from: Annotated[int, Field(ge=0, lt=4096)]
    slot_to: Annotated[int, Field(ge=0, lt=4096)]
    """Inclusive."""
    snapshot: str | None = None
    """What Meta has acknowledged, per item and field. None: nothing was ever sent."""
    payload: str | None = None
    """Rows of the last accepted full send. None: none yet, or lost."""
    locales: tuple[LocaleHead, ...] = ()


class PartitionDesired(Document):
    """Where a refresh left the accepted rows of one partition."""

    index: int
    desired: str
    rows: int


class OverlayHead(Document):
    """One overlay as the rows of a refresh have it."""

    name: str
    read_at: datetime
    digest: str
    etag: str | None = None
    last_modified: str | None = None
    configuration_digest: str
    """Digest of what decides what its cells mean; under another one its values are gathered anew."""
    fields: tuple[str, ...]
    table: str
    """Per id the last value that each field ever had."""
    rows: int
    """Of the last read."""
    ids: int
    """With a value of any read."""
    unknown: int = 0
    """Ids that the full source does not have. They are never created."""
    sample_unknown: tuple[str, ...] = ()
    superseded_digests: tuple[str, ...] = ()
    locale: Locale | None = None
    """For whom its values are; they are not laid over rows then."""
    localized: str | None = None
    """Where there is a locale: per id a hash of its values, and whether they may be sent."""


class RefreshHead(Document):
    """What the ledger remembers of the last accepted refresh; the input of everything that follows it."""

    sequence: int
    """Grows with every accepted read of the source. Never goes back."""
    read_at: datetime
    digest: str
    """Digest of the source's bytes after decompression, hex."""
    etag: str | None = None
    last_modified: str | None = None
    configuration_digest: str
    """Digest of the items entry that was in force; another one makes a new refresh due."""
    partitions: tuple[PartitionDesired, ...] = ()
    departures: str | None = None
    """Table of ids on their way out; it also names the table of rejected rows and says whether the read missed any."""
    findings: str | None = None
    """`Findings` of the read."""
    superseded_digests: tuple[str, ...] = ()
    """Digests of earlier versions, newest first, at most 16: seeing one again means the source went back."""
    rows: int = 0
    valid: int = 0
    invalid: int = 0
    overlays: tuple[OverlayHead, ...] = ()
    """Those whose values are in the rows, in order of precedence. One that was never read is not among them."""
    judge_again: bool = False
    """An overlay gave rows other values that were rejected: they are judged when the full source is read again."""
    locales: tuple[LocaleDeclared, ...] = ()
    """In order of declaration. The values of one that is not here, and that Meta holds, are to be removed."""


class PriceChangePolicy(Document):
    """Catalog.spec.guards.maxPriceChange."""

    percent: float
    of_items_percent: float


class GuardPolicy(Document):
    """Effective limits of deletion (Catalog.spec.guards with every default filled in)."""

    max_delete_percent: float
    always_allow: int
    max_deletes: int | None = None
    max_out_of_stock_percent: float
    max_price_change: PriceChangePolicy | None = None
    out_of_stock_first: bool = True
    grace: timedelta
    counted_leaving_24h: int = 0
    """Ids that turned leaving in the last 24 h, over all refreshes, as the ledger counts them."""
    counted_unsellable_24h: int = 0
    items_max_7d: int = 0
    """Largest number of items in the last 7 days: the base of the percentages."""
    approved_digests: tuple[str, ...] = ()
    """Digests of valid approvals. Each releases those ids of its stored set that are still held."""


class Limits(Document):
    """Bounds of one step. The child enforces bytes and rows; its parent enforces time and memory."""

    source_bytes_max: int = 64 << 30
    line_bytes_max: int = 5_242_880
    """Meta: catalog integration guide, per-line length."""
    rows_max: int = 100_000_000
    batch_rows_max: int = 5_000
    """Meta: items_batch reference."""
    batch_bytes_max: int = 28_000_000
    """Meta: items_batch reference, whole payload."""
    upload_bytes_max: int = 4_000_000_000
    """Meta: help article on scheduled feeds, 4 GB."""
    update_rows_max: int = 1_000_000
    """Of one part of an update. Meta: help article on feed files, more items should be several files."""
    update_bytes_max: int = 1_000_000_000
    """Text of one part of an update, before it is packed: a quarter of what Meta takes, so less is lost with it."""
    slice_rows_max: int = 1_000_000
    """Rows whose narrow columns may be in memory at once; more are taken in slices."""
    incremental_rows_min: int = 5_000
    """From so many rows on, what is needed to read only changes is kept. Below, reading everything is as fast."""
    shared_bytes_min: int = 16 << 20
    """From so many bytes on, threads help to find what changed."""


class Step(Document):
    """What all requests share."""

    version: Literal[1] = FORMAT_VERSION
    store: str
    """URL of the store, e.g. file:///var/lib/metacatalog."""
    prefix: str
    """Key prefix under which this step may write; unique per attempt, contains catalog, epoch and operation."""
    catalog_id: str
    now: datetime
    limits: Limits = Limits()


class SourceRoot(Document):
    """One administrator's volume: a name that resources use and the directory behind it."""

    name: str
    directory: str


class RefreshRequest(Step):
    """Read the source (or take the last read again) and compare it with what Meta holds."""

    step: Literal["Refresh"] = "Refresh"
    items: ItemsEntry
    configuration_digest: str
    sequence: int
    """Sequence of this refresh when the source is read; ignored when it is not."""
    read: bool = True
    """False: compare again with the desired rows of `previous` (a quiet look, an approval, new heads)."""
    accept_went_back: bool = False
    """True after a person asked for a sync, or after three equal reads of an older version."""
    interval: timedelta
    """A departure needs absence in two complete looks at least this far apart."""
    layout_id: int
    partitions: tuple[Partition, ...]
    previous: RefreshHead | None = None
    guard: GuardPolicy
    allowed_networks: tuple[str, ...] = ()
    """CIDRs that the source may resolve to beyond public addresses."""
    source_roots: tuple[SourceRoot, ...] = ()
    overlays: tuple["OverlayRequest", ...] = ()
    """Overlays to be read in this step. With `read` false, only their changes are laid over the rows of `previous`."""


class OverlayRequest(Document):
    """An overlay that is to be read."""

    name: str
    configuration_digest: str
    accept_went_back: bool = False


class Pending(Document):
    """What one partition still owes Meta, as counts."""

    index: int
    creations: int = 0
    volatile: int = 0
    """Items at Meta with a volatile field that differs, is unknown, or must turn out of stock."""
    static: int = 0
    """Items at Meta with another field that differs or is unknown: only a full send carries these."""
    deletions: int = 0
    """Leavers past grace whose out-of-stock was acknowledged: the next replace drops them."""
    kept_missing: int = 0
    """Items that must stay, are not in the source's good rows, and have no kept row: full sends are update-only."""
    items_at_meta: int = 0
    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    localized: tuple[LocalePending, ...] | None = None
    """None: the step did not change it."""


class RuleCount(Document):
    """How often one named check spoke, with the first ids: at most 10 in a result, at most 1,000 in `Findings`."""

    rule: str
    level: Literal["Error", "Warning", "Advice"]
    count: int
    message: str
    """What a person should do, naming the field."""
    sample_ids: tuple[str, ...] = ()


class Findings(Document):
    """What the checks found in one read, item by item. Stands in the store, where `RefreshHead.findings` says."""

    checks: tuple[RuleCount, ...]


class Held(Document):
    """Ids that the guard keeps as they are. The ids themselves stand in the store under `ids`."""

    digest: str
    """sha256:<hex> over the catalog id and the sorted ids."""
    count: int
    leaving: int
    unsellable: int
    prices: int = 0
    """Ids whose price would change by more than the guard allows."""
    of: int
    """Items that the percentage was taken of."""
    sample_ids: tuple[str, ...] = ()
    ids: str


class RefusedRead(Document):
    """The source was read (or not) and not accepted; the last good state stays in force."""

    reason: str
    """E.g. SourceUnreachable, SourceEmpty, SourceTooSmall, SourceMalformed, SourceWentBack, MappingInvalid."""
    message: str
    digest: str | None = None


class OverlayResult(Document):
    """What became of reading one overlay."""

    name: str
    refused: RefusedRead | None = None
    """The last good state stays in force, or none where there was none."""


class RefreshResult(Document):
    """Either `refused`, or a new head with what it means."""

    step: Literal["Refresh"] = "Refresh"
    refused: RefusedRead | None = None
    head: RefreshHead | None = None
    pending: tuple[Pending, ...] = ()
    checks: tuple[RuleCount, ...] = ()
    held: Held | None = None
    watching: int = 0
    """Ids absent in one complete look so far."""
    newly_leaving: int = 0
    """Cleared by the guard in this refresh (approvals not included): the ledger counts them."""
    newly_unsellable: int = 0
    released_digests: tuple[str, ...] = ()
    """Approvals that this refresh used."""
    next_look_at: datetime | None = None
    """When the departures ask for another look even if the source stands still (second look, end of grace)."""
    overlays: tuple[OverlayResult, ...] = ()
    """In the order of the request."""
    needs_read: bool = False
    """There is no head: what the overlays say now can only be applied together with a read of the full source."""


class Method(StrEnum):
    REPLACE_FEED = "ReplaceFeed"
    UPDATE_FEED = "UpdateFeed"
    ITEMS_BATCH = "ItemsBatch"


class EncodeRequest(Step):
    """Write what one operation sends. Runs under the claims of `partitions`."""

    step: Literal["Encode"] = "Encode"
    method: Method
    partitions: tuple[Partition, ...]
    """ReplaceFeed and UpdateFeed: exactly one."""
    refresh: RefreshHead
    guard: GuardPolicy
    update_only: bool = False
    """Asked for: the first upload of a feed, a lost snapshot, a person. The step may still decide on it by itself."""
    fields: tuple[str, ...] = VOLATILE_FIELDS
    """ItemsBatch: what it may say."""
    item_ids: tuple[str, ...] = ()
    """Narrows a batch; empty means all."""
    calls_max: int = 1
    """ItemsBatch and UpdateFeed: at most so many bodies; the rest waits for the next operation."""
    file_name: str = ""
    """ReplaceFeed: name of the upload, with a nonce, chosen by the caller."""
    overlay: str | None = None
    """ItemsBatch: send the values of this overlay for its localization, and nothing else."""


class PayloadFile(Document):
    """One body to send: bytes in the store with their size and digest, which the sender checks first."""

    key: str
    bytes: int
    sha256: str
    rows: int
    partitions: tuple[int, ...]
    sent: str
    """Table of what the body says per item: input of Acknowledge and Verify."""


class PlanCounts(Document):
    """What an operation would do."""

    create: int = 0
    update: int = 0
    delete: int = 0
    unchanged: int = 0
    sample_create: tuple[str, ...] = ()
    sample_update: tuple[str, ...] = ()
    sample_delete: tuple[str, ...] = ()


class EncodeResult(Document):
    """Empty `files` means that there is nothing to send."""

    step: Literal["Encode"] = "Encode"
    files: tuple[PayloadFile, ...] = ()
    plan: PlanCounts = PlanCounts()
    digest: str = ""
    """sha256:<hex> over the files' digests in order."""
    update_only: bool = False
    update_only_reason: str | None = None
    """KeptRowMissing | DeletionsHeld | UntestedRows | FirstUpload | SnapshotLost | Requested.

    UntestedRows: items at Meta would be sent with values that Meta has not accepted yet. What a replace does to an
    existing item whose row it refuses is not published, so such rows travel as updates. Only where a deletion is due
    the file replaces, and then carries those items as Meta last accepted them.
    """
    deletes: str | None = None
    """Table of the ids that a replace leaves out on purpose."""
    removes_feed: bool = False
    """Nothing stays in the partition. Meta takes no empty file: the feed itself has to go, and the one file here,
    which has no bytes, stands for that."""
    more: bool = False
    """There was more to send than calls_max allowed."""
    locale: Locale | None = None
    """For whom the values of the bodies are."""


class Fate(StrEnum):
    """What became of one body."""

    APPLIED = "Applied"
    """Terminal answer, all result pages read."""
    NEVER_ACCEPTED = "NeverAccepted"
    UNKNOWN = "Unknown"
    """Abandoned, or answered in a way that leaves rows unnamed."""


class Receipt(Document):
    """What Meta answered to one body."""

    sent: str
    fate: Fate
    results: str | None = None
    """JSON Lines: {"id", "severity": "fatal"|"warning", "message", "field": str|null}, one per named row."""
    unnamed_refused: int = 0
    """Refusals that were counted but not named: rows without a line in `results` become unknown."""
    read_back: str | None = None
    """JSON Lines of items as Meta returned them, for the rows whose fate was unnamed or uncertain."""


class AcknowledgeRequest(Step):
    """Make the next heads of the partitions whose bodies all have receipts."""

    step: Literal["Acknowledge"] = "Acknowledge"
    method: Method
    update_only: bool
    partitions: tuple[Partition, ...]
    """With the heads that the operation encoded against."""
    receipts: tuple[Receipt, ...]
    deletes: str | None = None
    """ReplaceFeed: what the replace left out; these ids leave the snapshot when the fate is Applied."""
    refresh: RefreshHead
    """The refresh now in force, for `pending`."""
    guard: GuardPolicy
    overlay: str | None = None
    locale: Locale | None = None
    """ItemsBatch of values for one localization: whose."""


class ErrorGroup(Document):
    message: str
    severity: Literal["fatal", "warning"]
    count: int
    sample_ids: tuple[str, ...] = ()


class AcknowledgeResult(Document):
    step: Literal["Acknowledge"] = "Acknowledge"
    partitions: tuple[Partition, ...] = ()
    pending: tuple[Pending, ...] = ()
    """Of values for one localization, only `localized` is counted."""
    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    errors: tuple[ErrorGroup, ...] = ()
    """At most 16, largest first."""
    warnings: tuple[ErrorGroup, ...] = ()


class VerifyRequest(Step):
    step: Literal["Verify"] = "Verify"
    sent: tuple[str, ...]
    read_back: str
    partitions: tuple[Partition, ...] = ()
    """With the heads from before it was sent."""
    locale: Locale | None = None
    """Whose values were sent, where they are not the items' own."""


class VerifyResult(Document):
    step: Literal["Verify"] = "Verify"
    equal: int = 0
    proven: int = 0
    """Of the equal ones: Meta was known to have another value of what is equal now, so it took what was sent. What was
    unknown may have been so before, and the body may still be at work."""
    different: int = 0
    missing: int = 0


class ListedPartition(Document):
    """Meta's own listing of one feed: JSON Lines of items in the store."""

    index: int
    listing: str


class RebuildRequest(Step):
    step: Literal["Rebuild"] = "Rebuild"
    partitions: tuple[Partition, ...]
    listings: tuple[ListedPartition, ...]


class RebuildResult(Document):
    step: Literal["Rebuild"] = "Rebuild"
    partitions: tuple[Partition, ...] = ()
    items: int = 0


class SentIDsRequest(Step):
    """List the ids of sent tables, for reading them back at Meta."""

    step: Literal["SentIDs"] = "SentIDs"
    sent: tuple[str, ...]


class SentIDsResult(Document):
    step: Literal["SentIDs"] = "SentIDs"
    ids: str
    """JSON array of strings in the store."""
    count: int = 0


class FailedStep(Document):
    """The step ended without a result that counts: a defect, a limit, a full disk."""

    step: Literal["Failed"] = "Failed"
    reason: str
    """PreparingFailed | PreparingOutOfMemory | PreparingDeadline | StoreFull | SnapshotLost | SnapshotTooNew."""
    message: str


Request = Annotated[
    RefreshRequest | EncodeRequest | AcknowledgeRequest | VerifyRequest | RebuildRequest | SentIDsRequest,
    Field(discriminator="step"),
]
Result = Annotated[
    RefreshResult | EncodeResult | AcknowledgeResult | VerifyResult | RebuildResult | SentIDsResult | FailedStep,
    Field(discriminator="step"),
]
REQUESTS: TypeAdapter[Request] = TypeAdapter(Request, config=ConfigDict(defer_build=True))
RESULTS: TypeAdapter[Result] = TypeAdapter(Result, config=ConfigDict(defer_build=True))


def read_request(content: bytes) -> Request:
    """Read a request document. Only what it is made of is built."""
    document = from_json(content)
    step = document.get("step") if isinstance(document, dict) else None
    for kind in get_args(get_args(Request)[0]):
        if kind.model_fields["step"].default == step:
            found: Request = kind.model_validate_json(content)
            return found
    return REQUESTS.validate_json(content)


class BasicAuth(Document):
    username: str = Field(repr=False)
    password: str = Field(repr=False)


class SourceCredentials(Document):
    """What a read needs and no document may hold. Goes to the child on standard input and nowhere else."""

    url: str | None = Field(default=None, repr=False)
    """A presigned or otherwise secret URL; overrides the one in the items entry."""
    basic_auth: BasicAuth | None = Field(default=None, repr=False)
    bearer_token: str | None = Field(default=None, repr=False)
    object_keys: tuple[tuple[str, str], ...] = Field(default=(), repr=False)
    """Keys of an object store by their names in the Secret; a read gets a presigned URL instead."""
    dsn: str | None = Field(default=None, repr=False)
    """Connection string of a database."""
    content: str | None = Field(default=None, repr=False)
    """Base64 of a file that is handed in rather than fetched: the value of a ConfigMap."""
    headers: tuple[tuple[str, str], ...] = Field(default=(), repr=False)
    overlays: "dict[str, SourceCredentials]" = Field(default={}, repr=False)
    """Of the overlays that are read in the same step, by name."""


class Preparing(Protocol):
    """Runs a step to its end.

    Raises `Fault` (RETRY) when the step could not be run to a result: killed, out of memory, past its deadline,
    disk full. A step that ran and refused its input returns a result that says so.
    """

    async def run(self, request: Request, credentials: SourceCredentials | None = None) -> Result:
        """Run one step; the result's `step` equals the request's."""
        ...
