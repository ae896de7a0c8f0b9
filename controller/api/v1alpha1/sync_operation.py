"""SyncOperation: one run of one method, from plan to Meta's final answer."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from controller.api.base import ListSet, Observation, Persisted, Rule, immutable
from controller.api.conditions import ConditionType
from controller.api.durations import Duration, at_least
from controller.api.resource import AGE, Column, ConditionedStatus, Declared, Spec, condition_column
from controller.api.v1alpha1.common import Method, OfferedMethod
from controller.api.v1alpha1.policies import SHARDS_MAX
from controller.api.values import (
    STATUS_LIST_MAX,
    Count,
    Digest,
    EntryName,
    FieldName,
    ItemID,
    ObjectName,
    ObjectRef,
    SampleIDs,
    ShortText,
    Text,
    Timestamp,
)

ITEM_IDS_MAX = 1_000
FIELDS_MAX = 64
SPEC_IMMUTABLE = "the spec of an operation is immutable except cancel; make another SyncOperation"


class Trigger(StrEnum):
    """Why an operation was made."""

    SCHEDULE = "Schedule"
    CHANGE = "Change"
    REQUEST = "Request"
    AUDIT = "Audit"
    REPAIR = "Repair"


class Phase(StrEnum):
    """Where an operation is. For the eye; decisions are taken from the ledger."""

    PENDING = "Pending"
    PREPARING = "Preparing"
    PLANNED = "Planned"
    HELD = "Held"
    SUBMITTING = "Submitting"
    PROCESSING = "Processing"
    COLLECTING = "Collecting"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SUPERSEDED = "Superseded"
    CANCELLED = "Cancelled"
    ABANDONED = "Abandoned"

    @property
    def terminal(self) -> bool:
        """Nothing more will happen. (A dry run ends at Planned, which is not terminal for others.)"""
        return self in _TERMINAL


_TERMINAL = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.SUPERSEDED, Phase.CANCELLED, Phase.ABANDONED})


class SyncOperationSpec(Spec):
    """What is sent, for which shards, by which method."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        immutable("catalogRef", message=SPEC_IMMUTABLE),
        immutable("method", message=SPEC_IMMUTABLE),
        immutable("shards", message=SPEC_IMMUTABLE),
        immutable("dryRun", message=SPEC_IMMUTABLE, optional=True),
        immutable("itemIDs", message=SPEC_IMMUTABLE, optional=True),
        immutable("fields", message=SPEC_IMMUTABLE, optional=True),
        immutable("overlay", message=SPEC_IMMUTABLE, optional=True),
        immutable("deadline", message=SPEC_IMMUTABLE, optional=True),
        Rule(
            "!has(oldSelf.cancel) || !oldSelf.cancel || (has(self.cancel) && self.cancel)",
            "a cancelled operation stays cancelled; make another SyncOperation",
        ),
        Rule(
            "self.method == 'ItemsBatch' || self.shards.size() == 1",
            "ReplaceFeed sends one file to one feed: name exactly one shard",
        ),
        Rule(
            "self.method == 'ItemsBatch' || (!has(self.itemIDs) && !has(self.fields))",
            "itemIDs and fields narrow an ItemsBatch; ReplaceFeed always sends every row of its shard",
        ),
        Rule(
            "!has(self.overlay) || self.method == 'ItemsBatch'",
            "the values of an overlay for a language or country are sent by ItemsBatch",
            ".overlay",
        ),
        Rule(
            "!has(self.overlay) || !has(self.fields)",
            "an overlay's values for a language or country are sent as a whole: leave fields out",
            ".fields",
        ),
    )

    catalog_ref: ObjectRef = Field(description="The Catalog whose items are sent.")
    shards: Annotated[tuple[ObjectName, ...], Field(min_length=1, max_length=SHARDS_MAX), ListSet()] = Field(
        description="Names of the CatalogShards: exactly one for ReplaceFeed, up to 256 for ItemsBatch.",
    )
    method: OfferedMethod = Field(description="How they are sent.")
    dry_run: Annotated[bool, Persisted()] = Field(
        default=False,
        description="Only plan: the operation ends at Planned and sends nothing.",
    )
    item_ids: Annotated[tuple[ItemID, ...], Field(min_length=1, max_length=ITEM_IDS_MAX)] | None = Field(
        default=None,
        description="Send only these items.",
    )
    fields: Annotated[tuple[FieldName, ...], Field(min_length=1, max_length=FIELDS_MAX), ListSet()] | None = Field(
        default=None,
        description="Send only these fields.",
    )
    overlay: EntryName | None = Field(
        default=None,
        description="Send the values of this overlay for its language or country, and nothing else.",
    )
    deadline: Annotated[Duration, at_least("1m")] = Field(
        default=timedelta(hours=24),
        description="An operation that has not sent anything after so long fails.",
    )
    cancel: Annotated[bool, Persisted()] = Field(
        default=False,
        description="Ends the operation unless bytes are on their way; then it is followed to its end.",
    )


class PlanSamples(Observation):
    """Some ids of the plan."""

    create: SampleIDs = Field(default=(), description="Some of the items that are created.")
    update: SampleIDs = Field(default=(), description="Some of the items that are updated.")
    delete: SampleIDs = Field(default=(), description="Some of the items that are deleted.")


