"""CatalogShard: the product feed at Meta that owns the items of one partition.

A feed is found again by a permanent marker in its name, so a shard that was deleted and made anew, or a creation whose
answer was lost, never makes a second feed. Deleting a shard deletes nothing at Meta.
"""

import logging
import re
from collections.abc import Callable
from datetime import datetime, timedelta

from controller.api.conditions import ConditionType
from controller.api.resource import ObjectKey
from controller.api.v1alpha1.catalog import Catalog
from controller.api.v1alpha1.catalog_ledger import LedgerContent, PartitionRecord
from controller.api.v1alpha1.catalog_shard import (
    CatalogShard,
    CatalogShardStatus,
    LastOperation,
    LastOperations,
    ShardClaim,
    ShardItems,
)
from controller.api.v1alpha1.common import Method, PendingCreate
from controller.api.v1alpha1.policies import ManagementPolicy
from controller.api.v1alpha1.sync_operation import SyncOperation
from controller.faults import Disposition, Fault
from controller.planning.retention import ended
from controller.planning.verdicts import Verdict, false, progress, retry_text, true, unknown
from controller.ports.meta import FeedAtMeta
from controller.reconcile.connections import Connection, Connections
from controller.reconcile.context import Context
from controller.reconcile.ledgers import LedgerBook
from controller.reconcile.outcome import Outcome
from controller.reconcile.reporting import report, warn
from controller.scheduling import ledger as transitions

LOG = logging.getLogger(__name__)

FEEDS_NAMED_MAX = 5
ANSWER_WAIT = timedelta(seconds=60)
"""A creation whose answer was lost has arrived at Meta by then, or never will."""
MARKER = re.compile(r"metacatalog/(?P<installation>[^/]+)/(?P<layout>\d+)-(?P<hash>\d+)-(?P<index>\d+)$")


def feed_marker(installation: str, layout: int, slots_hash: int, index: int) -> str:
    """Permanent name of a feed: installation, layout, hash, index."""
    return f"metacatalog/{installation}/{layout}-{slots_hash}-{index}"


