"""Upload sessions of a feed: a file that is pushed, or fetched from a URL."""

import hashlib
import math
from array import array
from dataclasses import asdict

from hack.emulator import jsons, keysets, messages, params
from hack.emulator.bodies import UploadedFile
from hack.emulator.documented import Provenance, behaviour, documented
from hack.emulator.effects import Effects
from hack.emulator.journal import Journal, Mutation
from hack.emulator.params import Param
from hack.emulator.routing import Call, FieldDef, Mischief, NodeRef, Page, Subject, Type, fields, route
from hack.emulator.sections.catalog import feed_files, feed_rows
from hack.emulator.sections.catalog.feed_files import FileProblem
from hack.emulator.sections.catalog.item_rules import FATAL, Issue
from hack.emulator.sections.catalog.product_feed import feed_of
from hack.emulator.sections.catalog.times import written
from hack.emulator.sections.graph_api import paging
from hack.emulator.world import Feed, Session, World

UPLOAD_BYTES_MAX = 4 * 1024**3  # Business Help Center: feed file size
DIGEST_BLOCK_BYTES = 1024 * 1024
STUCK_SHARE = 0.5  # how far a stuck upload gets
FAILED_SECONDS = 2.0  # an unusable file is noticed soon
INPUT_METHODS = {"MANUAL_UPLOAD": "Manual Upload", "USER_INITIATED_SERVER_FETCH": "User initiated server fetch"}

behaviour(
    "upload.session",
    page="Product Feed Upload",
    section="Reading",
    provenance=Provenance.DOCUMENTED,
    says="an upload is a session with counters and no status: without end_time it runs, with it it is done",
)
behaviour(
    "upload.unusable_file",
    page="Troubleshoot a data feed (Business Help Center)",
    section="File-level failures",
    provenance=Provenance.REPORTED,
    says="a file that can't be used ends the session with one fatal error and no change to any item",
)


def upload_of(subject: Subject) -> Session:
    assert isinstance(subject, Session), "a route of ProductFeedUpload"
    return subject


def done(session: Session, now: float) -> bool:
    return session.ends <= now


def _counter(name: str) -> FieldDef:
    return FieldDef(lambda _, subject: getattr(upload_of(subject), name))


def _filename(call: Call, subject: Subject) -> jsons.Json:
    return upload_of(subject).filename if call.world.switches.filename_echoed == "true" else None


def _report(call: Call, subject: Subject) -> jsons.Json:
    session = upload_of(subject)
    if not session.report_at:
        return {"report_status": "NOT_REQUESTED"}
    if session.report_at > call.now:
        return {"report_status": "REQUESTED"}
    handle = call.world.opaque("report", session.id, length=24)
    return {"report_status": "WRITE_FINISHED", "file_handle": f"{call.base_url}/_reports/{session.id}/{handle}.csv"}


fields(
    Type.UPLOAD,
    {
        "id": FieldDef(lambda _, subject: str(upload_of(subject).id), default=True),
        "start_time": FieldDef(lambda _, subject: written(upload_of(subject).accepted), default=True),
        "end_time": FieldDef(
            lambda call, subject: written(upload_of(subject).ends) if done(upload_of(subject), call.now) else None,
            default=True,
        ),
        "error_count": _counter("errors"),
        "warning_count": _counter("warnings"),
        "num_detected_items": _counter("detected"),
        "num_persisted_items": _counter("persisted"),
        "num_invalid_items": _counter("invalid"),
        "num_deleted_items": _counter("deleted"),
        "filename": FieldDef(_filename),
        "url": FieldDef(lambda _, subject: upload_of(subject).url or None),
        "input_method": FieldDef(lambda _, subject: INPUT_METHODS[upload_of(subject).input_method]),
        "error_report": FieldDef(_report),
    },
)


@documented(
    "upload.create",
    page="Product Feed Uploads",
    section="Creating",
    says=(
        "POST uploads with file or url (else error 10801) answers the session id; update_only=false replaces, true "
        "creates and updates"
    ),
)
@route(
    "POST",
    Type.FEED,
    "uploads",
    params=[
        Param("file", params.file),
        Param("url", params.web_address),
        Param("update_only", params.boolean),
        Param("username", params.text),
        Param("password", params.text),
        Param("fbe_external_business_id", params.text),
    ],
    answers=Type.UPLOAD,
)
async def create(call: Call, subject: Subject) -> NodeRef:
    feed = feed_of(subject)
    file = call.parameters.get("file")
    url = call.text("url")
    if file is None and not url:
        raise messages.file_or_url()
    if file is not None and url:
        raise messages.invalid("Only one of file and url may be given", "file", "url")
    session = _new_session(call, feed, url=url)
    if isinstance(file, UploadedFile):
        if file.size > UPLOAD_BYTES_MAX:
            raise messages.please_reduce()
        session.filename = file.filename
        container = feed_files.container_of(file)
        _open(call, session)
        ingest(call.world, call.effects, call.journal, session, file, container=container, mischief=call.mischief)
    else:
        session.fetch = True
        session.mischief = asdict(call.mischief)
        session.ends = math.inf
        session.login = [call.text("username"), call.text("password")] if call.text("username") else []
        session.input_method = "USER_INITIATED_SERVER_FETCH"
        _open(call, session)
    return NodeRef(Type.UPLOAD, session)


