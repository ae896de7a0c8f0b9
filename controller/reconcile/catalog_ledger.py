"""CatalogLedger: what is in flight is followed even when the custom resources are gone.

At start every ledger is opened, which begins this process's epoch; claims without a running task are resumed. Claims
whose Catalog is gone are followed while credentials exist, else given up after a day.
"""

import logging
from datetime import datetime, timedelta

from controller.api.resource import ObjectKey
from controller.api.v1alpha1.catalog import Catalog
from controller.api.v1alpha1.catalog_ledger import Followed, IntentState, LedgerContent
from controller.api.v1alpha1.sync_operation import SyncOperation
from controller.faults import Fault
from controller.ports import preparing as documents
from controller.reconcile.connections import Connections
from controller.reconcile.context import Context
from controller.reconcile.garbage import Garbage
from controller.reconcile.ledgers import LedgerBook, catalog_prefix, ledger_name
from controller.reconcile.outcome import Outcome
from controller.reconcile.read_back import read_back
from controller.reconcile.recovery import Recovery
from controller.reconcile.sync_operation import SyncOperations
from controller.scheduling import ledger as transitions
from controller.scheduling.runner import Runner

LOG = logging.getLogger(__name__)

GIVE_UP_AFTER = timedelta(hours=24)
"""Claims that nobody can follow (no Catalog, no credentials) are given up after this time."""
LOOK_AGAIN = timedelta(minutes=1)


class CatalogLedgers:
    def __init__(
        self,
        context: Context,
        book: LedgerBook,
        connections: Connections,
        operations: SyncOperations,
        recovery: Recovery,
        runner: Runner[tuple[str, str]],
    ) -> None:
        self._context = context
        self._book = book
        self._connections = connections
        self._operations = operations
        self._recovery = recovery
        self._runner = runner
        self._garbage = Garbage(context)

    async def reconcile(self, key: ObjectKey) -> Outcome:
        catalog_id = key.name.removeprefix(ledger_name(""))
        ledger = await self._book.open(catalog_id)
        if ledger is None:
            return Outcome()
        await self._book.persist_news()
        self._resume(catalog_id, ledger)
        catalog = self._owner(ledger)
        if catalog is None:
            return await self._orphaned(catalog_id, ledger)
        recovery = await self._recovery.tend(catalog_id, ledger)
        late = await self._follow(catalog_id, ledger)
        return Outcome.earliest(recovery, late, await self._garbage.tend(catalog_id, ledger))

    def _resume(self, catalog_id: str, ledger: LedgerContent) -> None:
        for uid in transitions.operations_in_flight(ledger):
            name = next(iter(transitions.claimed_by(ledger, uid))).claim
            assert name is not None
            namespace, operation = name.name.split("/", 1)
            self._operations.start(catalog_id, uid, ObjectKey(SyncOperation.KIND, namespace, operation))

    def _owner(self, ledger: LedgerContent) -> Catalog | None:
        owner = ledger.owner
        if owner is None:
            return None
        found = self._context.objects.get(Catalog, ObjectKey(Catalog.KIND, owner.namespace, owner.name))
        return found if found is not None and found.uid == owner.uid else None

    async def _orphaned(self, catalog_id: str, ledger: LedgerContent) -> Outcome:
        """The Catalog is gone. Running tasks follow what they can; what nobody can ask about ends after a day."""
        if not transitions.operations_in_flight(ledger):
            return Outcome()
        now = self._context.clock.now()
        if self._credentials_exist(ledger):
            return Outcome(now + LOOK_AGAIN)
        started = min(record.claim.since for record in ledger.partitions if record.claim is not None)
        if now < started + GIVE_UP_AFTER:
            return Outcome(started + GIVE_UP_AFTER)
        LOG.warning("claims of a deleted Catalog are given up", extra={"catalog": catalog_id})
        await self._book.change(catalog_id, lambda content: _give_up(content, now))
        return Outcome()

    def _credentials_exist(self, ledger: LedgerContent) -> bool:
        if ledger.owner is None or ledger.connection is None:
            return False
        found = self._connections.find(ledger.owner.namespace, ledger.connection)
        return found is not None and found.fault is None

    async def _follow(self, catalog_id: str, ledger: LedgerContent) -> datetime | None:
        """Read the ids of abandoned bodies once more: did they take effect after all?"""
        now = self._context.clock.now()
        due = [followed for followed in ledger.followed if followed.at <= now]
        for followed in due:
            try:
                await self._check_late(catalog_id, ledger, followed)
            except Fault as fault:
                LOG.info("a late check waits", extra={"catalog": catalog_id, "reason": fault.reason})
                return now + LOOK_AGAIN
        return min((followed.at for followed in ledger.followed if followed.at > now), default=None)

    async def _check_late(self, catalog_id: str, ledger: LedgerContent, followed: Followed) -> None:
        assert ledger.owner is not None
        connection = self._connections.usable(ledger.owner.namespace, ledger.connection or "", catalog_id)
        await self._book.provision(catalog_id, connection.quotas)
        prefix = f"{catalog_prefix(catalog_id)}/{ledger.epoch:08d}/late-{self._context.rng.getrandbits(40):010x}"
        key = await read_back(self._context, connection, catalog_id, (followed.sent,), prefix, followed.locale)
        result = await self._context.preparing.run(
            documents.VerifyRequest(
                store=self._context.store.url,
                prefix=prefix,
                catalog_id=catalog_id,
                now=self._context.clock.now(),
                sent=(followed.sent,),
                read_back=key,
            )
        )
        if isinstance(result, documents.VerifyResult) and result.equal and not result.different:
            self._context.metrics.late_effects.inc()
            LOG.warning("an abandoned send took effect", extra={"catalog": catalog_id, "intent": followed.intent})
        await self._book.change(catalog_id, lambda content: _forget(content, followed))


def _forget(ledger: LedgerContent, followed: Followed) -> LedgerContent:
    left = tuple(entry for entry in ledger.followed if entry.intent != followed.intent)
    return ledger.model_copy(update={"followed": left})


def _give_up(ledger: LedgerContent, now: datetime) -> LedgerContent:
    """Heads that are not told what became of these bodies would lie: the ledger counts as rolled back."""
    for intent in ledger.intents:
        if intent.state is not IntentState.COLLECTED:
            ledger = transitions.collect(ledger, intent.id, documents.Fate.UNKNOWN, now)
    indexes = [record.index for record in ledger.partitions]
    freed = transitions.map_partitions(ledger, indexes, lambda record: record.model_copy(update={"claim": None}))
    return freed.model_copy(update={"intents": (), "rolled_back": True, "relisted_at": None})
