"""Keeping a catalog's own settings equal to what is declared, or saying where they differ."""

from dataclasses import dataclass, field
from datetime import datetime

from controller.api.v1alpha1.catalog import Catalog, Drift
from controller.api.v1alpha1.policies import DriftPolicy, ManagementPolicy
from controller.planning.settings_drift import change_for, drift_of, unreadable
from controller.ports.meta import CatalogAtMeta
from controller.reconcile.connections import Connection
from controller.reconcile.context import Context

CORRECTIONS_MAX = 2
"""A field that differs again after so many accepted corrections of the same value is not comparable."""


@dataclass(slots=True)
class Seen:
    """What was last read of one catalog's settings."""

    at_meta: CatalogAtMeta | None = None
    generation: int = -1
    checked_at: datetime | None = None
    corrections: dict[tuple[str, str], int] = field(default_factory=dict)
    drift: tuple[Drift, ...] = ()
    not_comparable: tuple[str, ...] = ()


class CatalogSettingsKeeper:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._seen: dict[str, Seen] = {}

    def seen(self, catalog_id: str) -> Seen:
        return self._seen.setdefault(catalog_id, Seen())

    async def keep(self, catalog: Catalog, catalog_id: str, connection: Connection, *, forced: bool) -> Seen:
        """Compare when the spec changed or the last look is old; correct where the policy says so."""
        seen = self.seen(catalog_id)
        now = self._context.clock.now()
        age_max = self._context.settings.timing.drift_check
        recent = seen.checked_at is not None and now - seen.checked_at < age_max
        if recent and seen.generation == catalog.metadata.generation and not forced:
            return seen
        seen.at_meta = await connection.graph.read_catalog(catalog_id)
        await self._compare(catalog, catalog_id, connection, seen)
        seen.generation = catalog.metadata.generation
        seen.checked_at = now
        return seen

    async def _compare(self, catalog: Catalog, catalog_id: str, connection: Connection, seen: Seen) -> None:
        assert seen.at_meta is not None
        drift = drift_of(catalog.spec, seen.at_meta)
        tired = {
            entry.field for entry in drift if seen.corrections.get((entry.field, entry.declared), 0) >= CORRECTIONS_MAX
        }
        seen.not_comparable = tuple(sorted(tired))
        open_drift = tuple(entry for entry in drift if entry.field not in tired)
        may_write = catalog.spec.management_policy is ManagementPolicy.FULL and not catalog.spec.suspend
        corrects = catalog.spec.drift_policy is DriftPolicy.CORRECT or seen.generation != catalog.metadata.generation
        if not may_write or connection.suspended or not corrects:
            seen.drift = open_drift
            return
        if seen.generation != catalog.metadata.generation:
            await connection.graph.update_catalog(catalog_id, unreadable(catalog.spec))
        await connection.graph.update_catalog(catalog_id, change_for(catalog.spec, open_drift))
        for entry in open_drift:
            key = (entry.field, entry.declared)
            seen.corrections[key] = seen.corrections.get(key, 0) + 1
        seen.drift = ()
