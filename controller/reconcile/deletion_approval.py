"""DeletionApproval: says in its status what it released. The release itself is decided at the Catalog's next look."""

from controller.api.resource import ObjectKey
from controller.api.v1alpha1.catalog import Catalog
from controller.api.v1alpha1.deletion_approval import DeletionApproval
from controller.reconcile.context import Context
from controller.reconcile.ledgers import LedgerBook
from controller.reconcile.outcome import Outcome
from controller.reconcile.refreshing import Refreshing


class DeletionApprovals:
    def __init__(self, context: Context, book: LedgerBook, refreshing: Refreshing) -> None:
        self._context = context
        self._book = book
        self._refreshing = refreshing

    async def reconcile(self, key: ObjectKey) -> Outcome:
        approval = self._context.objects.get(DeletionApproval, key)
        if approval is None or approval.metadata.deleting:
            return Outcome()
        update: dict[str, object] = {
            "observed_generation": approval.metadata.generation,
            "owner_uid": approval.uid,
        }
        released = self._released(approval)
        if released is not None and approval.status.used_at is None:
            update |= {"used_at": self._context.clock.now(), "released_items": released}
        status = approval.status.model_copy(update=update)
        if status == approval.status:
            return Outcome()
        written = await self._context.cluster.apply_status(DeletionApproval, key, approval.uid, status)
        if written is not None:
            self._context.objects.accept(written)
        return Outcome()

    def _released(self, approval: DeletionApproval) -> int | None:
        """Items that it released, or None when it was not used (yet)."""
        key = ObjectKey(Catalog.KIND, approval.namespace, approval.spec.catalog_ref.name)
        catalog = self._context.objects.get(Catalog, key)
        if catalog is None:
            return None
        catalog_id = catalog.spec.catalog_id or catalog.status.catalog_id
        ledger = self._book.known(catalog_id) if catalog_id is not None else None
        if catalog_id is None or ledger is None or approval.spec.digest not in ledger.used_approvals:
            return None
        return self._refreshing.sight(catalog_id).used_approvals.get(approval.spec.digest, 0)
