"""What all batches of items share: the envelope of a call, its answer, and the session that works it off later."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from hack.emulator import jsons, messages, params
from hack.emulator.items import SEPARATOR
from hack.emulator.journal import Mutation
from hack.emulator.judging import CREATE, DELETE, UPDATE, Row
from hack.emulator.keysets import canonical_id, item_key, keys_of
from hack.emulator.params import Param
from hack.emulator.routing import Call, Subject
from hack.emulator.sections.catalog import item_fields, item_rules
from hack.emulator.sections.catalog.item_fields import Kind
from hack.emulator.sections.catalog.item_rules import FATAL, Issue
from hack.emulator.sections.catalog.product_catalog import catalog_of
from hack.emulator.world import Session

REQUESTS_MAX = 5_000  # Catalog integration guide: updates per request
PAYLOAD_BYTES_MAX = 28 * 1024 * 1024  # Product Catalog Items Batch: whole payload
HANDLE_LENGTH = 88  # as in recent samples
METHODS = {"CREATE": CREATE, "UPDATE": UPDATE, "DELETE": DELETE}
COMMERCE_TYPES = ("PRODUCT_ITEM",)
OTHER_TYPES = (
    "APP_AND_SOFTWARE", "DESTINATION", "FLIGHT", "HOME_LISTING", "HOTEL", "HOTEL_ROOM", "MEDIA_TITLE",
    "STORE_PRODUCT_ITEM", "VEHICLE", "VEHICLE_OFFER",
)  # fmt: skip
DISPATCH_SHARE = 0.1  # of the time to finished: scheduled, then dispatched for as long, then started
PARTIAL_SHARE = 0.5  # of the rows of a broken batch are applied
PARAMS = (
    Param("item_type", params.one_of(*COMMERCE_TYPES, *OTHER_TYPES), required=True),
    Param("requests", params.array, required=True),
    Param("allow_upsert", params.boolean),
    Param("version", params.integer),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a call."""

    line: int
    operation: str
    rid: str
    data: jsons.Object
    whole: jsons.Object


@dataclass(slots=True)
class Read:
    """The requests of a call, sorted into what will be tried and what was said about them at once."""

    rows: list[Row] = field(default_factory=list)
    late_issues: list[tuple[int, str, tuple[Issue, ...]]] = field(default_factory=list)
    status: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def say(self, rid: str, kind: str, text: str) -> None:
        self.status.setdefault(rid, {}).setdefault(kind, []).append(text)

    def values(self, asked: Asked) -> dict[str, str]:
        """The fields that exist, as text; others are named."""
        values = {"id": asked.rid}
        for name, value in asked.data.items():
            if name == "id":
                continue
            if item_fields.known(name):
                values[name] = text_of(value)
                continue
            words = f"Unrecognised field: A request for item {asked.rid} contains unrecognised field: '{name}'"
            self.say(asked.rid, "warnings", words)
        return values

    def judge(self, call: Call, asked: Asked, issues: Sequence[Issue]) -> bool:
        """Say what is wrong with a row, now or later. Answers whether the row is tried."""
        fatal = any(issue.severity == FATAL for issue in issues)
        if fatal and call.world.switches.batch_rows_checked == "at_once":
            for issue in issues:
                self.say(asked.rid, "errors" if issue.severity == FATAL else "warnings", issue.message)
            if call.world.switches.sync_error_rows_attempted == "false":
                return False
        if issues:
            self.late_issues.append((asked.line, asked.rid, tuple(issues)))
        return not fatal


ReadOne: TypeAlias = "Callable[[Call, Read, Asked], None]"


def run(call: Call, subject: Subject, read_one: ReadOne, kind: str) -> jsons.Json:
    """Answer one batch. `read_one` sorts a request; `kind` is what its session and mutation are called."""
    catalog = catalog_of(subject)
    if call.body_size > PAYLOAD_BYTES_MAX:
        raise messages.please_reduce()
    if call.text("item_type") not in COMMERCE_TYPES:
        raise messages.not_built("Item types other than products")
    if catalog.vertical not in ("commerce", "offline_commerce", "generic"):
        raise messages.invalid(
            f"Item type PRODUCT_ITEM is not supported in a catalog of vertical {catalog.vertical}", "item_type"
        )
    requests = call.list("requests")
    if len(requests) > REQUESTS_MAX:
        raise messages.invalid(f"Too many requests: {len(requests)}. At most {REQUESTS_MAX} are allowed.", "requests")
    read = _read(call, requests, read_one)
    answer: jsons.Object = {"handles": []}
    if read.rows or read.late_issues:
        answer["handles"] = [_open(call, catalog.id, read, len(requests), kind).handle]
    if read.status and call.world.switches.validation_status == "present":
        answer["validation_status"] = [
            {"retailer_id": rid, **{kind: [{"message": text} for text in texts] for kind, texts in said.items()}}
            for rid, said in read.status.items()
        ]
    return answer