class OperationPlan(Observation):
    """What the operation would do, or did."""

    digest: Digest | None = Field(default=None, description="Digest of what is sent.")
    create: Count = Field(default=0, description="Items that are created.")
    update: Count = Field(default=0, description="Items that are updated.")
    delete: Count = Field(default=0, description="Items that are deleted.")
    unchanged: Count = Field(default=0, description="Items that stay as they are.")
    calls: Count = Field(default=0, description="Calls that it needs.")
    bytes: Count = Field(default=0, description="Bytes that it sends.")
    update_only: bool | None = Field(default=None, description="The file cannot delete anything.")
    sample_ids: PlanSamples | None = Field(default=None, description="Some of the items.")


class UploadStatus(Observation):
    """The upload of a file."""

    file_name: ShortText | None = Field(default=None, description="Name that was given to the file.")
    session_id: ShortText | None = Field(default=None, description="Id of the upload at Meta.")
    started_at: Timestamp | None = Field(default=None, description="When the upload was started.")


class ActiveBatch(Observation):
    """A batch that Meta is working on."""

    handle: ShortText = Field(description="Meta's handle.")
    items: Count = Field(description="Number of items in it.")


class BatchesStatus(Observation):
    """The batches of the operation."""

    total: Count = Field(default=0, description="Batches in all.")
    finished: Count = Field(default=0, description="Batches with a final answer.")
    active: Annotated[tuple[ActiveBatch, ...], Field(max_length=STATUS_LIST_MAX)] = Field(
        default=(),
        description="Batches that Meta is working on.",
    )


class ItemMessage(Observation):
    """What Meta said about items."""

    code: ShortText = Field(description="Meta's code, or the type of the error.")
    message: Text = Field(description="Meta's words.")
    count: Count = Field(description="Number of items.")
    sample_ids: SampleIDs = Field(default=(), description="Some of them.")


class Outcome(Observation):
    """Meta's answer."""

    accepted: Count = Field(default=0, description="Items that Meta accepted.")
    refused: Count = Field(default=0, description="Items that Meta refused.")
    unknown: Count = Field(default=0, description="Items about which Meta said nothing; they are read back.")
    errors: Annotated[tuple[ItemMessage, ...], Field(max_length=STATUS_LIST_MAX)] = Field(
        default=(),
        description="Why items were refused, most frequent first.",
    )
    warnings: Annotated[tuple[ItemMessage, ...], Field(max_length=STATUS_LIST_MAX)] = Field(
        default=(),
        description="What Meta warned about, most frequent first.",
    )


class OperationTotals(Observation):
    """One number per printer column."""

    create: Count = Field(default=0, description="Items that are created.")
    update: Count = Field(default=0, description="Items that are updated.")
    delete: Count = Field(default=0, description="Items that are deleted.")
    refused: Count = Field(default=0, description="Items that Meta refused.")


class SyncOperationStatus(ConditionedStatus):
    """How far it got and what Meta said."""

    trigger: Trigger | None = Field(default=None, description="Why it was made.")
    phase: Phase | None = Field(default=None, description="Where it is. For the eye: tools look at the conditions.")
    phase_since: Timestamp | None = Field(default=None, description="When the phase began.")
    started_at: Timestamp | None = Field(default=None, description="When work on it began.")
    completed_at: Timestamp | None = Field(default=None, description="When it ended.")
    next_attempt_at: Timestamp | None = Field(default=None, description="When it is looked at again.")
    shard_count: Count | None = Field(default=None, description="Number of shards.")
    plan: OperationPlan | None = Field(default=None, description="What it would do, or did.")
    upload: UploadStatus | None = Field(default=None, description="The upload of a file.")
    batches: BatchesStatus | None = Field(default=None, description="The batches.")
    totals: OperationTotals | None = Field(default=None, description="Counts for the eye.")
    outcome: Outcome | None = Field(default=None, description="Meta's answer.")


class SyncOperation(Declared[SyncOperationSpec, SyncOperationStatus]):
    """One run of one method, from plan to Meta's final answer."""

    KIND: ClassVar[str] = "SyncOperation"
    PLURAL: ClassVar[str] = "syncoperations"
    SHORT_NAME: ClassVar[str] = "mop"
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("Method", ".spec.method"),
        Column("Shards", ".status.shardCount", "integer"),
        Column("Phase", ".status.phase"),
        Column("Create", ".status.totals.create", "integer"),
        Column("Update", ".status.totals.update", "integer"),
        Column("Delete", ".status.totals.delete", "integer"),
        Column("Refused", ".status.totals.refused", "integer"),
        Column("Phase Since", ".status.phaseSince", "date"),
        Column("Catalog", ".spec.catalogRef.name", priority=1),
        Column("Trigger", ".status.trigger", priority=1),
        Column("Overlay", ".spec.overlay", priority=1),
        condition_column("Message", ConditionType.FAILED, "message", priority=1),
        AGE,
    )
    SELECTABLE: ClassVar[tuple[str, ...]] = (".spec.catalogRef.name",)

    spec: SyncOperationSpec
    status: SyncOperationStatus = SyncOperationStatus()

    @property
    def method(self) -> Method:
        return self.spec.method