def _new_session(call: Call, feed: Feed, *, url: str) -> Session:
    replace = not call.flag("update_only", default=False)
    number = call.world.new_id()
    delay = call.world.draw("delay", number) * call.world.switches.upload_delay_seconds + call.mischief.late_seconds
    visible = (
        call.now + call.mischief.late_seconds if call.mischief.late_seconds else call.world.visible_at(call.now, number)
    )
    return Session(
        id=number,
        kind="replace" if replace else "update",
        catalog=feed.catalog,
        feed=feed.id,
        app=call.token.app,
        mutation=len(call.journal.mutations) + 1,
        accepted=call.now,
        visible=visible,
        starts=call.now + delay,
        ends=call.now + delay,
        url=url,
        deletes=replace and feed.deletion_enabled,
        reads_lag=call.mischief.reads_lag,
    )


def _open(call: Call, session: Session) -> None:
    call.world.add(session)
    mutation = Mutation(
        id=session.mutation,
        request=call.record.seq,
        kind=session.kind,
        catalog=session.catalog,
        feed=session.feed,
        first_byte=call.record.first_byte,
        accepted=call.now,
        ends=session.ends,
        rows=0,
        session=str(session.id),
        filename=session.filename,
    )
    call.journal.open_mutation(mutation)
    call.record.mutation = mutation.id


def digest_of(file: UploadedFile) -> str:
    digest = hashlib.sha256()
    for offset in range(0, file.size, DIGEST_BLOCK_BYTES):
        digest.update(file.read(offset, DIGEST_BLOCK_BYTES))
    return digest.hexdigest()


def ingest(
    world: World,
    effects: Effects,
    journal: Journal,
    session: Session,
    file: UploadedFile,
    *,
    container: str,
    mischief: Mischief,
) -> None:
    """Read the file, plan what it does, and write down what it touches."""
    mutation = journal.mutation(session.mutation)
    mutation.digest = digest_of(file)
    feed = world.feeds[session.feed]
    if mischief.failure:
        problem = FileProblem("We couldn't read your data feed", mischief.failure)
        fail(world, effects, journal, session, problem, session.starts)
        return
    try:
        table = feed_files.open_table(
            file,
            container=container,
            every_member=world.switches.gzip_members == "all",
            encoding=str(feed.settings.get("encoding", "AUTODETECT")),
            delimiter=str(feed.settings.get("delimiter", "AUTODETECT")),
        )
        staged = feed_rows.stage(
            world, effects, session, table, currency=str(feed.settings.get("default_currency", "USD"))
        )
    except FileProblem as unusable:
        fail(world, effects, journal, session, unusable, session.starts)
        return
    deletable = keysets.keys_of(world.items.rids(session.catalog, session.feed)) if session.deletes else array("Q")
    mutation.keys = keysets.union(staged.keys, deletable)
    mutation.rows = session.detected
    mutation.ends = staged.last_effect
    mutation.duplicate_ids, mutation.duplicate_samples = staged.duplicate_ids, staged.duplicate_samples
    if mischief.stuck:
        _get_stuck(world, effects, session, mutation)
    if mischief.no_effects:
        effects.cancel(session)
    journal.save_mutation(mutation)
    world.save(session)


def fail(world: World, effects: Effects, journal: Journal, session: Session, problem: FileProblem, at: float) -> None:
    session.failed = problem.summary
    session.deletes = False
    session.invalid = session.detected = session.persisted = 0
    session.ends = at + FAILED_SECONDS
    issue = Issue(FATAL, "FEED_FILE_UNUSABLE", "", problem.summary, problem.description)
    effects.record_issues(session, 0, "", [issue], at)
    mutation = journal.mutation(session.mutation)
    mutation.refused = True
    mutation.ends = session.accepted
    journal.save_mutation(mutation)
    world.save(session)


def _get_stuck(world: World, effects: Effects, session: Session, mutation: Mutation) -> None:
    """Half of its span is worked through; then nothing happens any more, and it never ends."""
    until = session.starts + (session.ends - session.starts) * STUCK_SHARE
    effects.cancel_after(session, until)
    session.ends = math.inf
    mutation.ends = until
    world.save(session)


@documented(
    "upload.list",
    page="Product Feed Uploads",
    section="Reading",
    says="GET uploads lists the sessions of a feed; their order is unpublished (switch)",
)
@route("GET", Type.FEED, "uploads", answers=Type.UPLOAD, paged=True)
async def listed(call: Call, subject: Subject) -> Page:
    sessions = [call.world.sessions[one] for one in call.world.by_feed[feed_of(subject).id]]
    seen = [one for one in sessions if one.visible <= call.now]
    if call.world.switches.upload_order == "newest_first":
        seen.reverse()
    return paging.window(call, seen, lambda one: one.id, lambda one: NodeRef(Type.UPLOAD, one))


@route("GET", Type.UPLOAD)
async def read(_call: Call, subject: Subject) -> NodeRef:
    return NodeRef(Type.UPLOAD, subject)
