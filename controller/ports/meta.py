"""Meta's Graph API as the use cases see it: typed values, one HTTP attempt per call, faults already classified.

Every method raises `Fault`. For a write the disposition decides what the caller may do: RETRY and WAIT and STALLED mean
that nothing was accepted; UNCERTAIN means that it may have been. Reasons: TokenInvalid, TokenExpired,
PermissionDenied, RateLimited, MetaUnavailable, NotVisible (100/33: absent or hidden, never "gone"), InvalidRequest,
AlreadyExists, PayloadTooLarge, VersionUnsupported, ContractViolation, LeaseLost, QuotaExhausted.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol

from typing_extensions import override


class Secret:
    """A string that shows itself only when asked by name."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    @override
    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    @override
    def __hash__(self) -> int:
        return hash(self._text)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one connection calls with."""

    business_id: str
    token: Secret
    version: str = "v26.0"
    app_id: str | None = None
    """Known after the token was inspected; scopes the quota."""
    app_secret: Secret | None = None
    timeout_seconds: float = 60.0


class Bucket(StrEnum):
    """Meta's two quotas for catalogs (Meta: rate limits, business use cases)."""

    BATCH = "CatalogBatch"
    MANAGEMENT = "CatalogManagement"


@dataclass(frozen=True, slots=True)
class Call:
    """What the governor is told of a call before its first byte."""

    name: str
    """Operation name for logs and metrics, e.g. items_batch; never a URL."""
    bucket: Bucket
    app_id: str | None
    catalog_id: str | None
    write: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """One entry of the usage header."""

    percent: int
    """Largest of call count, CPU time and total time, in percent of the quota."""
    regain_minutes: int
    """Minutes until calls are allowed again; 0 when not throttled."""


class Governor(Protocol):
    """Who decides whether a call may leave now: quota, throttling, and the lease of this process."""

    def admit(self, call: Call) -> None:
        """Count the call, or raise Fault (WAIT with retry_at, or LeaseLost). Called right before the first byte."""
        ...

    def observe(self, call: Call, usage: Usage | None, throttled_minutes: int | None) -> None:
        """Learn from an answer: its usage header, and the told minutes when it was a throttling error."""
        ...


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What Meta says about a token. None where Meta did not say."""

    valid: bool
    app_id: str | None
    scopes: tuple[str, ...]
    expires_at: datetime | None = None
    """None with `expiry_known`: never expires."""
    data_access_expires_at: datetime | None = None
    expiry_known: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class DisplaySettings:
    """What Meta does to images in two formats of dynamic ads, in Meta's words (da_display_settings)."""

    carousel_ad: str
    single_ad: str


@dataclass(frozen=True, slots=True)
class CatalogAtMeta:
    id: str
    name: str
    vertical: str | None = None
    product_count: int | None = None
    default_image_url: str | None = None
    fallback_image_urls: tuple[str, ...] = ()
    display: DisplaySettings | None = None
    onsite: bool | None = None
    business_id: str | None = None


@dataclass(frozen=True, slots=True)
class CatalogChange:
    """Settings to write; None leaves a setting alone."""

    name: str | None = None
    default_image_url: str | None = None
    fallback_image_urls: tuple[str, ...] | None = None
    display: DisplaySettings | None = None
    additional_vertical_option: str | None = None
    """In Meta's words. It can be written and not read."""


@dataclass(frozen=True, slots=True)
class FeedAtMeta:
    id: str
    name: str
    deletion_enabled: bool | None = None
    product_count: int | None = None
    scheduled: bool = False
    """Meta fetches it by itself (schedule or update_schedule is set)."""


@dataclass(frozen=True, slots=True)
class UploadAtMeta:
    """One upload session. `end_time` present means done."""

    id: str
    start_time: datetime | None = None
    end_time: datetime | None = None
    file_name: str | None = None
    error_count: int | None = None
    warning_count: int | None = None
    detected: int | None = None
    persisted: int | None = None
    invalid: int | None = None
    deleted: int | None = None


@dataclass(frozen=True, slots=True)
class UploadList:
    uploads: tuple[UploadAtMeta, ...]
    server_time: datetime | None
    """Meta's clock (the Date header of the answer)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What Meta says about one row, or about a whole file (`item_id` None)."""

    severity: Literal["fatal", "warning"]
    message: str
    item_id: str | None = None
    field: str | None = None
    count: int = 1
    """Rows it stands for; more than one when Meta only samples."""


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """State of a requested full report."""

    status: str
    """NOT_REQUESTED | REQUESTED | CREATED | WRITE_FINISHED | SESSION_DATA_NOT_FOUND | … (unknown values are kept)."""
    handle: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """Answer to a batch of items: no handle means that nothing was ingested."""

    handle: str | None
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class BatchStatus:
    status: str
    """scheduled | dispatched | started | finished | canceled | error; unknown values are kept and count as running."""
    terminal: bool
    failed: bool
    problems: tuple[Problem, ...]
    errors_total: int
    warnings_total: int
    invalid_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ItemAtMeta:
    """One item as Meta returned it, in the names of feeds, prices as "9.99 EUR"."""

    id: str
    meta_id: str
    fields: tuple[tuple[str, str], ...]
    """Comparable fields that were present, sorted by name; integers as decimal text."""


