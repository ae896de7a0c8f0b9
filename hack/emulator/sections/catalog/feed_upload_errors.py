"""Errors of an upload session: samples per kind of error, and the full report on request."""

import csv
import io
import sqlite3

from hack.emulator import jsons, messages, params
from hack.emulator.documented import Provenance, behaviour, documented
from hack.emulator.params import Param
from hack.emulator.routing import Call, ErrorSample, FieldDef, NodeRef, Page, Subject, Type, fields, not_yet, route
from hack.emulator.sections.catalog.feed_uploads import done, upload_of
from hack.emulator.sections.catalog.item_rules import FATAL
from hack.emulator.sections.graph_api import paging
from hack.emulator.world import Session, UploadError

PRIORITY = ("HIGH", "MEDIUM", "LOW")
HEADER_LINE = 1
SURFACES = ("Dynamic Ads", "Marketplace", "US Marketplace")
REPORT_COLUMNS = (
    "retailer_id", "message", "severity", "field_names", "affected_capabilities", "blocks_capability",
)  # fmt: skip


def error_of(subject: Subject) -> UploadError:
    assert isinstance(subject, UploadError), "a route of ProductFeedUploadError"
    return subject


def _rows(call: Call, error: UploadError, limit: int) -> list[tuple[int, str]]:
    query = (
        "SELECT line, rid FROM row_error WHERE session = ? AND severity = ? AND type = ? AND field = ? AND at <= ? "
        "ORDER BY line LIMIT ?"
    )
    values = (error.session, error.severity, error.type, error.field, call.now, limit)
    return [(int(line), str(rid)) for line, rid in call.world.store.db.execute(query, values)]


def _row_number(call: Call, subject: Subject) -> jsons.Json:
    rows = _rows(call, error_of(subject), 1)
    return rows[0][0] if rows and rows[0][0] else None  # what is wrong with the whole file stands in no row


def _samples(call: Call, error: UploadError) -> list[ErrorSample]:
    limit = int(call.world.switches.upload_error_samples)
    rows = [(line, rid) for line, rid in _rows(call, error, limit) if line > HEADER_LINE]
    return [ErrorSample(f"{error.id}{place:04d}", rid, line) for place, (line, rid) in enumerate(rows)]


def _sample(subject: Subject) -> ErrorSample:
    assert isinstance(subject, ErrorSample), "a sample of an upload error"
    return subject


fields(
    Type.UPLOAD_ERROR,
    {
        "id": FieldDef(lambda _, subject: str(error_of(subject).id), default=True),
        "summary": FieldDef(lambda _, subject: error_of(subject).summary, default=True),
        "description": FieldDef(lambda _, subject: error_of(subject).description, default=True),
        "severity": FieldDef(lambda _, subject: error_of(subject).severity, default=True),
        "error_type": FieldDef(lambda _, subject: error_of(subject).type),
        "total_count": FieldDef(lambda _, subject: error_of(subject).count),
        "affected_surfaces": FieldDef(lambda *_: list(SURFACES)),
        "row_number": FieldDef(_row_number, default=True),
        "column_number": FieldDef(lambda *_: None),
    },
)
fields(
    Type.ERROR_SAMPLE,
    {
        "id": FieldDef(lambda _, subject: _sample(subject).id, default=True),
        "retailer_id": FieldDef(lambda _, subject: _sample(subject).retailer_id, default=True),
        "row_number": FieldDef(lambda _, subject: _sample(subject).row_number, default=True),
    },
)
not_yet(Type.UPLOAD_ERROR, {"suggested_rules": "Product Feed Rules"})


def _kinds(call: Call, session: Session) -> list[UploadError]:
    """One node per kind of error, made when it is first asked for and counted anew each time."""
    known = {(one.severity, one.type, one.field): one for one in call.world.errors_of.get(session.id, [])}
    query = (
        "SELECT severity, type, field, min(summary), min(message), count(*), min(line) FROM row_error "
        "WHERE session = ? AND at <= ? GROUP BY severity, type, field ORDER BY severity, min(line), type, field"
    )
    found: list[UploadError] = []
    for severity, type_, name, summary, description, count, _ in _grouped(call, query, session):
        error = known.get((severity, type_, name))
        if error is None:
            error = UploadError(call.world.new_id(), session.id, severity, type_, name, summary, description, count)
            call.world.add(error)
        elif error.count != count:
            error.count = count
            call.world.save(error)
        found.append(error)
    return found


def _grouped(call: Call, query: str, session: Session) -> list[tuple[str, str, str, str, str, int, int]]:
    cursor: sqlite3.Cursor = call.world.store.db.execute(query, (session.id, call.now))
    return cursor.fetchall()


@documented(
    "upload.errors",
    page="Product Feed Upload Errors",
    section="Reading",
    says=(
        "errors lists kinds of errors with counts; error_priority HIGH is fatal only, MEDIUM and LOW are all warnings;"
        " rows are samples"
    ),
)
@route(
    "GET",
    Type.UPLOAD,
    "errors",
    params=[Param("error_priority", params.one_of(*PRIORITY))],
    answers=Type.UPLOAD_ERROR,
    paged=True,
)
async def errors(call: Call, subject: Subject) -> Page:
    session = upload_of(subject)
    wanted = call.text("error_priority")
    found = [one for one in _kinds(call, session) if not wanted or (one.severity == FATAL) == (wanted == "HIGH")]
    return paging.window(call, found, lambda one: one.id, lambda one: NodeRef(Type.UPLOAD_ERROR, one))


@route("GET", Type.UPLOAD_ERROR)
async def read(_call: Call, subject: Subject) -> NodeRef:
    return NodeRef(Type.UPLOAD_ERROR, subject)


@documented(
    "upload.error_samples",
    page="Product Feed Upload Errors",
    section="samples",
    says="samples names a few rows of an error by retailer_id and row_number, not all",
)
@route("GET", Type.UPLOAD_ERROR, "samples", answers=Type.ERROR_SAMPLE, paged=True)
async def samples(call: Call, subject: Subject) -> Page:
    found = _samples(call, error_of(subject))
    return paging.window(call, found, lambda one: int(one.id), lambda one: NodeRef(Type.ERROR_SAMPLE, one))


@documented(
    "upload.error_report",
    page="Troubleshoot Your Data Feed",
    section="Error report",
    says=(
        "POST error_report asks for the full report; error_report of the session answers REQUESTED, then "
        "WRITE_FINISHED with file_handle, a CSV of every row"
    ),
)
@route("POST", Type.UPLOAD, "error_report", answers=Type.UPLOAD)
async def request_report(call: Call, subject: Subject) -> jsons.Json:
    session = upload_of(subject)
    if not done(session, call.now):
        raise messages.invalid("The upload session has not finished yet")
    if not session.report_at:
        session.report_at = call.now + max(1.0, call.world.switches.error_report_seconds)
        call.world.save(session)
    return {"success": True}


behaviour(
    "upload.error_report_file",
    page="Troubleshoot Your Data Feed",
    section="Error report",
    provenance=Provenance.DOCUMENTED,
    says="the report has retailer id, message, severity, field names, affected capabilities and whether it blocks them",
)


def report_csv(db: sqlite3.Connection, session: Session) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(REPORT_COLUMNS)
    query = "SELECT rid, summary, message, severity, field FROM row_error WHERE session = ? ORDER BY line, rowid"
    for rid, summary, message, severity, name in db.execute(query, (session.id,)):
        blocks = severity == FATAL
        writer.writerow(
            [rid, f"{summary}: {message}", severity.upper(), name, "; ".join(SURFACES), str(blocks).lower()]
        )
    return text.getvalue().encode()
