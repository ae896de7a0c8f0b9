"""What the demo promises of its end: pure, from resources and the audit to a list of what is not so."""

from hack.demo.cluster import conditions, name, status
from hack.emulator import jsons

CONDITIONS: dict[str, frozenset[str]] = {
    "metaconnection": frozenset({"Ready"}),
    "catalog": frozenset({"Ready", "Synced", "Fresh", "ItemIssues"}),
    "catalogshard": frozenset({"Ready"}),
    "feedschedule": frozenset({"Ready"}),
    "syncoperation": frozenset({"Complete"}),
    "deletionapproval": frozenset(),
}
"""Which are True at the end, by kind; no other is there. ItemIssues speaks of the product that stays broken."""
CLEAN = "clean"


def problems(kind: str, resource: jsons.Object) -> list[str]:
    """What is not as promised of one object."""
    found = conditions(resource)
    label = f"{kind}/{name(resource)}"
    wrong = [f"{label} has no condition {each}" for each in sorted(CONDITIONS[kind] - found.keys())]
    for each, condition in sorted(found.items()):
        said = f"{label}: {each}={condition.get('status')}, {condition.get('reason')}: {condition.get('message')}"
        if each not in CONDITIONS[kind] or condition.get("status") != "True":
            wrong.append(said)
    if kind == "catalog":
        totals = jsons.as_object(status(resource).get("totals"))
        if (totals.get("invalid"), totals.get("refused")) != (0, 1):
            wrong.append(f"{label}: one item should be refused by Meta and none by our checks: {dict(totals)}")
    if kind == "deletionapproval" and not status(resource).get("releasedItems"):
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
