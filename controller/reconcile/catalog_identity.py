"""Which catalog at Meta a Catalog stands for: named by id, adopted by name, found again, or made.

Meta offers no idempotency key, so a creation is written down before it is asked for, carries a nonce name that can be
searched for, and is never repeated before a search has shown that it did not happen.
"""

import asyncio
import hashlib
import logging
from datetime import timedelta

from controller.api.v1alpha1.catalog import Catalog
from controller.api.v1alpha1.common import PendingCreate
from controller.api.v1alpha1.policies import AdoptionPolicy, ManagementPolicy
from controller.faults import Disposition, Fault
from controller.ports.meta import CatalogAtMeta
from controller.reconcile.connections import Connection
from controller.reconcile.context import Context

LOG = logging.getLogger(__name__)

NONCE_DIGITS = 10


class Identity:
    def __init__(self, context: Context, installation: str) -> None:
        self._context = context
        self._installation = installation
        self._businesses: dict[str, asyncio.Lock] = {}
        self.created: set[str] = set()
        """Ids that this process created or found under their nonce name: the ledger remembers them as ours."""

    def nonce_name(self, catalog: Catalog) -> str:
        """Name under which a creation can be found again even when status is lost."""
        seed = f"{self._installation}{catalog.uid}"
        return f"metacatalog-{hashlib.sha256(seed.encode()).hexdigest()[:NONCE_DIGITS]}"

    async def establish(self, catalog: Catalog, connection: Connection) -> str:
        """Return the catalog's id at Meta. Raises Fault while it is not known or may not be used."""
        if catalog.spec.catalog_id is not None:
            return catalog.spec.catalog_id
        if catalog.status.catalog_id is not None and catalog.status_is_ours:
            return catalog.status.catalog_id
        async with self._businesses.setdefault(connection.credentials.business_id, asyncio.Lock()):
            return await self._search_or_create(catalog, connection)

    async def _search_or_create(self, catalog: Catalog, connection: Connection) -> str:
        found = await self._search(connection, self.nonce_name(catalog))
        if found is not None:
            self.created.add(found)
            return found
        if catalog.spec.adoption_policy is AdoptionPolicy.IF_NAME_MATCHES:
            adopted = await self._search(connection, catalog.spec.name)
            if adopted is not None:
                return adopted
        if catalog.spec.management_policy is ManagementPolicy.OBSERVE:
            message = "managementPolicy is Observe and there is no catalogID; set catalogID to observe a catalog"
            raise Fault("InvalidSpec", Disposition.STALLED, message)
        if catalog.spec.suspend or connection.suspended:
            raise Fault("Suspended", Disposition.RETRY, "suspended: the catalog is not created")
        self._wait_for_uncertain(catalog)
        return await self._create(catalog, connection)

    async def _search(self, connection: Connection, name: str) -> str | None:
        found: tuple[CatalogAtMeta, ...] = await connection.graph.find_catalogs(name)
        if len(found) > 1:
            ids = ", ".join(sorted(at_meta.id for at_meta in found)[:5])
            message = f"{len(found)} catalogs at Meta are named {name!r} ({ids}); set spec.catalogID to the right one"
            raise Fault("AmbiguousCreate", Disposition.STALLED, message)
        return found[0].id if found else None

    def _wait_for_uncertain(self, catalog: Catalog) -> None:
        """A creation whose answer is not known may still show up in listings."""
        pending = catalog.status.pending_create
        if pending is None or not catalog.status_is_ours:
            return
        now = self._context.clock.now()
        visible_at = pending.started_at + timedelta(seconds=60) + self._context.settings.timing.listing_lag
        if now < visible_at:
            message = "whether the catalog was created is not known yet; Meta's list is read again"
            raise Fault("CreateResultUnknown", Disposition.RETRY, message, retry_at=visible_at)

    async def _create(self, catalog: Catalog, connection: Connection) -> str:
        nonce = self.nonce_name(catalog)
        pending = PendingCreate(nonce=nonce, started_at=self._context.clock.now())
        update = {"pending_create": pending, "owner_uid": catalog.uid}
        status = catalog.status.model_copy(update=update)
        written = await self._context.cluster.apply_status(Catalog, catalog.key, catalog.uid, status)
        if written is None:
            raise Fault("Deleting", Disposition.RETRY, "the Catalog is gone")
        self._context.objects.accept(written)
        try:
            created = await connection.graph.create_catalog(nonce, catalog.spec.vertical.lower())
        except Fault as fault:
            if fault.disposition is Disposition.UNCERTAIN:
                again_at = pending.started_at + timedelta(seconds=60) + self._context.settings.timing.listing_lag
                message = "whether the catalog was created is not known; Meta's list is read before a new try"
                raise Fault("CreateResultUnknown", Disposition.RETRY, message, retry_at=again_at) from fault
            await self._forget_pending(written)
            raise
        LOG.info("created a catalog", extra={"catalog": created, "object": str(catalog.key)})
        self.created.add(created)
        return created

    async def _forget_pending(self, catalog: Catalog) -> None:
        status = catalog.status.model_copy(update={"pending_create": None})
        written = await self._context.cluster.apply_status(Catalog, catalog.key, catalog.uid, status)
        if written is not None:
            self._context.objects.accept(written)
