"""CatalogShard: one partition of the items, one feed at Meta, and the unit of exclusion. Made by the Catalog."""

from typing import Annotated, ClassVar

from pydantic import Field

from controller.api.base import Observation, Rule, immutable, settable_once
from controller.api.conditions import ConditionType
from controller.api.resource import AGE, Column, ConditionedStatus, Declared, Spec, condition_column
from controller.api.v1alpha1.common import Method, PendingCreate
from controller.api.values import Count, EntryName, MetaID, ObjectName, ObjectRef, ShortText, Text, Timestamp

SLOTS = 4_096
"""Number of hash slots; fixed for the life of a catalog."""

Slot = Annotated[int, Field(ge=0, le=SLOTS - 1)]


class SlotRange(Spec):
    """A range of the 4,096 slots, both ends included."""

    RULES: ClassVar[tuple[Rule, ...]] = (Rule("self.from <= self.to", "from must not be greater than to"),)

    from_: Slot = Field(description="First slot.")
    to: Slot = Field(description="Last slot.")

    @property
    def size(self) -> int:
        return self.to - self.from_ + 1


class ShardPartition(Spec):
    """Which items belong to the shard."""

    slots: SlotRange = Field(description="Range of the 4,096 slots.")


class CatalogShardSpec(Spec):
    """Which part of the items of which Catalog."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        immutable("catalogRef", message="catalogRef is immutable"),
        immutable("itemsName", message="itemsName is immutable"),
        immutable("partition", message="partition is immutable: shards are split by making new ones"),
        settable_once("feedID", message="feedID is immutable once set"),
    )

    catalog_ref: ObjectRef = Field(description="The Catalog that the shard is part of.")
    items_name: EntryName = Field(description="The entry of the Catalog's spec.items.")
    partition: ShardPartition = Field(description="Which items belong to the shard.")
    feed_id: MetaID | None = Field(default=None, description="Id of an existing feed that is to be adopted.")


class ShardItems(Observation):
    """Counts of the shard."""

    desired: Count = Field(default=0, description="Items that should be at Meta.")
    acknowledged: Count = Field(default=0, description="Items that Meta has accepted.")
    invalid: Count = Field(default=0, description="Rows that failed a check.")


class ShardClaim(Observation):
    """The operation that may send for this shard. A copy for people; the truth is in the ledger."""

    operation: ObjectName = Field(description="Name of the SyncOperation.")
    since: Timestamp = Field(description="When it took the claim.")


class LastOperation(Observation):
    """The last finished operation of one method."""

    operation: ObjectName = Field(description="Name of the SyncOperation, which may be gone.")
    completed_at: Timestamp = Field(description="When it ended.")
    started_at: Timestamp | None = Field(default=None, description="When it started.")
    result: ShortText | None = Field(default=None, description="Phase in which it ended.")
    source_version: ShortText | None = Field(default=None, description="Version of the source that was sent.")
    items: Count = Field(default=0, description="Items that were sent.")


class LastOperations(Observation):
    """The last finished operation of each method."""

    replace: LastOperation | None = Field(default=None, description="By a complete file.")
    update: LastOperation | None = Field(default=None, description="By an update file.")
    batch: LastOperation | None = Field(default=None, description="By a batch.")


class NextOperation(Observation):
    """What comes next, and what it waits for."""

    method: Method = Field(description="How it sends.")
    at: Timestamp | None = Field(default=None, description="When it is due.")
    reason: Text = Field(default="", description="What it waits for.")


class CatalogShardStatus(ConditionedStatus):
    """What the shard's feed is like at Meta."""

    feed_id: MetaID | None = Field(default=None, description="Id of the feed at Meta.")
    pending_create: PendingCreate | None = Field(default=None, description="A creation whose answer is not known yet.")
    items: ShardItems | None = Field(default=None, description="Counts of the shard.")
    claim: ShardClaim | None = Field(default=None, description="The operation that may send for this shard.")
    last: LastOperations | None = Field(default=None, description="The last finished operation of each method.")
    next: NextOperation | None = Field(default=None, description="What comes next, and what it waits for.")


class CatalogShard(Declared[CatalogShardSpec, CatalogShardStatus]):
    """One partition of a Catalog's items, which is one feed at Meta. Made by the Catalog; deleting it is harmless."""

    KIND: ClassVar[str] = "CatalogShard"
    PLURAL: ClassVar[str] = "catalogshards"
    SHORT_NAME: ClassVar[str] = "mshard"
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        condition_column("Ready", ConditionType.READY),
        condition_column("Status", ConditionType.READY, "reason"),
        Column("Feed ID", ".status.feedID"),
        Column("Desired", ".status.items.desired", "integer"),
        Column("At Meta", ".status.items.acknowledged", "integer"),
        Column("Claimed By", ".status.claim.operation"),
        Column("Slots From", ".spec.partition.slots.from", "integer", priority=1),
        Column("Slots To", ".spec.partition.slots.to", "integer", priority=1),
        condition_column("Message", ConditionType.READY, "message", priority=1),
        AGE,
    )
    SELECTABLE: ClassVar[tuple[str, ...]] = (".spec.catalogRef.name",)

    spec: CatalogShardSpec
    status: CatalogShardStatus = CatalogShardStatus()
