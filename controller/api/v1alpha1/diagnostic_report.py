"""DiagnosticReport: which items have one issue. Written by the operator; the summary stands in the Catalog's status.

One report per issue type of a Catalog. It names the first items, so that it stays far below what the API server takes
(1.5 MiB), and counts them all.
"""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from controller.api.base import WireModel
from controller.api.resource import AGE, Column, Resource
from controller.api.values import Count, ItemID, ObjectRef, ShortText, Text, Timestamp

REPORTED_MAX = 1_000
"""Items that one report names: at most 256 KiB."""


class Priority(StrEnum):
    """How urgent an issue is."""

    HIGH = "High"
    """The items are not sent, or not shown."""
    MEDIUM = "Medium"
    """Meta drops a value, or shows the items worse."""
    LOW = "Low"
    """A recommendation."""


class FoundBy(StrEnum):
    """Whose word it is."""

    CHECKS = "Checks"
    """The operator's own checks of the source's rows, before anything is sent."""


class Issue(WireModel):
    """What is wrong, and what to do about it."""

    type: ShortText = Field(description="Name of the issue, e.g. price-format.")
    priority: Priority = Field(description="High: items are not sent. Medium: a value is lost. Low: a recommendation.")
    title: Text = Field(description="What to do, naming the field.")


class ReportedItem(WireModel):
    """An item that has the issue."""

    id: ItemID = Field(description="Id of the item in the source.")
    since: Timestamp = Field(description="Since when reports name this item.")


class DiagnosticReportContent(WireModel):
    """One issue of one Catalog, and the items that have it."""

    catalog_ref: ObjectRef = Field(description="The Catalog that the items belong to.")
    found_by: FoundBy = Field(description="Whose word it is: Checks are the operator's own.")
    issue: Issue = Field(description="What is wrong.")
    count: Count = Field(description="Number of items, or of rows where rows without an id have the issue too.")
    items: Annotated[tuple[ReportedItem, ...], Field(max_length=REPORTED_MAX)] = Field(
        default=(), description="The first of them, in the order of the source."
    )


class DiagnosticReport(Resource):
    """Named <catalog>-<issue type>, owned by its Catalog."""

    KIND: ClassVar[str] = "DiagnosticReport"
    PLURAL: ClassVar[str] = "diagnosticreports"
    SHORT_NAME: ClassVar[str] = "mdiag"
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("Catalog", ".report.catalogRef.name"),
        Column("Issue", ".report.issue.type"),
        Column("Priority", ".report.issue.priority"),
        Column("Items", ".report.count", "integer"),
        Column("Found By", ".report.foundBy", priority=1),
        Column("Title", ".report.issue.title", priority=1),
        AGE,
    )
    SELECTABLE: ClassVar[tuple[str, ...]] = (".report.catalogRef.name",)

    report: DiagnosticReportContent
