"""What Meta answers, as far as we read it: tolerant models at the edge, so that nothing untyped goes further.

Meta adds fields and enum values at any time: unknown fields are ignored, enums stay text. Ids come as text or as bare
numbers, dates as "2019-07-15T12:38:36+0000" or as seconds, and a list may be absent where it would be empty.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from controller.meta.protocol import Answer, contract_violation

Json = object
"""A decoded JSON value; narrowed before it is used."""


def _identity(value: object) -> object:
    """Meta: object ids are numeric text; some documented samples show bare integers."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _moment(value: object) -> object:
    """Meta: dates are ISO 8601 with an offset without colon; tokens use seconds since 1970."""
    if isinstance(value, int) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC) if value > 0 else None
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        message = "neither text nor seconds"
        raise ValueError(message)  # noqa: TRY004 - pydantic collects ValueError only
    moment = datetime.fromisoformat(value)
    return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _absent_is_empty(value: object) -> object:
    return () if value is None else value


Identity = Annotated[str, BeforeValidator(_identity)]
Moment = Annotated[datetime | None, BeforeValidator(_moment)]
Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else str(value))]


class Shape(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


ShapeT = TypeVar("ShapeT", bound=BaseModel)
RowT = TypeVar("RowT", bound=BaseModel)


class Created(Shape):
    """Answer to a creation."""

    id: Identity


class FeedCreated(Shape):
    """A feed's creation can name invalid attributes beside its id, or instead of it (Meta: product feed reference)."""

    id: Identity | None = None


class Succeeded(Shape):
    """Answer to an update or deletion; an update can answer with the node itself instead."""

    success: bool = True


class Cursors(Shape):
    after: str | None = None


class Paging(Shape):
    cursors: Cursors | None = None
    next: str | None = None


class Page(Shape):
    data: list[Json]
    paging: Paging | None = None


class Referenced(Shape):
    id: Identity


class Merchant(Shape):
    cta: str | None = None


class Display(Shape):
    transformation_type: str = ""


class DisplaySettings(Shape):
    carousel_ad: Display = Display()
    single_ad: Display = Display()


class Catalog(Shape):
    id: Identity
    name: Text = ""
    vertical: str | None = None
    product_count: int | None = None
    default_image_url: str | None = None
    fallback_image_url: Annotated[tuple[str, ...], BeforeValidator(_absent_is_empty)] = ()
    da_display_settings: DisplaySettings | None = None
    business: Referenced | None = None
    commerce_merchant_settings: Merchant | None = None


class Feed(Shape):
    id: Identity
    name: Text = ""
    deletion_enabled: bool | None = None
    product_count: int | None = None
    schedule: Json = None
    update_schedule: Json = None


class Report(Shape):
    report_status: str = "NOT_REQUESTED"
    file_handle: str | None = None


class Upload(Shape):
    id: Identity
    start_time: Moment = None
    end_time: Moment = None
    filename: str | None = None
    error_count: int | None = None
    warning_count: int | None = None
    num_detected_items: int | None = None
    num_persisted_items: int | None = None
    num_invalid_items: int | None = None
    num_deleted_items: int | None = None


class UploadReport(Shape):
    error_report: Report | None = None


class Sample(Shape):
    retailer_id: Identity | None = None


class Samples(Shape):
    data: Annotated[tuple[Sample, ...], BeforeValidator(_absent_is_empty)] = ()
    paging: Paging | None = None


class UploadError(Shape):
    id: Identity | None = None
    summary: Text = ""
    description: Text = ""
    severity: Text = "fatal"
    total_count: int | None = None
    samples: Samples | None = None


class Remark(Shape):
    """What is said about one row of a batch. `line` is informational: its origin differs between documented samples."""

    id: Identity | None = None
    message: Text = ""


class RowStatus(Shape):
    retailer_id: Identity | None = None
    errors: Annotated[tuple[Remark, ...], BeforeValidator(_absent_is_empty)] = ()
    warnings: Annotated[tuple[Remark, ...], BeforeValidator(_absent_is_empty)] = ()


class BatchAccepted(Shape):
    handles: Annotated[tuple[Identity, ...], BeforeValidator(_absent_is_empty)] = ()
    validation_status: Annotated[tuple[RowStatus, ...], BeforeValidator(_absent_is_empty)] = ()


class BatchProgress(Shape):
    handle: str | None = None
    status: Text = ""
    errors: Annotated[tuple[Remark, ...], BeforeValidator(_absent_is_empty)] = ()
    errors_total_count: int | None = None
    warnings: Annotated[tuple[Remark, ...], BeforeValidator(_absent_is_empty)] = ()
    warnings_total_count: int | None = None
    ids_of_invalid_requests: Annotated[tuple[Identity, ...], BeforeValidator(_absent_is_empty)] = ()


class OverrideDetails(Shape):
    """What an item holds for one language or country. Meta says of `values` only that it is an object."""

    key: Text = ""
    type: Text = ""
    values: Annotated[dict[str, Json], BeforeValidator(lambda value: value if isinstance(value, dict) else {})] = {}

    def is_for(self, kind: str, key: str) -> bool:
        return (self.type.casefold(), self.key.casefold()) == (kind.casefold(), key.casefold())


class TokenError(Shape):
    code: int | None = None
    subcode: int | None = None
    message: Text = ""


class TokenData(Shape):
    app_id: Identity | None = None
    is_valid: bool = False
    expires_at: int | None = None
    data_access_expires_at: int | None = None
    scopes: Annotated[tuple[str, ...], BeforeValidator(_absent_is_empty)] = ()
    error: TokenError | None = None


class TokenDebug(Shape):
    data: TokenData


class Grant(Shape):
    permission: str
    status: str = "granted"


_MAPPING: TypeAdapter[dict[str, Json]] = TypeAdapter(dict[str, Json])


def read_shape(answer: Answer, shape: type[ShapeT]) -> ShapeT:
    """Read an answer as the shape that the request promises, or raise ContractViolation."""
    try:
        return shape.model_validate(answer.value)
    except (ValidationError, ValueError, OverflowError) as error:
        what = describe(error)
    raise contract_violation(answer, what)


def read_rows(answer: Answer, rows: list[Json], shape: type[RowT]) -> tuple[RowT, ...]:
    try:
        return tuple(shape.model_validate(row) for row in rows)
    except (ValidationError, ValueError, OverflowError) as error:
        what = describe(error)
    raise contract_violation(answer, what)


def read_mappings(answer: Answer, rows: list[Json]) -> tuple[Mapping[str, Json], ...]:
    try:
        return tuple(_MAPPING.validate_python(row) for row in rows)
    except ValidationError as error:
        what = describe(error)
    raise contract_violation(answer, what)


def describe(error: Exception) -> str:
    """Name field and kind of the first mismatch; never its value, which may be anything."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the answer"
        return f"{where} ({first['type']})"
    return "a value is out of range"
