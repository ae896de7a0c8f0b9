"""After the record of what Meta has was lost or rolled back: rebuild it from Meta, delete nothing meanwhile.

A missing, foreign or unreadable store is never "empty". The heads are made anew from Meta's own listing of each feed,
with every row unknown; ids that the source no longer has start their grace anew.
"""

import logging
from datetime import datetime, timedelta

from controller.api.resource import ObjectKey
from controller.api.v1alpha1.catalog import Catalog
from controller.api.v1alpha1.catalog_ledger import LedgerContent, PartitionRecord, StoreRecord
from controller.faults import Disposition, Fault
from controller.ports import preparing as documents
from controller.reconcile import documents as convert
from controller.reconcile.connections import Connection, Connections
from controller.reconcile.context import Context
from controller.reconcile.ledgers import LedgerBook, catalog_prefix
from controller.reconcile.read_back import item_line
from controller.scheduling import ledger as transitions
from controller.scheduling.runner import Runner

LOG = logging.getLogger(__name__)

TRY_AGAIN = timedelta(minutes=1)
CHECK_AGAIN = timedelta(minutes=30)


class Recovery:
    def __init__(
        self, context: Context, book: LedgerBook, connections: Connections, runner: Runner[tuple[str, str]]
    ) -> None:
        self._context = context
        self._book = book
        self._connections = connections
        self._runner = runner
        self._checked: dict[tuple[str, int], datetime] = {}
        """When the heads of a catalog were last found in the store, by catalog id and epoch."""
        self._tried_at: dict[str, datetime] = {}
        self._waiting_since: dict[str, datetime] = {}
        """Since when this process waits until effects that no record shows are over."""

    async def tend(self, catalog_id: str, ledger: LedgerContent) -> datetime | None:
        """Look from time to time whether the store has what the ledger names; make the heads anew where it has not."""
        ledger = await self._end_restrictions(catalog_id, ledger)
        now = self._context.clock.now()
        distrusted = ledger.rolled_back and ledger.relisted_at is None
        if not distrusted:
            self._waiting_since.pop(catalog_id, None)
            checked_at = self._checked.get((catalog_id, ledger.epoch))
            if checked_at is not None and now < checked_at + CHECK_AGAIN:
                return checked_at + CHECK_AGAIN
            if await self._intact(ledger):
                self._checked[catalog_id, ledger.epoch] = now
                return now + CHECK_AGAIN
        listed_by = self._may_list_at(catalog_id, ledger, distrusted=distrusted)
        if listed_by is None or listed_by > now or transitions.operations_in_flight(ledger):
            return max(listed_by or now, now + TRY_AGAIN)
        slot = ("rebuild", catalog_id)
        tried_at = self._tried_at.get(catalog_id)
        if tried_at is not None and now < tried_at + TRY_AGAIN:
            return tried_at + TRY_AGAIN
        if not self._runner.running(slot):
            self._tried_at[catalog_id] = now
            work = self._rebuild(catalog_id, lost=not distrusted or not await self._intact(ledger))
            self._runner.start(slot, work, name=f"rebuild {catalog_id}")
        return now + TRY_AGAIN

    def _may_list_at(self, catalog_id: str, ledger: LedgerContent, *, distrusted: bool) -> datetime | None:
        """When a listing shows everything that was sent before; None while it is not known what is to be listed."""
        timing = self._context.settings.timing
        if not ledger.partitions or any(_feed_expected(record) for record in ledger.partitions):
            return None
        effects = [record.last_effect_at for record in ledger.partitions if record.last_effect_at is not None]
        moments = [effect + timing.effect_horizon for effect in effects]
        if distrusted:
            # Somebody may have sent what no record shows: a batch has its effects within this time.
            since = self._waiting_since.setdefault(catalog_id, self._context.clock.now())
            moments.append(since + timing.batch_abandon + timing.effect_horizon)
        return max(moments, default=self._context.clock.now())

    async def _intact(self, ledger: LedgerContent) -> bool:
        named = [key for record in ledger.partitions for key in (record.snapshot, record.payload) if key is not None]
        named += [each.snapshot for record in ledger.partitions for each in record.locales]
        if not named:
            return True
        identity = await self._context.store.identity()
        if ledger.store is not None and ledger.store.identity != (identity or ""):
            return False
        for key in named:
            if key not in await self._context.store.keys(key):
                return False
        return True

    async def _rebuild(self, catalog_id: str, *, lost: bool) -> None:
        LOG.warning("what Meta has is listed anew", extra={"catalog": catalog_id, "lost": lost})
        ledger = self._book.known(catalog_id)
        if ledger is None or ledger.owner is None:
            return
        try:
            identity = await self._context.store.identity()
            if identity is None:
                LOG.warning("the store is not there; the rebuild waits", extra={"catalog": catalog_id})
                return
            connection = self._connections.usable(ledger.owner.namespace, ledger.connection or "", catalog_id)
            records = ledger.partitions
            if await self._uploads_run(catalog_id, records, connection):
                LOG.info("the rebuild waits for uploads that run", extra={"catalog": catalog_id})
                return
            prefix = f"{catalog_prefix(catalog_id)}/{ledger.epoch:08d}/rebuild-{self._context.rng.getrandbits(40):010x}"
            listings = [await self._list(catalog_id, record, connection, prefix) for record in records]
            result = await self._context.preparing.run(
                documents.RebuildRequest(
                    store=self._context.store.url,
                    prefix=prefix,
                    catalog_id=catalog_id,
                    now=self._context.clock.now(),
                    partitions=tuple(convert.partition(record) for record in records),
                    listings=tuple(listings),
                )
            )
        except Fault as fault:
            LOG.warning("the rebuild waits", extra={"catalog": catalog_id, "reason": fault.reason})
            return
        if not isinstance(result, documents.RebuildResult):
            LOG.error("the rebuild failed", extra={"catalog": catalog_id})
            return
        now = self._context.clock.now()
        found = {head.index: convert.heads(head) for head in result.partitions}
        marks = {index: transitions.mark_of(head.snapshot, head.locales) for index, head in found.items()}
        await self._book.mark_heads(catalog_id, "", marks)
        await self._book.change(catalog_id, lambda content: _rebuilt(content, result, identity, now, lost=lost))
        self._checked[catalog_id, ledger.epoch] = now

    async def _uploads_run(self, catalog_id: str, records: tuple[PartitionRecord, ...], connection: Connection) -> bool:
        """Tell whether Meta still works on an upload to one of the feeds, whoever sent it."""
        horizon = self._context.clock.now() - self._context.settings.timing.upload_abandon
        for record in records:
            if record.feed_id is None:
                continue
            await self._book.provision(catalog_id, connection.quotas)
            listed = await connection.graph.list_uploads(catalog_id, record.feed_id)
            for upload in listed.uploads:
                if upload.end_time is None and (upload.start_time is None or upload.start_time > horizon):
                    return True
        return False

    async def _list(
        self, catalog_id: str, record: PartitionRecord, connection: Connection, prefix: str
    ) -> documents.ListedPartition:
        """Read all items of one feed into the store; a partition without a feed has none."""
        lines: list[bytes] = []
        after: str | None = None
        while record.feed_id is not None:
            await self._book.provision(catalog_id, connection.quotas)
            page = await connection.graph.list_items(catalog_id, record.feed_id, after)
            lines += [item_line(item) for item in page.items]
            after = page.after
            if after is None:
                break
        key = f"{prefix}/listing-{record.index}.jsonl"
        await self._context.store.write(key, b"".join(lines))
        return documents.ListedPartition(index=record.index, listing=key)

    async def _end_restrictions(self, catalog_id: str, ledger: LedgerContent) -> LedgerContent:
        """A rollback is over once every partition had a full send; a loss once grace has passed since then."""
        now = self._context.clock.now()
        clean = _sent_since(ledger)
        over = ledger.snapshot_lost_at is not None and now >= ledger.snapshot_lost_at + self._grace(ledger)
        if not ((ledger.rolled_back and clean) or over):
            return ledger

        def transition(content: LedgerContent) -> LedgerContent:
            update: dict[str, object] = {}
            if content.rolled_back and clean:
                update["rolled_back"] = False
            if over:
                update["snapshot_lost_at"] = None
            return content.model_copy(update=update)

        return await self._book.change(catalog_id, transition)

    def _grace(self, ledger: LedgerContent) -> timedelta:
        owner = ledger.owner
        if owner is None:
            return timedelta()
        catalog = self._context.objects.get(Catalog, ObjectKey(Catalog.KIND, owner.namespace, owner.name))
        if catalog is None:
            raise Fault("CatalogNotFound", Disposition.RETRY, "the Catalog is gone")
        return catalog.spec.guards.grace_period


