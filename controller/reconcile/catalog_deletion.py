"""The end of a Catalog: Orphan leaves Meta untouched, Delete removes what we created; nothing waits for ever.

What is in flight is in the ledger, which outlives this object and is followed further. So an Orphan needs no
credentials and is gone at once. A Delete without usable credentials waits `deletionTimeout`, then lets go with a
warning that names what was left at Meta; in a namespace that is going, it doesn't wait.
"""

import logging
from datetime import datetime, timedelta

from controller.api.conditions import ConditionType
from controller.api.resource import ObjectKey
from controller.api.v1alpha1.catalog import Catalog
from controller.api.v1alpha1.catalog_ledger import LedgerContent
from controller.api.v1alpha1.catalog_shard import CatalogShard
from controller.api.v1alpha1.feed_schedule import FeedSchedule
from controller.api.v1alpha1.meta_connection import MetaConnection
from controller.api.v1alpha1.policies import DeletionPolicy
from controller.api.v1alpha1.sync_operation import SyncOperation
from controller.faults import Fault
from controller.planning.verdicts import false, progress
from controller.ports.kubernetes import Event
from controller.reconcile.catalog_identity import Identity
from controller.reconcile.connections import Connections
from controller.reconcile.context import Context
from controller.reconcile.ledgers import LedgerBook
from controller.reconcile.lifecycle import let_go
from controller.reconcile.outcome import Outcome
from controller.reconcile.reporting import report
from controller.scheduling import ledger as transitions

LOG = logging.getLogger(__name__)

LOOK_AGAIN = timedelta(seconds=10)


class CatalogDeletion:
    def __init__(self, context: Context, book: LedgerBook, connections: Connections, identity: Identity) -> None:
        self._context = context
        self._book = book
        self._connections = connections
        self._identity = identity

    async def run(self, catalog: Catalog) -> Outcome:
        if not catalog.metadata.has_finalizer:
            return Outcome()
        catalog_id = catalog.spec.catalog_id or (catalog.status.catalog_id if catalog.status_is_ours else None)
        ledger = await self._book.open(catalog_id) if catalog_id is not None else None
        owns = ledger is not None and ledger.owner is not None and ledger.owner.uid == catalog.uid
        terminating = await self._context.cluster.namespace_terminating(catalog.namespace)
        if catalog.spec.deletion_policy is DeletionPolicy.ORPHAN or catalog_id is None or not owns:
            return await self._finish(catalog, catalog_id)
        assert ledger is not None
        if not terminating and transitions.operations_in_flight(ledger):
            return await self._wait(catalog, "operations in flight are followed to their end")
        try:
            await self._delete_at_meta(catalog, catalog_id, ledger)
        except Fault as fault:
            return await self._give_up_or_wait(catalog, catalog_id, fault, terminating=terminating)
        return await self._finish(catalog, catalog_id, forget=True)

    async def _delete_at_meta(self, catalog: Catalog, catalog_id: str, ledger: LedgerContent) -> None:
        """Remove what we created: the catalog, or in an adopted one only our feeds."""
        connection = self._connections.usable(catalog.namespace, catalog.spec.connection_ref.name, catalog_id)
        await self._book.provision(catalog_id, connection.quotas)
        if ledger.created:
            try:
                await connection.graph.delete_catalog(catalog_id, allow_live=catalog.spec.delete_while_live)
            except Fault as fault:
                if fault.reason != "NotVisible":
                    raise
            return
        for record in ledger.partitions:
            if record.feed_id is None:
                continue
            try:
                await connection.graph.delete_feed(catalog_id, record.feed_id)
            except Fault as fault:
                if fault.reason != "NotVisible":
                    raise

    async def _give_up_or_wait(self, catalog: Catalog, catalog_id: str, fault: Fault, *, terminating: bool) -> Outcome:
        if fault.reason == "Progressing" and await self._connection_exists(catalog):
            return Outcome(self._context.clock.now() + LOOK_AGAIN)
        asked_at = catalog.metadata.deletion_timestamp or self._context.clock.now()
        patience = timedelta() if terminating else catalog.spec.deletion_timeout
        ends_at = asked_at + patience
        if self._context.clock.now() < ends_at:
            message = f"it can't be deleted at Meta: {fault.message}; left there from {_clock(ends_at)} on"
            return await self._wait(catalog, message, until=ends_at)
        message = f"deleted here but left at Meta: catalog {catalog_id} ({fault.reason}: {fault.message})"
        LOG.warning("left at Meta", extra={"catalog": catalog_id, "object": str(catalog.key)})
        ledger, uid = self._book.key(catalog_id), self._book.uid(catalog_id)
        event = Event(catalog.key, catalog.uid, "Warning", "OrphanedAtMeta", message, ledger=ledger, ledger_uid=uid)
        self._context.cluster.record(event)
        return await self._finish(catalog, catalog_id)

    async def _connection_exists(self, catalog: Catalog) -> bool:
        """Tell whether there is one that this process only has not looked at yet."""
        key = ObjectKey(MetaConnection.KIND, catalog.namespace, catalog.spec.connection_ref.name)
        return await self._context.cluster.get(MetaConnection, key) is not None

    async def _wait(self, catalog: Catalog, message: str, until: datetime | None = None) -> Outcome:
        verdicts = (
            false(ConditionType.READY, "Deleting", message),
            *progress(None, working=True, message=message),
        )
        await report(self._context, catalog, catalog.status, verdicts)
        look_at = self._context.clock.now() + LOOK_AGAIN
        return Outcome(look_at if until is None else min(look_at, until))

    async def _finish(self, catalog: Catalog, catalog_id: str | None, *, forget: bool = False) -> Outcome:
        """Children first, then the finalizer. The ledger stays while something is in flight."""
        await self._delete_children(catalog)
        if forget and catalog_id is not None:
            await self._book.forget(catalog_id)
        await let_go(self._context, catalog)
        return Outcome()

    async def _delete_children(self, catalog: Catalog) -> None:
        for kind in (FeedSchedule, CatalogShard, SyncOperation):
            for child in self._context.objects.all(kind, catalog.namespace):
                owner = child.metadata.controller
                if owner is not None and owner.uid == catalog.uid and not child.metadata.deleting:
                    await self._context.cluster.delete(kind, child.key, child.uid)


def _clock(moment: datetime) -> str:
    return moment.strftime("%H:%M UTC")
