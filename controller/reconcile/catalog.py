"""Catalog: identity, ownership, settings, children, refreshes; and its end."""

import logging
from collections.abc import Callable
from datetime import datetime

from controller.api import names
from controller.api.resource import ObjectKey
from controller.api.v1alpha1.catalog import Catalog, Derived
from controller.api.v1alpha1.catalog_ledger import LedgerContent
from controller.api.v1alpha1.catalog_shard import CatalogShard
from controller.api.v1alpha1.feed_schedule import FeedSchedule
from controller.api.v1alpha1.policies import ManagementPolicy
from controller.api.v1alpha1.sync_operation import ItemMessage, SyncOperation
from controller.faults import Disposition, Fault
from controller.planning import children
from controller.planning.catalog_status import View, breaks_at, summarize
from controller.planning.retention import expired
from controller.reconcile import overlays
from controller.reconcile.catalog_deletion import CatalogDeletion
from controller.reconcile.catalog_identity import Identity
from controller.reconcile.catalog_settings import CatalogSettingsKeeper
from controller.reconcile.connections import Connection, Connections
from controller.reconcile.context import Context
from controller.reconcile.diagnostics import Diagnostics
from controller.reconcile.ledgers import LedgerBook
from controller.reconcile.lifecycle import hold
from controller.reconcile.outcome import Outcome
from controller.reconcile.ownership import Ownership
from controller.reconcile.refreshing import Refreshing
from controller.reconcile.reporting import report
from controller.scheduling import ledger as transitions
from controller.scheduling.runner import Runner

LOG = logging.getLogger(__name__)

Slot = tuple[str, str]
"""What runs: ("refresh", catalog id) or ("operation", uid)."""


class Catalogs:
    def __init__(
        self,
        context: Context,
        book: LedgerBook,
        connections: Connections,
        runner: Runner[Slot],
        installation: str,
        wake: Callable[[ObjectKey], None],
        wake_catalog: Callable[[str], None],
    ) -> None:
        self._context = context
        self._book = book
        self._connections = connections
        self._runner = runner
        self.wake = wake
        self._wake_catalog = wake_catalog
        self.identity = Identity(context, installation)
        self.ownership = Ownership(context, book, installation)
        self.settings = CatalogSettingsKeeper(context)
        self.refreshing = Refreshing(context, book)
        self.diagnostics = Diagnostics(context)
        self._deletion = CatalogDeletion(context, book, connections, self.identity)

    async def reconcile(self, key: ObjectKey) -> Outcome:
        catalog = self._context.objects.get(Catalog, key)
        if catalog is None:
            return Outcome()
        if catalog.metadata.deleting:
            self.diagnostics.forget(catalog)
            return await self._deletion.run(catalog)
        work = _Work(self, self._context, catalog)
        try:
            again_at = await work.run()
        finally:
            await self._book.persist_news()
        return Outcome(again_at)

    # What _Work needs of its surroundings

    def connection_of(self, catalog: Catalog, catalog_id: str | None) -> Connection:
        return self._connections.usable(catalog.namespace, catalog.spec.connection_ref.name, catalog_id)

    def report_fault(self, catalog: Catalog, fault: Fault) -> None:
        found = self._connections.find(catalog.namespace, catalog.spec.connection_ref.name)
        if found is not None:
            self._connections.report(found, fault)

    async def open_ledger(self, catalog: Catalog, catalog_id: str, connection: Connection) -> LedgerContent:
        created = catalog_id in self.identity.created
        first = self._book.known(catalog_id) is None
        ledger = await self.ownership.require(catalog, catalog_id, connection, created=created)
        await self._book.provision(catalog_id, connection.quotas)
        if first:
            self._wake_catalog(catalog_id)
        return ledger

    def ledger(self, catalog_id: str) -> LedgerContent | None:
        return self._book.known(catalog_id)

    async def clear_unexpected(self, catalog_id: str) -> None:
        """A person looked at an unexpected result and asked for a sync: replaces may go on."""

        def transition(ledger: LedgerContent) -> LedgerContent:
            stopped = [record.index for record in ledger.partitions if record.unexpected is not None]
            if not stopped:
                return ledger
            return transitions.map_partitions(
                ledger, stopped, lambda record: record.model_copy(update={"unexpected": None})
            )

        await self._book.change(catalog_id, transition)

    def start_refresh(self, catalog: Catalog, catalog_id: str, requested: str | None) -> None:
        slot: Slot = ("refresh", catalog_id)
        if self._runner.running(slot):
            return
        work = self._refresh_and_wake(catalog, catalog_id, requested)
        self._runner.start(slot, work, name=f"refresh {catalog.key}")

    async def _refresh_and_wake(self, catalog: Catalog, catalog_id: str, requested: str | None) -> None:
        try:
            await self.refreshing.run(catalog, catalog_id, requested)
        finally:
            self.wake(catalog.key)

    def wake_children(self, catalog_id: str) -> None:
        """The schedules send what was asked for once status says that the source was looked at."""
        self._wake_catalog(catalog_id)


