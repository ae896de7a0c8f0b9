"""What the demo promises of its end: pure, from resources and the audit to a list of what is not so."""

from collections.abc import Sequence

from hack.demo.cluster import conditions, name, status
from hack.emulator import jsons

CONDITIONS: dict[str, frozenset[str]] = {
    "MetaConnection": frozenset({"Ready"}),
    "Catalog": frozenset({"Ready", "Synced", "Fresh", "ItemIssues"}),
    "CatalogShard": frozenset({"Ready"}),
    "FeedSchedule": frozenset({"Ready"}),
    "SyncOperation": frozenset({"Complete"}),
    "DeletionApproval": frozenset(),
}
"""Which are True at the end, by kind; no other is there. ItemIssues speaks of the product that stays broken."""
CLEAN = "clean"


def all_problems(resources: Sequence[jsons.Object]) -> list[str]:
    """What is not as promised of all of them together: one of each kind at least."""
    there = {resource["kind"] for resource in resources}
    missing = [f"there is no {kind}" for kind in CONDITIONS if kind not in there]
    return missing + [problem for resource in resources for problem in problems(resource)]


def problems(resource: jsons.Object) -> list[str]:
    """What is not as promised of one object."""
    kind, found = jsons.as_text(resource["kind"]), conditions(resource)
    label = f"{kind}/{name(resource)}"
    wrong = [f"{label} has no condition {each}" for each in sorted(CONDITIONS[kind] - found.keys())]
    for each, condition in sorted(found.items()):
        said = f"{label}: {each}={condition.get('status')}, {condition.get('reason')}: {condition.get('message')}"
        if each not in CONDITIONS[kind] or condition.get("status") != "True":
            wrong.append(said)
    if kind == "Catalog":
        totals = jsons.as_object(status(resource).get("totals"))
        if (totals.get("invalid"), totals.get("refused")) != (0, 1):
            wrong.append(f"{label}: one item should be refused by Meta and none by our checks: {dict(totals)}")
    if kind == "DeletionApproval" and not status(resource).get("releasedItems"):
        wrong.append(f"{label} released nothing")
    return wrong


def audit_problems(audit: jsons.Object) -> list[str]:
    wrong = [
        f"the auditor found {audit[what]} {what.removesuffix('_total')}"
        for what in ("overlaps", "violations_total")
        if audit[what] != 0
    ]
    judged = jsons.as_object(audit["judged"])
    wrong += [f"the auditor's verdict on {each} is: {verdict}" for each, verdict in judged.items() if verdict != CLEAN]
    return wrong
