"""Removing what nothing refers to any more from the store.

A step's folder is kept while the ledger names anything in it, while its operation holds a claim, or while it is young:
it goes only when it was seen unreferenced for longer than any step, answer or hand-over can take. What this process
saw is not remembered over a restart; then the waiting starts anew.

A named object may be a manifest, whose parts lie in the folders of earlier steps: those are kept one by one. While a
manifest cannot be read, nothing goes.
"""

import json
import logging
import re
from datetime import datetime, timedelta

from controller.api.v1alpha1.catalog_ledger import LedgerContent
from controller.reconcile.context import Context
from controller.reconcile.ledgers import catalog_prefix, heads_prefix
from controller.scheduling import ledger as transitions

LOG = logging.getLogger(__name__)

EVERY = timedelta(hours=1)
FETCH_WINDOW = timedelta(hours=1)
"""Longest time in which a reader may still hold a name that is no longer in the ledger."""
EPOCHS_KEPT = 2
KEYS_PER_DELETE = 500
MANIFEST = re.compile(r"(rows|snapshot|sent|payload)-v\d+-[^/]*\.json")
"""Names of objects that are made of several (controller.preparing.manifests writes them)."""


class Garbage:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._looked_at: dict[str, datetime] = {}
        self._unreferenced: dict[str, dict[str, datetime]] = {}
        """Catalog id → folder → since when nothing refers to it."""

    async def tend(self, catalog_id: str, ledger: LedgerContent) -> datetime:
        """Look once an hour; return when the next look is due."""
        now = self._context.clock.now()
        looked_at = self._looked_at.get(catalog_id)
        if looked_at is not None and now < looked_at + EVERY:
            return looked_at + EVERY
        self._looked_at[catalog_id] = now
        await self._collect(catalog_id, ledger, now)
        return now + EVERY

    async def _collect(self, catalog_id: str, ledger: LedgerContent, now: datetime) -> None:
        prefix = catalog_prefix(catalog_id)
        keys = await self._context.store.keys(f"{prefix}/")
        named = references(ledger)
        kept = {folder_of(key) for key in named}
        parts = await self._parts(named)
        if parts is None:
            return
        busy = frozenset(transitions.operations_in_flight(ledger))
        epochs = {f"{prefix}/epochs/{ledger.epoch - age:08d}" for age in range(EPOCHS_KEPT)}
        reads = current_reads(ledger)
        idle = [
            key
            for key in keys
            if folder_of(key) not in kept
            and key not in parts
            and key not in epochs
            and not key.startswith(heads_prefix(catalog_id))
            and not busy & frozenset(key.split("/"))
            and not any(read in key for read in reads)
        ]
        patience = self._context.settings.timing.batch_abandon + FETCH_WINDOW
        before = self._unreferenced.get(catalog_id, {})
        since = {key: before.get(key, now) for key in idle}
        gone = [key for key, moment in since.items() if now - moment >= patience]
        for start in range(0, len(gone), KEYS_PER_DELETE):
            await self._context.store.delete(tuple(gone[start : start + KEYS_PER_DELETE]))
        if gone:
            LOG.info("removed what nothing refers to", extra={"catalog": catalog_id, "objects": len(gone)})
        self._unreferenced[catalog_id] = {key: since[key] for key in idle if key not in set(gone)}

    async def _parts(self, named: frozenset[str]) -> frozenset[str] | None:
        """Keys that the named manifests name; None while one of them cannot be read."""
        found: set[str] = set()
        for key in sorted(named):
            if not MANIFEST.fullmatch(key.rsplit("/", 1)[-1]):
                continue
            content = await self._context.store.read(key)
            try:
                found |= parts_in(content or b"")
            except ValueError:
                LOG.warning("a manifest cannot be read: nothing is removed", extra={"object": key})
                return None
        return frozenset(found)


def parts_in(content: bytes) -> frozenset[str]:
    """Keys that a manifest names. Raises ValueError for what is none."""
    document = json.loads(content)
    parts = document.get("parts") if isinstance(document, dict) else None
    if not isinstance(parts, list) or not all(isinstance(each, str) for each in parts):
        raise ValueError("not a manifest")
    return frozenset(parts)


def folder_of(key: str) -> str:
    """A step writes into one folder, and its objects may refer to each other."""
    return key.rsplit("/", 1)[0]


def current_reads(ledger: LedgerContent) -> tuple[str, ...]:
    """Folders of the read in force: comparisons made since then refer to what it left."""
    return tuple(f"/refresh-{items.refresh.sequence:010d}-" for items in ledger.items if items.refresh is not None)


def references(ledger: LedgerContent) -> frozenset[str]:
    """Every key that the ledger names."""
    found: list[str | None] = []
    for record in ledger.partitions:
        found += [record.snapshot, record.payload, *(each.snapshot for each in record.locales)]
    for intent in ledger.intents:
        found += [intent.payload, intent.sent, intent.deletes, intent.results, intent.read_back]
    for items in ledger.items:
        if items.refresh is not None:
            found += [*items.refresh.desired, items.refresh.departures, items.refresh.findings]
            found += [key for each in items.refresh.overlays for key in (each.table, each.localized)]
        if items.held is not None:
            found.append(items.held.ids)
    found += [followed.sent for followed in ledger.followed]
    return frozenset(key for key in found if key is not None)