def _feed_expected(record: PartitionRecord) -> bool:
    """Tell whether a feed is still to come; one that went with its last item is not."""
    return record.feed_id is None and (record.snapshot is None or bool(record.desired_rows))


def _sent_since(ledger: LedgerContent) -> bool:
    """Tell whether every partition that has rows had a full send since Meta was listed."""
    since = ledger.relisted_at
    if since is None or not ledger.items or ledger.items[0].refresh is None:
        return False
    loaded = [record for record in ledger.partitions if record.desired_rows or record.pending.items_at_meta]
    return all(record.last_full_at is not None and record.last_full_at >= since for record in loaded)


def _rebuilt(
    ledger: LedgerContent, result: documents.RebuildResult, identity: str, now: datetime, *, lost: bool
) -> LedgerContent:
    heads = {head.index: convert.heads(head) for head in result.partitions}

    def change(record: PartitionRecord) -> PartitionRecord:
        head = heads[record.index]
        named = {"snapshot": head.snapshot, "payload": None, "locales": head.locales}
        return record.model_copy(update={**named, "head_operation": None})

    changed = transitions.map_partitions(ledger, heads, change)
    items = tuple(
        entry.model_copy(update={"refresh": None, "held": None, "watching": 0, "next_look_at": now})
        for entry in changed.items
    )
    update: dict[str, object] = {"items": items, "relisted_at": now, "store": StoreRecord(identity=identity)}
    if lost:
        update["snapshot_lost_at"] = now
    return changed.model_copy(update=update)
