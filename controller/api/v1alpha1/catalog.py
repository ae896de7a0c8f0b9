"""Catalog: what a catalog at Meta should hold, from where, and how carefully it is kept that way."""

from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field

from controller.api.base import ListMap, Observation, Persisted, Rule, immutable, matches, settable_once
from controller.api.conditions import ConditionType
from controller.api.durations import Duration
from controller.api.resource import AGE, Column, ConditionedStatus, Declared, Effective, Spec, condition_column
from controller.api.v1alpha1.common import Method, PendingCreate
from controller.api.v1alpha1.items import ItemsEntry
from controller.api.v1alpha1.policies import (
    AdoptionPolicy,
    CatalogSettings,
    DeletionPolicy,
    DriftPolicy,
    ExistingFeeds,
    Freshness,
    Guards,
    Ingestion,
    ManagementPolicy,
    Operations,
    Sharding,
    Vertical,
)
from controller.api.values import (
    STATUS_LIST_MAX,
    Count,
    Digest,
    EntryName,
    MetaID,
    ObjectName,
    ObjectRef,
    SampleIDs,
    ShortText,
    Text,
    Timestamp,
)

NAME_LENGTH_MAX = 40
"""Leaves room for what children, labels and Jobs append within Kubernetes' 63 characters."""
NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"