class _Work:
    """One look at one Catalog."""

    def __init__(self, catalogs: Catalogs, context: Context, catalog: Catalog) -> None:
        self._catalogs = catalogs
        self._context = context
        self._catalog = catalog
        self._catalog_id: str | None = catalog.status.catalog_id if catalog.status_is_ours else None
        self._derived: Derived | None = None
        self._requested = catalog.metadata.annotations.get(names.ANNOTATION_SYNC_REQUESTED_AT)
        self._compared = False

    async def run(self) -> datetime | None:
        fault: Fault | None = None
        again_at: datetime | None = None
        try:
            again_at = await self._run()
        except Fault as found:
            fault = found
            self._catalogs.report_fault(self._catalog, found)
        breaks_at = await self._report(fault)
        if fault is not None:
            if fault.disposition is Disposition.STALLED and fault.reason != "DependencyNotReady":
                return self._now() + self._context.settings.timing.retry_max
            raise fault
        return Outcome.earliest(again_at, breaks_at).again_at

    def _now(self) -> datetime:
        return self._context.clock.now()

    async def _run(self) -> datetime | None:
        catalog = self._catalog
        connection = self._catalogs.connection_of(catalog, catalog.spec.catalog_id or self._catalog_id)
        self._catalog = catalog = await hold(self._context, catalog)
        catalog_id = self._catalog_id = await self._catalogs.identity.establish(catalog, connection)
        self._catalog = self._context.objects.get(Catalog, catalog.key) or catalog
        await self._catalogs.open_ledger(self._catalog, catalog_id, connection)
        await self._remember_identity(catalog_id)
        forced = self._request_open()
        if forced:
            await self._catalogs.clear_unexpected(catalog_id)
        await self._catalogs.settings.keep(self._catalog, catalog_id, connection, forced=forced)
        self._compared = True
        timing = self._context.settings.timing
        check_at = self._now() + timing.drift_check
        if catalog.spec.management_policy is ManagementPolicy.OBSERVE:
            return check_at
        await self._keep_children(catalog_id)
        await self._collect_finished()
        await self._catalogs.diagnostics.keep(self._catalog, self._require_ledger(catalog_id))
        if catalog.spec.suspend or connection.suspended:
            return check_at
        return min(check_at, self._tend_source(catalog_id))

    async def _remember_identity(self, catalog_id: str) -> None:
        """Write the id down before the catalog loses the nonce name under which it could be found again."""
        catalog = self._catalog
        if catalog.status.catalog_id == catalog_id and catalog.status_is_ours:
            return
        update = {"catalog_id": catalog_id, "pending_create": None, "owner_uid": catalog.uid}
        status = catalog.status.model_copy(update=update)
        written = await self._context.cluster.apply_status(Catalog, catalog.key, catalog.uid, status)
        if written is None:
            raise Fault("Deleting", Disposition.RETRY, "the Catalog is gone")
        self._context.objects.accept(written)
        self._catalog = written

    def _request_open(self) -> bool:
        return self._requested is not None and self._requested != self._catalog.status.last_handled_sync_at

    def _tend_source(self, catalog_id: str) -> datetime:
        """Start a look when one is due; say when the next one is."""
        ledger = self._require_ledger(catalog_id)
        requested = self._requested if self._request_open() else None
        due_at = self._catalogs.refreshing.due_at(self._catalog, catalog_id, ledger, requested)
        if due_at > self._now():
            return due_at
        self._catalogs.start_refresh(self._catalog, catalog_id, requested)
        return self._now() + self._context.settings.timing.secret_poll

    def _require_ledger(self, catalog_id: str) -> LedgerContent:
        ledger = self._catalogs.ledger(catalog_id)
        assert ledger is not None
        return ledger

    async def _keep_children(self, catalog_id: str) -> None:
        ledger = self._require_ledger(catalog_id)
        if ledger.layout is None:
            return
        objects = self._context.objects
        for shard in children.shards(self._catalog, ledger):
            existing = objects.get(CatalogShard, shard.key)
            self._require_ours(existing)
            if existing is None:
                await self._create(shard)
        schedules = objects.all(FeedSchedule, self._catalog.namespace)
        refresh = ledger.items[0].refresh
        planned = children.schedules(self._catalog, schedules, refresh.valid if refresh is not None else 0)
        self._derived = Derived(reason=planned.reason, schedules=planned.derived)
        await self._keep_schedules(planned, schedules)

    async def _keep_schedules(self, planned: children.Schedules, existing: tuple[FeedSchedule, ...]) -> None:
        mine = {
            schedule.name: schedule
            for schedule in existing
            if schedule.metadata.controller is not None and schedule.metadata.controller.uid == self._catalog.uid
        }
        wanted = {schedule.name: schedule for schedule in planned.wanted}
        for name, schedule in sorted(wanted.items()):
            found = self._context.objects.get(FeedSchedule, schedule.key)
            self._require_ours(found)
            if found is None:
                await self._create(schedule)
            elif found.spec.model_dump() != schedule.spec.model_dump() and not found.metadata.deleting:
                LOG.info("a derived schedule changes", extra={"object": str(found.key)})
                await self._context.cluster.delete(FeedSchedule, found.key, found.uid)
            mine.pop(name, None)
        for schedule in mine.values():
            await self._context.cluster.delete(FeedSchedule, schedule.key, schedule.uid)

    def _require_ours(self, existing: CatalogShard | FeedSchedule | None) -> None:
        if existing is None:
            return
        owner = existing.metadata.controller
        if owner is not None and owner.uid == self._catalog.uid:
            return
        message = f"{existing.key} exists and is not of this Catalog; rename or delete it"
        raise Fault("ChildNameConflict", Disposition.STALLED, message)

    async def _create(self, child: CatalogShard | FeedSchedule) -> None:
        try:
            created = await self._context.cluster.create(child)
        except Fault as fault:
            if fault.reason != "AlreadyExists":
                raise
            return
        self._context.objects.accept(created)
        self._catalogs.wake(created.key)

    async def _collect_finished(self) -> None:
        """Operations that ended long ago go; hand-made ones stay."""
        for operation in expired(self._operations(), self._catalog.spec.operations, self._catalog.uid, self._now()):
            await self._context.cluster.delete(SyncOperation, operation.key, operation.uid)

    def _operations(self) -> tuple[SyncOperation, ...]:
        return tuple(
            operation
            for operation in self._context.objects.all(SyncOperation, self._catalog.namespace)
            if operation.spec.catalog_ref.name == self._catalog.name
        )

    def _refusals(self, *, localized: bool = False) -> tuple[ItemMessage, ...]:
        """Meta's newest words about refused items, or about their values for one language or country."""
        told = [
            operation
            for operation in self._operations()
            if operation.status.outcome is not None and operation.status.outcome.errors
            if (operation.spec.overlay is not None) is localized
        ]
        newest = max(told, key=lambda operation: operation.status.completed_at or self._now(), default=None)
        return newest.status.outcome.errors if newest is not None and newest.status.outcome is not None else ()

    def _warnings(self) -> tuple[ItemMessage, ...]:
        """Why values for a language or country are not at Meta as they were sent, where none was refused."""
        told = [
            operation
            for operation in self._operations()
            if operation.spec.overlay is not None and operation.status.outcome is not None
            if operation.status.outcome.warnings
        ]
        newest = max(told, key=lambda operation: operation.status.completed_at or self._now(), default=None)
        return newest.status.outcome.warnings if newest is not None and newest.status.outcome is not None else ()

    async def _report(self, fault: Fault | None) -> datetime | None:
        """Write the status; return when a promise would break."""
        catalog = self._context.objects.get(Catalog, self._catalog.key) or self._catalog
        catalog_id = self._catalog_id
        ledger = self._catalogs.ledger(catalog_id) if catalog_id is not None else None
        if ledger is not None and (ledger.owner is None or ledger.owner.uid != catalog.uid):
            ledger = None
        sight = self._catalogs.refreshing.sight(catalog_id) if catalog_id is not None else None
        seen = self._catalogs.settings.seen(catalog_id) if catalog_id is not None else None
        handled = sight.handled_request if sight is not None else None
        view = View(
            catalog=catalog,
            catalog_id=catalog_id,
            ledger=ledger,
            fault=fault,
            source_fault=sight.refused if sight is not None else None,
            source_retry_at=sight.retry_at if sight is not None else None,
            looked_at=sight.looked_at if sight is not None else None,
            onsite=seen.at_meta.onsite if seen is not None and seen.at_meta is not None else None,
            drift=seen.drift if seen is not None and seen.at_meta is not None else None,
            not_comparable=seen.not_comparable if seen is not None else (),
            checks=sight.checks if sight is not None else None,
            derived=self._derived,
            refusals=self._refusals(),
            localized_refusals=self._refusals(localized=True) or self._warnings(),
            handled_request=handled,
            suspended=catalog.spec.suspend,
            now=self._now(),
            overlays=overlays.views(
                catalog.spec.items[0],
                sight.overlays if sight is not None else {},
                ledger.items[0] if ledger is not None and ledger.items else None,
            ),
        )
        status, verdicts = summarize(view)
        written = await report(self._context, catalog, status, verdicts)
        if catalog_id is not None and written.status.last_handled_sync_at != catalog.status.last_handled_sync_at:
            self._catalogs.wake_children(catalog_id)
        return breaks_at(view)
