"""The reports that a Catalog should have: pure, from what the checks found and what was reported before."""

from collections.abc import Mapping
from datetime import datetime

from controller.api import names
from controller.api.v1alpha1.catalog import Catalog
from controller.api.v1alpha1.diagnostic_report import (
    REPORTED_MAX,
    DiagnosticReport,
    DiagnosticReportContent,
    FoundBy,
    Issue,
    Priority,
    ReportedItem,
)
from controller.api.values import MESSAGE_LENGTH_MAX, ObjectRef
from controller.planning.children import child_metadata
from controller.ports.preparing import RuleCount

_PRIORITIES = {"Error": Priority.HIGH, "Warning": Priority.MEDIUM, "Advice": Priority.LOW}


def reports(
    catalog: Catalog,
    checks: tuple[RuleCount, ...],
    existing: Mapping[str, DiagnosticReport],
    now: datetime,
) -> tuple[DiagnosticReport, ...]:
    """One report per check that found something. An item keeps the time since which `existing` (by name) has it."""
    return tuple(_report(catalog, check, existing.get(f"{catalog.name}-{check.rule}"), now) for check in checks)


def _report(catalog: Catalog, check: RuleCount, before: DiagnosticReport | None, now: datetime) -> DiagnosticReport:
    priority = _PRIORITIES[check.level]
    since = {item.id: item.since for item in before.report.items} if before is not None else {}
    metadata = child_metadata(catalog, f"{catalog.name}-{check.rule}")
    labels = {**metadata.labels, names.LABEL_ISSUE: check.rule, names.LABEL_PRIORITY: priority.value}
    update: dict[str, object] = {"labels": labels}
    if before is not None:
        update |= {"uid": before.uid, "resource_version": before.metadata.resource_version}
    named = [item for item in dict.fromkeys(check.sample_ids) if item][:REPORTED_MAX]
    return DiagnosticReport(
        metadata=metadata.model_copy(update=update),
        report=DiagnosticReportContent(
            catalog_ref=ObjectRef(name=catalog.name),
            found_by=FoundBy.CHECKS,
            issue=Issue(type=check.rule, priority=priority, title=check.message[:MESSAGE_LENGTH_MAX]),
            count=check.count,
            items=tuple(ReportedItem(id=item, since=since.get(item, now)) for item in named),
        ),
    )
