"""Who may write to a catalog at Meta: the one Catalog that its ledger names.

The holder keeps it while a live GET finds its uid; then the oldest claimant takes it, with a new epoch. A ledger of
another installation, or one that another endpoint has written, stops all writes.
"""

from controller.api.resource import ObjectKey
from controller.api.v1alpha1.catalog import Catalog
from controller.api.v1alpha1.catalog_ledger import LedgerContent, Owner, PartitionRecord
from controller.faults import Disposition, Fault
from controller.planning.children import shard_name
from controller.reconcile.connections import Connection
from controller.reconcile.context import Context
from controller.reconcile.ledgers import LedgerBook


class Ownership:
    def __init__(self, context: Context, book: LedgerBook, installation: str) -> None:
        self._context = context
        self._book = book
        self._installation = installation

    async def require(
        self, catalog: Catalog, catalog_id: str, connection: Connection, *, created: bool
    ) -> LedgerContent:
        """Return the ledger that this Catalog owns, or raise OwnershipConflict, ForeignOperator or ForeignEndpoint."""
        ledger = await self._book.open(catalog_id)
        if ledger is None:
            self._yield_to_older(catalog, catalog_id)
            ledger = await self._book.open(catalog_id, create=True)
            assert ledger is not None
        owner = ledger.owner
        if owner is not None and owner.installation != self._installation:
            message = f"catalog {catalog_id} is managed by the installation {owner.installation} ({owner.name})"
            raise Fault("ForeignOperator", Disposition.STALLED, message)
        if owner is not None and owner.uid != catalog.uid and await self._holds(owner):
            message = f"catalog {catalog_id} is held by Catalog {owner.namespace}/{owner.name}; delete one of the two"
            raise Fault("OwnershipConflict", Disposition.STALLED, message)
        if owner is None or owner.uid != catalog.uid:
            self._yield_to_older(catalog, catalog_id)
        return await self._take(catalog, catalog_id, ledger, connection, created=created)

    def _yield_to_older(self, catalog: Catalog, catalog_id: str) -> None:
        """With no holder, the oldest of those that name the catalog takes it."""
        for other in self._context.objects.all(Catalog):
            names_it = catalog_id in (other.spec.catalog_id, other.status.catalog_id)
            if not names_it or other.uid == catalog.uid or other.metadata.deleting:
                continue
            if _age(other) < _age(catalog):
                message = f"catalog {catalog_id} belongs to the older Catalog {other.namespace}/{other.name}"
                raise Fault("OwnershipConflict", Disposition.STALLED, message)

    async def _holds(self, owner: Owner) -> bool:
        key = ObjectKey(Catalog.KIND, owner.namespace, owner.name)
        found = await self._context.cluster.get(Catalog, key)
        return found is not None and found.uid == owner.uid

    async def _take(
        self, catalog: Catalog, catalog_id: str, ledger: LedgerContent, connection: Connection, *, created: bool
    ) -> LedgerContent:
        endpoint = self._context.settings.endpoint
        if ledger.endpoints and endpoint not in ledger.endpoints:
            message = (
                f"catalog {catalog_id} was managed through {ledger.endpoints[0]}, not {endpoint}; "
                "start the operator with the right --endpoint, or delete the ledger to begin anew"
            )
            raise Fault("ForeignEndpoint", Disposition.STALLED, message)
        mine = Owner(installation=self._installation, namespace=catalog.namespace, name=catalog.name, uid=catalog.uid)

        def transition(current: LedgerContent) -> LedgerContent:
            update: dict[str, object] = {}
            if current.owner != mine:
                update["owner"] = mine
            if current.owner is not None and current.owner.uid != mine.uid:
                update["epoch"] = current.epoch + 1
                update["partitions"] = _renamed(current, catalog.name)
            if current.connection != connection.key.name:
                update["connection"] = connection.key.name
            if not current.endpoints:
                update["endpoints"] = (endpoint,)
            if created and not current.created:
                update["created"] = True
            return current.model_copy(update=update) if update else current

        return await self._book.change(catalog_id, transition)


def _renamed(ledger: LedgerContent, catalog: str) -> tuple[PartitionRecord, ...]:
    """Partitions under the shard names of their new owner."""
    layout = ledger.layout.id if ledger.layout is not None else 1
    return tuple(
        record.model_copy(update={"shard": shard_name(catalog, layout, record.index)}) for record in ledger.partitions
    )


def _age(catalog: Catalog) -> tuple[str, str, str]:
    created = catalog.metadata.creation_timestamp
    return (created.isoformat() if created is not None else "", catalog.namespace, catalog.name)
