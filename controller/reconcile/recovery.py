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

PAGES_PER_OBJECT = 200
TRY_AGAIN = timedelta(minutes=1)


class Recovery:
    def __init__(
        self, context: Context, book: LedgerBook, connections: Connections, runner: Runner[tuple[str, str]]
    ) -> None:
        self._context = context
        self._book = book
        self._connections = connections
        self._runner = runner
        self._checked: dict[str, int] = {}
        """Epoch in which the heads of a catalog were last found in the store."""

    async def tend(self, catalog_id: str, ledger: LedgerContent) -> datetime | None:
        """Look once per epoch whether the store has what the ledger names; start to rebuild where it has not."""
        await self._end_restrictions(catalog_id, ledger)
        if self._checked.get(catalog_id) == ledger.epoch:
            return None
        if transitions.operations_in_flight(ledger):
            return self._context.clock.now() + TRY_AGAIN
        if await self._intact(ledger):
            self._checked[catalog_id] = ledger.epoch
            return None
        slot = ("rebuild", catalog_id)
        if not self._runner.running(slot):
            self._runner.start(slot, self._rebuild(catalog_id), name=f"rebuild {catalog_id}")
        return self._context.clock.now() + TRY_AGAIN

    async def _intact(self, ledger: LedgerContent) -> bool:
        named = [key for record in ledger.partitions for key in (record.snapshot, record.payload) if key is not None]
        if not named:
            return True
        identity = await self._context.store.identity()
        if ledger.store is not None and ledger.store.identity != (identity or ""):
            return False
        for key in named:
            if key not in await self._context.store.keys(key):
                return False
        return True

    async def _rebuild(self, catalog_id: str) -> None:
        LOG.warning("the store does not have what the ledger names; rebuilding", extra={"catalog": catalog_id})
        ledger = self._book.known(catalog_id)
        if ledger is None or ledger.owner is None:
            return
        try:
            connection = self._connections.usable(ledger.owner.namespace, ledger.connection or "", catalog_id)
            records = tuple(record for record in ledger.partitions if record.feed_id is not None)
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
        identity = await self._context.store.identity() or ""
        now = self._context.clock.now()
        await self._book.change(catalog_id, lambda content: _rebuilt(content, result, identity, now))
        self._checked[catalog_id] = ledger.epoch

    async def _list(
        self, catalog_id: str, record: PartitionRecord, connection: Connection, prefix: str
    ) -> documents.ListedPartition:
        """Read all items of one feed into the store."""
        assert record.feed_id is not None
        lines: list[bytes] = []
        after: str | None = None
        while True:
            await self._book.provision(catalog_id, connection.quotas)
            page = await connection.graph.list_items(catalog_id, record.feed_id, after)
            lines += [item_line(item) for item in page.items]
            after = page.after
            if after is None:
                break
        key = f"{prefix}/listing-{record.index}.jsonl"
        await self._context.store.write(key, b"".join(lines))
        return documents.ListedPartition(index=record.index, listing=key)

    async def _end_restrictions(self, catalog_id: str, ledger: LedgerContent) -> None:
        """A rollback is over once every partition had a full send; a loss once grace has passed since then."""
        now = self._context.clock.now()
        loaded = [record for record in ledger.partitions if record.pending.items_at_meta]
        clean = all(not record.pending.unknown for record in loaded)
        grace = self._grace(ledger)
        over = ledger.snapshot_lost_at is not None and now >= ledger.snapshot_lost_at + grace
        if not ((ledger.rolled_back and clean) or over):
            return

        def transition(content: LedgerContent) -> LedgerContent:
            update: dict[str, object] = {}
            if content.rolled_back and clean:
                update["rolled_back"] = False
            if over:
                update["snapshot_lost_at"] = None
            return content.model_copy(update=update)

        await self._book.change(catalog_id, transition)

    def _grace(self, ledger: LedgerContent) -> timedelta:
        owner = ledger.owner
        if owner is None:
            return timedelta()
        catalog = self._context.objects.get(Catalog, ObjectKey(Catalog.KIND, owner.namespace, owner.name))
        if catalog is None:
            raise Fault("CatalogNotFound", Disposition.RETRY, "the Catalog is gone")
        return catalog.spec.guards.grace_period


def _rebuilt(ledger: LedgerContent, result: documents.RebuildResult, identity: str, now: datetime) -> LedgerContent:
    heads = {head.index: head for head in result.partitions}

    def change(record: PartitionRecord) -> PartitionRecord:
        head = heads[record.index]
        return record.model_copy(update={"snapshot": head.snapshot, "payload": None, "head_operation": None})

    changed = transitions.map_partitions(ledger, heads, change)
    items = tuple(
        entry.model_copy(update={"refresh": None, "held": None, "watching": 0, "next_look_at": now})
        for entry in changed.items
    )
    return changed.model_copy(update={"items": items, "snapshot_lost_at": now, "store": StoreRecord(identity=identity)})