class CatalogSpec(Spec):
    """What the catalog should hold, from where, and how carefully it is kept that way."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        settable_once(
            "catalogID",
            message="catalogID is immutable once set; to manage another catalog, make another Catalog",
        ),
        immutable("vertical", message="vertical is immutable; make another Catalog", optional=True),
        Rule(
            "!has(self.catalogID) || !has(self.adoptionPolicy) || self.adoptionPolicy == 'Never'",
            "catalogID and adoptionPolicy IfNameMatches exclude each other: an id needs no search by name",
        ),
    )

    connection_ref: ObjectRef = Field(description="The MetaConnection whose credentials are used. May be changed.")
    catalog_id: MetaID | None = Field(
        default=None,
        description="Id of an existing catalog that is to be adopted. Absent: the catalog is created.",
    )
    adoption_policy: Annotated[AdoptionPolicy, Persisted()] = Field(
        default=AdoptionPolicy.NEVER,
        description="Whether an existing catalog of the same name may be adopted instead of creating one.",
    )
    name: Annotated[str, Field(min_length=1, max_length=200)] = Field(description="Name of the catalog at Meta.")
    vertical: Annotated[Vertical, Persisted()] = Field(
        default=Vertical.COMMERCE,
        description="What the catalog is about. Immutable at Meta.",
    )
    settings: CatalogSettings = Field(default=CatalogSettings(), description="Settings of the catalog at Meta.")
    management_policy: Annotated[ManagementPolicy, Persisted()] = Field(
        default=ManagementPolicy.FULL,
        description="Observe changes nothing at Meta.",
    )
    drift_policy: Annotated[DriftPolicy, Persisted()] = Field(
        default=DriftPolicy.CORRECT,
        description="Whether settings that somebody else changed are set back or only reported.",
    )
    deletion_policy: Annotated[DeletionPolicy, Persisted()] = Field(
        default=DeletionPolicy.ORPHAN,
        description="What happens to the catalog at Meta when this object is deleted. Orphan leaves it untouched.",
    )
    deletion_timeout: Duration = Field(
        default=timedelta(hours=1),
        description="How long a Delete without usable credentials waits before it leaves the catalog at Meta.",
    )
    delete_while_live: Annotated[bool, Persisted()] = Field(
        default=False,
        description="Allows deletion of a catalog whose product sets are used by live ads.",
    )
    suspend: Annotated[bool, Persisted()] = Field(
        default=False,
        description="Nothing new starts; what is in flight is followed to its end; deletion is never blocked.",
    )
    items: Annotated[tuple[ItemsEntry, ...], Field(min_length=1, max_length=1), ListMap(("name",))] = Field(
        description="Where the items come from: exactly one entry.",
    )
    sharding: Sharding = Field(default=Sharding(), description="Into how many feeds the items are divided.")
    existing_feeds: Annotated[ExistingFeeds, Persisted()] = Field(
        default=ExistingFeeds.REPORT,
        description="What happens to feeds that an adopted catalog already has.",
    )
    ingestion: Ingestion = Field(default=Ingestion(), description="Which ways of sending are used.")
    guards: Guards = Field(default=Guards(), description="How much may disappear before a person is asked.")
    freshness: Freshness = Field(default=Freshness(), description="What is promised about age.")
    operations: Operations = Field(default=Operations(), description="How long finished SyncOperations are kept.")


class Layout(Observation):
    """How the items are divided."""

    id: Annotated[int, Field(ge=1)] = Field(description="Number of the layout; part of the names of its shards.")
    shards: Annotated[int, Field(ge=1)] = Field(description="Number of shards of the layout.")
    recommended_shards: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Number that would be chosen today.",
    )
    slots_hash: Annotated[int, Field(ge=1)] | None = Field(default=None, description="The hash from item to slot.")


class DerivedSchedule(Observation):
    """A schedule that the operator derived."""

    name: ObjectName = Field(description="Name of the FeedSchedule.")
    method: Method = Field(description="How it sends.")
    overridden_by: ObjectName | None = Field(default=None, description="The hand-written one that replaces it.")


class Derived(Observation):
    """What was derived from the source, and why."""

    reason: Text = Field(default="", description="The figures that led to it.")
    schedules: Annotated[tuple[DerivedSchedule, ...], Field(max_length=STATUS_LIST_MAX)] = Field(
        default=(),
        description="The derived schedules.",
    )


class LocalizedStatus(Observation):
    """How far the values of an overlay for one language or country are at Meta."""

    items: Count = Field(default=0, description="Items at Meta that it has values for.")
    acknowledged: Count = Field(default=0, description="Of these, those of which Meta has exactly its values.")
    pending: Count = Field(default=0, description="Items whose values are still to be sent, or to be removed.")
    refused: Count = Field(default=0, description="Items whose values Meta has refused as they are now.")


class OverlayStatus(Observation):
    """One overlay of an entry of spec.items."""

    name: EntryName = Field(description="Name of the overlay.")
    rows: Count = Field(default=0, description="Rows of the last good read.")
    items: Count = Field(default=0, description="Rows of the full source that it has values for.")
    unknown: Count = Field(default=0, description="Ids that the full source does not have. They are never created.")
    unknown_sample_ids: SampleIDs = Field(default=(), description="Some of them.")
    read_at: Timestamp | None = Field(default=None, description="When it last brought something new.")
    source_version: ShortText | None = Field(default=None, description="Version of the last good read.")
    reason: ShortText | None = Field(default=None, description="Why the last look failed; absent where it did not.")
    message: Text | None = Field(default=None, description="What went wrong, and when the next try is.")
    localized: LocalizedStatus | None = Field(
        default=None,
        description="Its values at Meta, if they are for one language or country.",
    )


class ItemsStatus(Observation):
    """Counts of one entry of spec.items."""

    name: EntryName = Field(description="Name of the entry.")
    rows: Count = Field(default=0, description="Rows of the last good read.")
    valid: Count = Field(default=0, description="Rows that passed the checks.")
    invalid: Count = Field(default=0, description="Rows that failed a check.")
    acknowledged: Count = Field(default=0, description="Items that Meta has accepted.")
    refused: Count = Field(default=0, description="Items that Meta has refused.")
    source_version: ShortText | None = Field(default=None, description="Version of the last good read.")
    overlays: Annotated[tuple[OverlayStatus, ...], Field(max_length=STATUS_LIST_MAX)] = Field(
        default=(),
        description="Its overlays, in order of precedence.",
    )


class CatalogTotals(Observation):
    """One number per printer column."""

    items: Count = Field(default=0, description="Items that should be at Meta.")
    invalid: Count = Field(default=0, description="Rows that failed a check.")
    refused: Count = Field(default=0, description="Items that Meta has refused.")
    issues: Count = Field(default=0, description="Items with an issue at Meta.")


class CheckResult(Observation):
    """Rows that one rule found."""

    rule: ShortText = Field(description="Name of the rule.")
    level: ShortText = Field(description="Error (the row is not sent), Warning, or Advice.")
    count: Count = Field(description="Number of rows.")
    sample_ids: SampleIDs = Field(default=(), description="Some of them.")
    message: Text = Field(default="", description="What is wrong, and what to do.")


class Fresh(Observation):
    """When each promise was last known to hold."""

    full_at: Timestamp | None = Field(default=None, description="Start of the last successful full send.")
    items_at: Timestamp | None = Field(default=None, description="Source time up to which changed items are at Meta.")
    volatile_at: Timestamp | None = Field(default=None, description="Source time up to which volatile values are.")


class Drift(Observation):
    """A setting that differs at Meta."""

    field: ShortText = Field(description="The field of the spec.")
    declared: Text = Field(description="What the spec says.")
    at_meta: Text = Field(description="What Meta says.")


class HeldDeletions(Observation):
    """Deletions that wait for an approval."""

    digest: Digest = Field(description="Copy it into a DeletionApproval to release exactly these.")
    count: Count = Field(description="Number of items.")
    since: Timestamp = Field(description="When they were first held.")
    sample_ids: SampleIDs = Field(default=(), description="Some of them.")


class CatalogStatus(ConditionedStatus):
    """What the catalog is like at Meta."""

    catalog_id: MetaID | None = Field(default=None, description="Id of the catalog at Meta.")
    pending_create: PendingCreate | None = Field(default=None, description="A creation whose answer is not known yet.")
    onsite: bool | None = Field(default=None, description="Whether a shop with checkout at Meta is attached.")
    effective: Effective | None = Field(default=None, description="Every default that was filled in.")
    layout: Layout | None = Field(default=None, description="How the items are divided.")
    derived: Derived | None = Field(default=None, description="What was derived from the source, and why.")
    items: Annotated[tuple[ItemsStatus, ...], Field(max_length=STATUS_LIST_MAX)] = Field(
        default=(),
        description="Counts per entry of spec.items.",
    )
    totals: CatalogTotals | None = Field(default=None, description="Counts over all entries.")
    checks: Annotated[tuple[CheckResult, ...], Field(max_length=STATUS_LIST_MAX)] = Field(
        default=(),
        description="What the checks found, most frequent first.",
    )
    held: HeldDeletions | None = Field(default=None, description="Deletions that wait for an approval.")
    fresh: Fresh | None = Field(default=None, description="When each promise was last known to hold.")
    drift: Annotated[tuple[Drift, ...], Field(max_length=STATUS_LIST_MAX)] = Field(
        default=(),
        description="Settings that differ at Meta.",
    )


class Catalog(Declared[CatalogSpec, CatalogStatus]):
    """A product catalog at Meta: what it should hold, from where, and how carefully it is kept that way."""

    KIND: ClassVar[str] = "Catalog"
    PLURAL: ClassVar[str] = "catalogs"
    SHORT_NAME: ClassVar[str] = "mcat"
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        condition_column("Ready", ConditionType.READY),
        condition_column("Status", ConditionType.READY, "reason"),
        Column("Catalog ID", ".status.catalogID"),
        Column("Items", ".status.totals.items", "integer"),
        Column("Invalid", ".status.totals.invalid", "integer"),
        Column("Refused", ".status.totals.refused", "integer"),
        Column("Issues", ".status.totals.issues", "integer"),
        condition_column("Fresh", ConditionType.FRESH),
        condition_column("Synced", ConditionType.SYNCED, priority=1),
        condition_column("Message", ConditionType.READY, "message", priority=1),
        AGE,
    )
    SELECTABLE: ClassVar[tuple[str, ...]] = (".spec.connectionRef.name",)
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"self.metadata.name.size() <= {NAME_LENGTH_MAX}",
            f"the name must be no more than {NAME_LENGTH_MAX} characters long: children append to it",
        ),
        Rule(
            matches(NAME_PATTERN, "self.metadata.name"),
            "the name must start with a letter and hold only lower-case letters, digits and dashes",
        ),
    )

    spec: CatalogSpec
    status: CatalogStatus = CatalogStatus()
