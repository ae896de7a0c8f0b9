"""Keeping DiagnosticReports: one per issue that the read in force has, each written only when it changes.

What the checks found stands in the store and is named by the ledger, so a report that a crash kept from being written
is written by the next process. Reports are read live and not watched: nobody else writes them.
"""

import logging

from pydantic import ValidationError

from controller.api.v1alpha1.catalog import Catalog
from controller.api.v1alpha1.catalog_ledger import LedgerContent
from controller.api.v1alpha1.diagnostic_report import DiagnosticReport
from controller.faults import Fault
from controller.planning.diagnostics import reports
from controller.ports.preparing import Findings
from controller.reconcile.context import Context

LOG = logging.getLogger(__name__)


class Diagnostics:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._told: dict[str, str] = {}
        """uid of a Catalog → key of the findings that its reports show."""

    async def keep(self, catalog: Catalog, ledger: LedgerContent) -> None:
        """Show what the last read found. A failure is tried again at the next look and stops nothing else."""
        refresh = ledger.items[0].refresh if ledger.items else None
        key = refresh.findings if refresh is not None else None
        if key is None or self._told.get(catalog.uid) == key:
            return
        try:
            await self._show(catalog, key)
        except Fault as fault:
            LOG.warning(
                "the reports of items were not written",
                extra={"object": str(catalog.key), "reason": fault.reason, "detail": fault.message},
            )
            return
        self._told[catalog.uid] = key

    def forget(self, catalog: Catalog) -> None:
        self._told.pop(catalog.uid, None)

    async def _show(self, catalog: Catalog, key: str) -> None:
        content = await self._context.store.read(key)
        if content is None:
            return  # a read of before the store was lost; the next one has its own
        try:
            checks = Findings.model_validate_json(content).checks
        except ValidationError:
            LOG.warning("the findings of a read cannot be read", extra={"object": key})
            return
        cluster = self._context.cluster
        listed = await cluster.list(DiagnosticReport, of=catalog.key)
        existing = {report.name: report for report in listed if _is_of(report, catalog)}
        for report in reports(catalog, checks, existing, self._context.clock.now()):
            before = existing.pop(report.name, None)
            if before is None:
                await cluster.create(report)
            elif before.report != report.report:
                await cluster.replace(report)
        for gone in existing.values():
            await cluster.delete(DiagnosticReport, gone.key, gone.uid)


def _is_of(report: DiagnosticReport, catalog: Catalog) -> bool:
    owner = report.metadata.controller
    return owner is not None and owner.uid == catalog.uid
