"""`check_batch_request_status`: what became of a batch."""

from hack.emulator import jsons, messages, params
from hack.emulator.documented import documented
from hack.emulator.params import Param
from hack.emulator.routing import Call, Subject, Type, route
from hack.emulator.sections.catalog.item_rules import FATAL, WARNING
from hack.emulator.sections.catalog.product_catalog import catalog_of
from hack.emulator.world import Session

LISTED_MAX = 1_000_000  # where lists are not cut short


def status_of(session: Session, now: float) -> str:
    if now < session.dispatched:
        return "scheduled"
    if now < session.starts:
        return "dispatched"
    if now < session.ends:
        return "started"
    return "error" if session.broken else "finished"


@documented(
    "batch.status",
    page="Get Batch Request Status",
    section="Statuses",
    says=(
        "scheduled, dispatched, started, then finished or error; lists may stop before their totals; ids only where "
        "asked for"
    ),
)
@route(
    "GET",
    Type.CATALOG,
    "check_batch_request_status",
    params=[
        Param("handle", params.filled, required=True),
        Param("load_ids_of_invalid_requests", params.boolean),
        Param("error_priority", params.one_of("HIGH", "MEDIUM", "LOW")),
    ],
)
async def check(call: Call, subject: Subject) -> jsons.Json:
    handle = call.text("handle")
    session = call.world.sessions.get(call.world.handles.get(handle, 0))
    if session is None or session.catalog != catalog_of(subject).id or _forgotten(call, session):
        raise messages.invalid("Invalid parameter: the batch request handle is invalid or has expired", "handle")
    priority = call.text("error_priority")
    limit = (
        int(call.world.switches.listed_batch_errors)
        if call.world.switches.partially_named_errors == "true"
        else LISTED_MAX
    )
    row: jsons.Object = {"handle": handle, "status": status_of(session, call.now)}
    for name, severity, hidden in (("errors", FATAL, ("MEDIUM", "LOW")), ("warnings", WARNING, ("HIGH",))):
        wanted = priority not in hidden
        row[name] = _listed(call, session, severity, limit) if wanted else []
        row[f"{name}_total_count"] = _count(call, session, severity) if wanted else 0
    ids = call.flag("load_ids_of_invalid_requests", default=False)
    row["ids_of_invalid_requests"] = _ids(call, session, limit) if ids else []
    return {"data": [row]}


def _forgotten(call: Call, session: Session) -> bool:
    return session.lost or call.now > session.ends + call.world.switches.handles_expire_after_seconds


def _listed(call: Call, session: Session, severity: str, limit: int) -> list[jsons.Json]:
    query = (
        "SELECT line, rid, summary, message FROM row_error WHERE session = ? AND severity = ? AND at <= ? "
        "ORDER BY line, rowid LIMIT ?"
    )
    rows = call.world.store.db.execute(query, (session.id, severity, call.now, limit))
    return [{"line": line, "id": rid, "message": f"{summary}: {text}"} for line, rid, summary, text in rows]


def _count(call: Call, session: Session, severity: str) -> int:
    query = "SELECT count(*) FROM row_error WHERE session = ? AND severity = ? AND at <= ?"
    return int(call.world.store.db.execute(query, (session.id, severity, call.now)).fetchone()[0])


def _ids(call: Call, session: Session, limit: int) -> list[jsons.Json]:
    query = "SELECT rid FROM row_error WHERE session = ? AND severity = ? AND at <= ? ORDER BY line, rowid LIMIT ?"
    return [row[0] for row in call.world.store.db.execute(query, (session.id, FATAL, call.now, limit))]
