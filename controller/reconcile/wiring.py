"""Puts the use cases together: which kind is reconciled by what, and who wakes whom."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from controller.api.resource import ObjectKey
from controller.api.v1alpha1.catalog import Catalog
from controller.api.v1alpha1.catalog_ledger import CatalogLedger
from controller.api.v1alpha1.catalog_shard import CatalogShard
from controller.api.v1alpha1.deletion_approval import DeletionApproval
from controller.api.v1alpha1.feed_schedule import FeedSchedule
from controller.api.v1alpha1.meta_connection import MetaConnection
from controller.api.v1alpha1.sync_operation import SyncOperation
from controller.planning.retention import ended
from controller.reconcile.catalog import Catalogs
from controller.reconcile.catalog_ledger import CatalogLedgers
from controller.reconcile.catalog_shard import CatalogShards
from controller.reconcile.connections import Connections
from controller.reconcile.context import Context
from controller.reconcile.deletion_approval import DeletionApprovals
from controller.reconcile.engine import Engine
from controller.reconcile.feed_schedule import FeedSchedules
from controller.reconcile.ledgers import LedgerBook
from controller.reconcile.meta_connection import MetaConnections
from controller.reconcile.outcome import Outcome
from controller.reconcile.recovery import Recovery
from controller.reconcile.sync_operation import SyncOperations
from controller.scheduling.ledger import claimed_by
from controller.scheduling.runner import Runner

LOG = logging.getLogger(__name__)

RESUME_SECONDS = 30.0
"""A task that ended with claims in hand is started again after this time."""


@dataclass(frozen=True, slots=True)
class Operator:
    """What runs: the engine to feed with watch events, and how to end."""

    engine: Engine
    book: LedgerBook
    close: Callable[[], Awaitable[None]]


async def build(context: Context) -> Operator:
    """Build the use cases over a context. Reads (or makes) the installation id and opens the ledgers there are."""
    proposed = f"{context.rng.getrandbits(40):010x}"
    installation = await context.cluster.installation(proposed)
    if await context.store.identity() is None:
        await context.store.claim_identity(f"{installation}-{context.rng.getrandbits(40):010x}")
    context.governor.on_answer = context.metrics.answered
    settings = context.settings
    busy = settings.timing.batch_abandon
    book = LedgerBook(context.cluster, context.store, context.clock, context.governor, settings.namespace, busy)
    return _assemble(context, book, installation)


def _assemble(context: Context, book: LedgerBook, installation: str) -> Operator:
    engine: Engine

    def wake(key: ObjectKey) -> None:
        engine.wake(key)

    def wake_dependents(key: ObjectKey) -> None:
        engine.wake_dependents(key)

    def wake_catalog(catalog_id: str) -> None:
        wake_all(engine, context, book, catalog_id)

    def on_end(slot: tuple[str, str], error: BaseException | None) -> None:
        if error is not None:
            LOG.error("a task failed", extra={"slot": "/".join(slot)}, exc_info=error)
        _wake_slot(engine, context, book, slot, delay=RESUME_SECONDS if error is not None else 0.0)

    runner: Runner[tuple[str, str]] = Runner(on_end)
    connections = Connections(wake)
    catalogs = Catalogs(context, book, connections, runner, installation, wake, wake_catalog)
    operations = SyncOperations(context, book, connections, runner, wake_catalog)
    recovery = Recovery(context, book, connections, runner)
    by_kind: dict[str, Callable[[ObjectKey], Awaitable[Outcome]]] = {
        MetaConnection.KIND: MetaConnections(context, connections, wake_dependents).reconcile,
        Catalog.KIND: catalogs.reconcile,
        CatalogShard.KIND: CatalogShards(context, book, connections, installation, wake_catalog).reconcile,
        FeedSchedule.KIND: FeedSchedules(context, book, wake).reconcile,
        SyncOperation.KIND: operations.reconcile,
        DeletionApproval.KIND: DeletionApprovals(context, book, catalogs.refreshing).reconcile,
        CatalogLedger.KIND: CatalogLedgers(context, book, connections, operations, recovery, runner).reconcile,
    }

    async def reconcile(key: ObjectKey) -> Outcome:
        return await by_kind[key.kind](key)

    engine = Engine(context, reconcile, lambda key: dependents(context, book, key))
    return Operator(engine, book, runner.close)


async def start(operator: Operator) -> None:
    """Wake every ledger there is: what was in flight is followed whether or not its Catalog still exists."""
    for catalog_id in await operator.book.existing():
        operator.engine.queue.mark(operator.book.key(catalog_id))


def dependents(context: Context, book: LedgerBook, key: ObjectKey) -> tuple[ObjectKey, ...]:
    """Whom a change of this object concerns: parent and children, in a fixed order."""
    objects = context.objects
    match key.kind:
        case MetaConnection.KIND:
            return tuple(
                catalog.key
                for catalog in objects.all(Catalog, key.namespace)
                if catalog.spec.connection_ref.name == key.name
            )
        case Catalog.KIND:
            return (*children_of(context, key), *ledger_of(book, key))
        case CatalogShard.KIND:
            shard = objects.get(CatalogShard, key)
            return _catalogs(context, key) if shard is None else (_catalog_key(key, shard.spec.catalog_ref.name),)
        case FeedSchedule.KIND:
            schedule = objects.get(FeedSchedule, key)
            return _catalogs(context, key) if schedule is None else (_catalog_key(key, schedule.spec.catalog_ref.name),)
        case DeletionApproval.KIND:
            approval = objects.get(DeletionApproval, key)
            return () if approval is None else (_catalog_key(key, approval.spec.catalog_ref.name),)
        case _:
            return ()


def children_of(context: Context, key: ObjectKey) -> tuple[ObjectKey, ...]:
    objects, namespace = context.objects, key.namespace
    shards = [shard.key for shard in objects.all(CatalogShard, namespace) if shard.spec.catalog_ref.name == key.name]
    schedules = [s.key for s in objects.all(FeedSchedule, namespace) if s.spec.catalog_ref.name == key.name]
    operations = [
        operation.key
        for operation in objects.all(SyncOperation, namespace)
        if operation.spec.catalog_ref.name == key.name and not ended(operation)
    ]
    catalog = objects.get(Catalog, key)
    connection = (
        [ObjectKey(MetaConnection.KIND, namespace, catalog.spec.connection_ref.name)]
        if catalog is not None and catalog.metadata.deleting
        else [connection.key for connection in objects.all(MetaConnection, namespace)]
        if catalog is None
        else []
    )
    approvals = [a.key for a in objects.all(DeletionApproval, namespace) if a.spec.catalog_ref.name == key.name]
    return (*shards, *schedules, *operations, *approvals, *connection)


def ledger_of(book: LedgerBook, key: ObjectKey) -> tuple[ObjectKey, ...]:
    """The ledger that a Catalog (present or gone) owns."""
    found = []
    for catalog_id in book.all_known():
        ledger = book.known(catalog_id)
        owner = ledger.owner if ledger is not None else None
        if owner is not None and (owner.namespace, owner.name) == (key.namespace, key.name):
            found.append(book.key(catalog_id))
    return tuple(found)


def wake_all(engine: Engine, context: Context, book: LedgerBook, catalog_id: str) -> None:
    """Something about the ledger of a catalog changed: its Catalog, shards, schedules and operations look again."""
    ledger = book.known(catalog_id)
    if ledger is None or ledger.owner is None:
        return
    key = ObjectKey(Catalog.KIND, ledger.owner.namespace, ledger.owner.name)
    engine.queue.mark(key)
    for child in children_of(context, key):
        engine.queue.mark(child, priority=1)


def _wake_slot(engine: Engine, context: Context, book: LedgerBook, slot: tuple[str, str], *, delay: float) -> None:
    """Look again at what a task was about; after a failure not at once, or a defect would keep all workers busy."""
    kind, name = slot
    if kind in ("refresh", "rebuild"):
        wake_all(engine, context, book, name)
        engine.queue.mark(book.key(name))
        return
    for operation in context.objects.all(SyncOperation):
        if operation.uid == name:
            engine.queue.mark(operation.key, delay=delay)
    for catalog_id in book.all_known():
        ledger = book.known(catalog_id)
        if ledger is not None and claimed_by(ledger, name):
            engine.queue.mark(book.key(catalog_id), delay=RESUME_SECONDS)


def _catalog_key(key: ObjectKey, name: str) -> ObjectKey:
    return ObjectKey(Catalog.KIND, key.namespace, name)


def _catalogs(context: Context, key: ObjectKey) -> tuple[ObjectKey, ...]:
    return tuple(catalog.key for catalog in context.objects.all(Catalog, key.namespace))