@dataclass(frozen=True, slots=True)
class Localization:
    """For whom other values of an item are shown: a language, a country, or one within the other."""

    language: str | None = None
    """As Meta writes it, e.g. fr_XX."""
    country: str | None = None
    """ISO 3166, e.g. FR."""

    def __post_init__(self) -> None:
        if not self.language and not self.country:
            message = "a localization names a language, a country, or both"
            raise ValueError(message)

    @property
    def type(self) -> Literal["LANGUAGE", "COUNTRY", "LANGUAGE_AND_COUNTRY"]:
        if self.language and self.country:
            return "LANGUAGE_AND_COUNTRY"
        return "LANGUAGE" if self.language else "COUNTRY"

    @property
    def value(self) -> str:
        """The key at Meta, e.g. fr_XX, FR or fr_XX|FR (Meta: localized items batch)."""
        return "|".join(part for part in (self.language, self.country) if part)


@dataclass(frozen=True, slots=True)
class ItemPage:
    items: tuple[ItemAtMeta, ...]
    after: str | None
    """Cursor of the next page; None: this was the last one."""


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes to send, checked against size and digest while they go out."""

    size_bytes: int
    sha256: str
    open: Callable[[], AsyncIterator[bytes]] = field(repr=False)
    deadline_seconds: float
    """Total budget of the call, from first byte to answer."""


class Graph(Protocol):
    """Calls with the credentials of one connection."""

    async def inspect_token(self) -> TokenFacts: ...

    async def find_catalogs(self, name: str) -> tuple[CatalogAtMeta, ...]:
        """All catalogs of the business with exactly this name."""
        ...

    async def read_catalog(self, catalog_id: str) -> CatalogAtMeta: ...

    async def create_catalog(self, name: str, vertical: str) -> str: ...

    async def update_catalog(self, catalog_id: str, change: CatalogChange) -> None: ...

    async def delete_catalog(self, catalog_id: str, *, allow_live: bool) -> None: ...

    async def list_feeds(self, catalog_id: str) -> tuple[FeedAtMeta, ...]: ...

    async def read_feed(self, catalog_id: str, feed_id: str) -> FeedAtMeta: ...

    async def create_feed(self, catalog_id: str, name: str, *, currency: str | None) -> str:
        """Create a product feed with deletion_enabled=false: nothing can be deleted until it is switched on."""
        ...

    async def enable_deletion(self, catalog_id: str, feed_id: str) -> None: ...

    async def delete_feed(self, catalog_id: str, feed_id: str) -> None: ...

    async def upload(self, catalog_id: str, feed_id: str, file_name: str, body: Body, *, update_only: bool) -> str:
        """Send one file; return the id of the upload session."""
        ...

    async def list_uploads(self, catalog_id: str, feed_id: str) -> UploadList: ...

    async def read_upload(self, catalog_id: str, upload_id: str) -> UploadAtMeta: ...

    async def read_upload_problems(self, catalog_id: str, upload_id: str) -> tuple[Problem, ...]:
        """Read all pages of errors and their samples. A sampling: counts may exceed the rows that are named."""
        ...

    async def request_error_report(self, catalog_id: str, upload_id: str) -> None: ...

    async def read_error_report(self, catalog_id: str, upload_id: str) -> ErrorReport: ...

    def download_error_report(self, catalog_id: str, report: ErrorReport) -> AsyncIterator[Problem]:
        """Yield the rows of a finished report."""
        ...

    async def send_batch(self, catalog_id: str, body: Body) -> BatchAnswer:
        """POST a prepared items_batch body."""
        ...

    async def send_localized_batch(self, catalog_id: str, body: Body) -> BatchAnswer:
        """POST a prepared localized_items_batch body. Its handle is read with `read_batch` as well."""
        ...

    async def read_batch(self, catalog_id: str, handle: str) -> BatchStatus: ...

    async def read_items(self, catalog_id: str, ids: tuple[str, ...]) -> tuple[ItemAtMeta, ...]:
        """Look items up by their own ids, in as few calls as the filter allows."""
        ...

    async def read_overrides(
        self, catalog_id: str, ids: tuple[str, ...], localization: Localization
    ) -> tuple[ItemAtMeta, ...]:
        """Read what items, looked up by their own ids, hold for one localization: no fields where they hold nothing.

        Costs one call per item, and one per page of the look-up.
        """
        ...

    async def list_items(self, catalog_id: str, feed_id: str, after: str | None) -> ItemPage:
        """One page of the items that a feed owns."""
        ...


class GraphFactory(Protocol):
    """Makes Graphs; holds the connection pools."""

    def connect(self, credentials: Credentials) -> Graph: ...