def _read(call: Call, requests: Sequence[jsons.Json], read_one: ReadOne) -> Read:
    read = Read()
    doubled = _doubled(requests) if call.world.switches.duplicate_ids_in_batch == "refuse" else frozenset()
    for line, request in enumerate(requests, start=1):
        one = jsons.as_object(request)
        method = one.get("method")
        data = one.get("data")
        if not isinstance(method, str) or method.upper() not in METHODS:
            raise messages.invalid(
                f"requests[{line - 1}][method] must be one of {{CREATE, UPDATE, DELETE}}", "requests"
            )
        if not isinstance(data, dict):
            raise messages.invalid(f"requests[{line - 1}][data] must be an object", "requests")
        rid = canonical_id(text_of(data.get("id")))
        if item_key(rid) in doubled:
            read.say(rid, "errors", "Duplicate id: this item appears more than once in this call.")
            continue
        if not rid or len(rid) > item_fields.ID_MAX:
            read.say(rid, "errors", "A required field is missing: id" if not rid else "id is too long")
            continue
        read_one(call, read, Asked(line, METHODS[method.upper()], rid, data, one))
    return read


def _doubled(requests: Sequence[jsons.Json]) -> frozenset[int]:
    seen: set[int] = set()
    twice: set[int] = set()
    for request in requests:
        key = item_key(canonical_id(text_of(jsons.as_object(jsons.as_object(request).get("data")).get("id"))))
        (twice if key in seen else seen).add(key)
    return frozenset(twice)


def text_of(value: jsons.Json) -> str:
    """A field's value as the text that is kept."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.replace(SEPARATOR, " ")
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value in ([], {}) else jsons.dump_text(value)


def dropped(issues: Sequence[Issue]) -> set[str]:
    return {issue.field for issue in issues if issue.type == "INVALID_TYPE"}


def typed(name: str, value: jsons.Json) -> Issue | None:
    """In JSON a value has a type of its own; only nested fields and lists may be neither text nor a number."""
    rule = item_fields.RULES.get(name)
    if rule is None or value is None or isinstance(value, str):
        return None
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    nested = isinstance(value, list | dict)
    allowed = {
        Kind.INTEGER: numeric,
        Kind.NUMBER: numeric,
        Kind.BOOLEAN: isinstance(value, bool),
        Kind.JSON: nested,
        Kind.URLS: nested,
    }
    if allowed.get(rule.kind, False) or (name == "shipping" and nested):
        return None
    words = f"{name} must be text."
    return Issue(FATAL if rule.required else item_rules.WARNING, "INVALID_TYPE", name, "Unsupported value", words)


def _open(call: Call, catalog: int, read: Read, count: int, kind: str) -> Session:
    world, switches = call.world, call.world.switches
    number = world.new_id()
    length = switches.batch_seconds_min + world.draw("batch", number) * max(
        0.0, switches.batch_seconds_max - switches.batch_seconds_min
    )
    begins = call.now + call.mischief.late_seconds
    session = Session(
        id=number,
        kind=kind,
        catalog=catalog,
        feed=0,
        app=call.token.app,
        mutation=len(call.journal.mutations) + 1,
        accepted=call.now,
        visible=begins,
        dispatched=begins + length * DISPATCH_SHARE,
        starts=begins + 2 * length * DISPATCH_SHARE,
        ends=begins + length,
        rows=count,
        detected=count,
        handle="Ac" + world.opaque("handle", number, length=HANDLE_LENGTH - 2),
        upsert=call.flag("allow_upsert", default=True),
        broken=call.mischief.partial,
        lost=call.mischief.lose_handle,
        reads_lag=call.mischief.reads_lag,
    )
    world.add(session)
    rows = read.rows
    if session.broken:
        rng = world.rng("partial", number)
        rows = [row for row in rows if rng.random() < PARTIAL_SHARE]
    if call.mischief.no_effects:
        rows = []
    last = call.effects.scatter(session, rows) if rows else session.ends
    for line, rid, issues in read.late_issues:
        call.effects.record_issues(session, line, rid, issues, session.starts)
    _log(call, session, read, last)
    world.save(session)
    return session


def _log(call: Call, session: Session, read: Read, last: float) -> None:
    rids = [row[2] for row in read.rows]
    keys = keys_of(rids)
    doubled = sorted({rid for rid in rids if rids.count(rid) > 1}) if len(keys) < len(rids) else []
    mutation = Mutation(
        id=session.mutation,
        request=call.record.seq,
        kind=session.kind,
        catalog=session.catalog,
        feed=0,
        first_byte=call.record.first_byte,
        accepted=call.now,
        ends=last,
        rows=session.rows,
        handle=session.handle,
        session=str(session.id),
        duplicate_ids=len(doubled),
        duplicate_samples=doubled[:10],
        keys=keys,
    )
    call.journal.open_mutation(mutation)
    call.record.mutation = mutation.id