class CatalogShards:
    def __init__(
        self,
        context: Context,
        book: LedgerBook,
        connections: Connections,
        installation: str,
        wake_catalog: Callable[[str], None],
    ) -> None:
        self._context = context
        self._wake_catalog = wake_catalog
        self._book = book
        self._connections = connections
        self._installation = installation

    async def reconcile(self, key: ObjectKey) -> Outcome:
        shard = self._context.objects.get(CatalogShard, key)
        if shard is None or shard.metadata.deleting:
            return Outcome()
        try:
            await self._keep_feed(shard)
        except Fault as fault:
            await self._report(shard, fault)
            if fault.disposition is Disposition.STALLED:
                return Outcome(self._context.clock.now() + self._context.settings.timing.retry_max)
            raise
        finally:
            await self._book.persist_news()
        await self._report(shard, None)
        return Outcome()

    def _parent(self, shard: CatalogShard) -> Catalog:
        key = ObjectKey(Catalog.KIND, shard.namespace, shard.spec.catalog_ref.name)
        found = self._context.objects.get(Catalog, key)
        if found is None:
            raise Fault("CatalogNotFound", Disposition.STALLED, f"there is no Catalog {key.name} in this namespace")
        return found

    def _ledger_of(self, catalog: Catalog) -> tuple[str, LedgerContent]:
        catalog_id = catalog.spec.catalog_id or (catalog.status.catalog_id if catalog.status_is_ours else None)
        ledger = self._book.known(catalog_id) if catalog_id is not None else None
        owns = ledger is not None and ledger.owner is not None and ledger.owner.uid == catalog.uid
        if catalog_id is None or ledger is None:
            raise Fault("Progressing", Disposition.RETRY, f"Catalog {catalog.name} was not looked at yet")
        if not owns:
            raise Fault("DependencyNotReady", Disposition.RETRY, f"Catalog {catalog.name} is not ready")
        return catalog_id, ledger

    def _record(self, shard: CatalogShard) -> PartitionRecord | None:
        try:
            _, ledger = self._ledger_of(self._parent(shard))
        except Fault:
            return None
        return next((record for record in ledger.partitions if record.shard == shard.name), None)

    async def _keep_feed(self, shard: CatalogShard) -> None:
        catalog = self._parent(shard)
        catalog_id, ledger = self._ledger_of(catalog)
        record = next((record for record in ledger.partitions if record.shard == shard.name), None)
        if record is None:
            message = "the Catalog's layout has no such shard; delete this object"
            raise Fault("InvalidSpec", Disposition.STALLED, message)
        if record.feed_id is not None or catalog.metadata.deleting or _needs_none(record):
            return
        if catalog.spec.management_policy is ManagementPolicy.OBSERVE or catalog.spec.suspend:
            return
        ref = catalog.spec.connection_ref.name
        connection = self._connections.usable(catalog.namespace, ref, catalog_id)
        await self._book.provision(catalog_id, connection.quotas)
        try:
            feed = await self._find_or_create(shard, catalog, catalog_id, ledger, record, connection)
        except Fault as fault:
            self._connections.report(connection, fault)
            raise
        await self._remember(catalog_id, record.index, feed)

    async def _find_or_create(
        self,
        shard: CatalogShard,
        catalog: Catalog,
        catalog_id: str,
        ledger: LedgerContent,
        record: PartitionRecord,
        connection: Connection,
    ) -> FeedAtMeta:
        if shard.spec.feed_id is not None:
            return await connection.graph.read_feed(catalog_id, shard.spec.feed_id)
        layout = ledger.layout
        assert layout is not None
        name = feed_marker(self._installation, layout.id, layout.hash, record.index)
        found = await self._search(catalog, catalog_id, name, connection)
        if found is not None:
            return found
        self._wait_for_uncertain(record)
        now = self._context.clock.now()
        await self._note_request(catalog_id, record.index, now)
        await self._note_pending(shard, PendingCreate(nonce=name[-64:], started_at=now))
        try:
            created = await connection.graph.create_feed(catalog_id, name, currency=catalog.spec.items[0].currency)
        except Fault as fault:
            if fault.disposition is not Disposition.UNCERTAIN:
                await self._note_request(catalog_id, record.index, None)
            raise
        LOG.info("created a feed", extra={"feed": created, "object": str(shard.key)})
        listed = await self._search(catalog, catalog_id, name, connection)
        made = FeedAtMeta(id=created, name=name, deletion_enabled=False, product_count=0)
        return listed if listed is not None else made

    def _wait_for_uncertain(self, record: PartitionRecord) -> None:
        """A creation whose answer is not known may still show up in listings."""
        if record.feed_requested_at is None:
            return
        timing = self._context.settings.timing
        visible_at = record.feed_requested_at + ANSWER_WAIT + timing.listing_lag
        if self._context.clock.now() < visible_at:
            message = "whether the feed was created is not known yet; Meta's list is read again"
            raise Fault("CreateResultUnknown", Disposition.RETRY, message, retry_at=visible_at)

    async def _note_request(self, catalog_id: str, index: int, at: datetime | None) -> None:
        """Write down in the ledger what is asked for: the shard may be deleted before the answer comes."""

        def change(record: PartitionRecord) -> PartitionRecord:
            return record.model_copy(update={"feed_requested_at": at})

        await self._book.change(catalog_id, lambda ledger: transitions.map_partitions(ledger, (index,), change))

    async def _search(self, catalog: Catalog, catalog_id: str, name: str, connection: Connection) -> FeedAtMeta | None:
        """The feed with our marker; of several the lowest id wins. Stops at feeds of another installation."""
        feeds = await connection.graph.list_feeds(catalog_id)
        for feed in feeds:
            marked = MARKER.search(feed.name)
            if marked is not None and marked["installation"] != self._installation:
                message = f"feed {feed.id} belongs to the installation {marked['installation']} of this operator"
                raise Fault("ForeignOperator", Disposition.STALLED, message)
        strangers = [feed.id for feed in feeds if MARKER.search(feed.name) is None]
        if strangers:
            named = ", ".join(strangers[:FEEDS_NAMED_MAX]) + (", …" if len(strangers) > FEEDS_NAMED_MAX else "")
            message = f"the catalog has feeds that are not ours ({named}); items that they own may stay with them"
            warn(self._context, catalog, "OtherFeeds", message)
        mine = [feed for feed in feeds if feed.name == name]
        return min(mine, key=lambda feed: (len(feed.id), feed.id), default=None)

    async def _note_pending(self, shard: CatalogShard, pending: PendingCreate) -> None:
        update = {"pending_create": pending, "owner_uid": shard.uid}
        status = shard.status.model_copy(update=update)
        written = await self._context.cluster.apply_status(CatalogShard, shard.key, shard.uid, status)
        if written is None:
            raise Fault("Deleting", Disposition.RETRY, "the shard is gone")
        self._context.objects.accept(written)

    async def _remember(self, catalog_id: str, index: int, feed: FeedAtMeta) -> None:
        def change(record: PartitionRecord) -> PartitionRecord:
            known = {"feed_id": feed.id, "deletion_enabled": bool(feed.deletion_enabled), "feed_requested_at": None}
            return record.model_copy(update=known)

        def transition(ledger: LedgerContent) -> LedgerContent:
            changed = transitions.map_partitions(ledger, (index,), change)
            unseen = feed.product_count != 0 and transitions.partition(ledger, index).snapshot is None
            # It holds items that no record of ours knows: they are listed before anything could delete them.
            return transitions.distrust(changed) if unseen else changed

        await self._book.change(catalog_id, transition)
        self._wake_catalog(catalog_id)

    async def _report(self, shard: CatalogShard, fault: Fault | None) -> None:
        shard = self._context.objects.get(CatalogShard, shard.key) or shard
        if fault is not None and fault.reason == "Progressing" and shard.status_is_ours and shard.status.conditions:
            return
        record = self._record(shard)
        status: CatalogShardStatus = shard.status
        if record is not None:
            status = self._status(shard, record)
        now = self._context.clock.now()
        verdict: Verdict
        if fault is not None:
            verdict = false(ConditionType.READY, fault.reason, fault.message + retry_text(now, fault.retry_at))
        elif record is not None and _needs_none(record):
            verdict = true(ConditionType.READY, "NoItems", "it has no items, so it needs no feed")
        elif record is None or record.feed_id is None:
            verdict = unknown(ConditionType.READY, "Progressing", "the feed does not exist yet")
        else:
            verdict = true(ConditionType.READY, "Available", f"feed {record.feed_id}")
        await report(self._context, shard, status, (verdict, *progress(fault)))

    def _status(self, shard: CatalogShard, record: PartitionRecord) -> CatalogShardStatus:
        claim = record.claim
        name = claim.name.split("/", 1)[1] if claim is not None else ""
        counts = record.pending
        return shard.status.model_copy(
            update={
                "feed_id": record.feed_id,
                "pending_create": None if record.feed_id is not None else shard.status.pending_create,
                "items": ShardItems(desired=record.desired_rows, acknowledged=counts.acknowledged),
                "claim": ShardClaim(operation=name, since=claim.since) if claim is not None else None,
                "last": self._last(shard),
            }
        )

    def _last(self, shard: CatalogShard) -> LastOperations | None:
        """Terminal facts of finished operations live on here when the operations are gone."""
        before = shard.status.last or LastOperations()
        update: dict[str, object] = {}
        for method, field in ((Method.REPLACE_FEED, "replace"), (Method.ITEMS_BATCH, "batch")):
            newest = self._newest(shard, method)
            known = before.replace if field == "replace" else before.batch
            if newest is None or newest.status.completed_at is None:
                continue
            if known is not None and known.completed_at >= newest.status.completed_at:
                continue
            update[field] = LastOperation(
                operation=newest.name,
                completed_at=newest.status.completed_at,
                started_at=newest.status.started_at,
                result=newest.status.phase,
                items=newest.status.outcome.accepted if newest.status.outcome is not None else 0,
            )
        if not update:
            return shard.status.last
        return before.model_copy(update=update)

    def _newest(self, shard: CatalogShard, method: Method) -> SyncOperation | None:
        candidates = [
            operation
            for operation in self._context.objects.all(SyncOperation, shard.namespace)
            if operation.spec.method == method and shard.name in operation.spec.shards and ended(operation)
        ]
        now = self._context.clock.now()
        return max(candidates, key=lambda op: op.status.completed_at or now, default=None)


def _needs_none(record: PartitionRecord) -> bool:
    """Tell whether its feed went with its last item: Meta takes no empty file. A new one is made when rows come."""
    emptied = record.snapshot is not None and not record.pending.items_at_meta
    return record.feed_id is None and emptied and not record.desired_rows
