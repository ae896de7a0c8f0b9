"""The control interface under /_emulator: for tests and people, never for a client of Meta. No token."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import parse_qsl

from hack.emulator import auditor, bodies, jsons, switches
from hack.emulator.items import BATCH_OWNER, Item
from hack.emulator.journal import WitnessRecord, WitnessRemoval
from hack.emulator.keysets import canonical_id
from hack.emulator.messages import GraphError
from hack.emulator.sections.catalog import item_fields
from hack.emulator.wire import Request, Response, http_date
from hack.emulator.world import App, Token

if TYPE_CHECKING:
    from hack.emulator.app import Emulator

PREFIX = "/_emulator"
ITEMS_PAGE = 10_000
Endpoint: TypeAlias = "Callable[[Emulator, dict[str, str], jsons.Json], Awaitable[Response]]"
ENDPOINTS: dict[tuple[str, str], Endpoint] = {}


def endpoint(method: str, path: str) -> Callable[[Endpoint], Endpoint]:
    def register(function: Endpoint) -> Endpoint:
        ENDPOINTS[(method, path)] = function
        return function

    return register


def _json(value: jsons.Json, status: int = 200) -> Response:
    return Response(status, jsons.dump(value) + b"\n", {"Content-Type": "application/json"})


async def handle(emulator: "Emulator", request: Request, body: bodies.Buffer) -> Response:
    function = ENDPOINTS.get((request.method, request.path.removeprefix(PREFIX)))
    if function is None:
        known = sorted(f"{method} {PREFIX}{path}" for method, path in ENDPOINTS)
        return _json({"error": f"no such control call: {request.method} {request.path}", "calls": known}, 404)
    try:
        document = jsons.parse(bytes(body)) if len(body) else None
        return await function(emulator, dict(parse_qsl(request.query)), document)
    except (ValueError, GraphError) as problem:
        text = problem.message if isinstance(problem, GraphError) else str(problem)
        return _json({"error": text}, 400)


@endpoint("GET", "/audit")
async def audit(emulator: "Emulator", query: dict[str, str], _body: jsons.Json) -> Response:
    reserve = float(query.get("reserve_percent", "0"))
    return _json(auditor.audit(emulator.journal, emulator.switches, reserve_percent=reserve))


@endpoint("GET", "/stats")
async def stats(emulator: "Emulator", _query: dict[str, str], _body: jsons.Json) -> Response:
    world, journal = emulator.world, emulator.journal
    by_kind: dict[str, int] = {}
    for mutation in journal.mutations:
        by_kind[mutation.kind] = by_kind.get(mutation.kind, 0) + 1
    codes: dict[str, int] = {}
    for record in journal.requests:
        codes[str(record.code)] = codes.get(str(record.code), 0) + 1
    return _json(
        {
            "now": emulator.now(),
            "requests": len(journal.requests),
            "error_codes": dict(sorted(codes.items())),
            "mutations": by_kind,
            "catalogs": {
                str(one.id): {
                    "name": one.name,
                    "feeds": len(world.by_catalog[one.id]),
                    "items": world.items.count(one.id),
                }
                for one in world.catalogs.values()
            },
            "sessions_running": sum(1 for one in world.sessions.values() if one.ends > emulator.now()),
            "effects_pending": int(emulator.store.db.execute("SELECT count(*) FROM effect").fetchone()[0]),
            "faults_struck": dict(sorted(emulator.faults.struck.items())),
        }
    )


@endpoint("GET", "/mutations")
async def mutations(emulator: "Emulator", query: dict[str, str], _body: jsons.Json) -> Response:
    after = int(query.get("after", "0"))
    rows: list[jsons.Json] = []
    for mutation in emulator.journal.mutations[after:]:
        row: jsons.Object = asdict(mutation)
        row["keys"] = len(mutation.keys)
        rows.append(row)
    return _json({"mutations": rows})


@endpoint("GET", "/requests")
async def requests(emulator: "Emulator", query: dict[str, str], _body: jsons.Json) -> Response:
    after = int(query.get("after", "0"))
    limit = int(query.get("limit", "1000"))
    return _json({"requests": [asdict(one) for one in emulator.journal.requests[after : after + limit]]})


@endpoint("GET", "/faults")
async def faults(emulator: "Emulator", _query: dict[str, str], _body: jsons.Json) -> Response:
    return _json(emulator.faults.show())


@endpoint("POST", "/faults")
async def arm(emulator: "Emulator", _query: dict[str, str], body: jsons.Json) -> Response:
    wishes = jsons.as_list(body) if isinstance(body, list) else [body]
    return _json({"armed": [asdict(emulator.faults.arm(jsons.as_object(wish))) for wish in wishes]})


@endpoint("DELETE", "/faults")
async def disarm(emulator: "Emulator", query: dict[str, str], _body: jsons.Json) -> Response:
    return _json({"disarmed": emulator.faults.disarm(int(query["id"]) if "id" in query else None)})


def _clock(emulator: "Emulator") -> Response:
    return _json({"now": emulator.now(), "date": http_date(emulator.now())})


@endpoint("GET", "/clock")
async def clock(emulator: "Emulator", _query: dict[str, str], _body: jsons.Json) -> Response:
    return _clock(emulator)


@endpoint("POST", "/clock")
async def move(emulator: "Emulator", _query: dict[str, str], body: jsons.Json) -> Response:
    """{"advance": seconds}"""
    wish = jsons.as_object(body).get("advance")
    if isinstance(wish, bool) or not isinstance(wish, int | float):
        raise ValueError('send {"advance": seconds}')  # noqa: TRY004  # what a caller sent is a value
    emulator.move_clock(float(wish))
    emulator.effects.apply(emulator.now())
    return _clock(emulator)


@endpoint("GET", "/tokens")
async def tokens(emulator: "Emulator", _query: dict[str, str], _body: jsons.Json) -> Response:
    return _json(
        {
            "tokens": [asdict(one) for one in emulator.world.tokens.values()],
            "apps": [asdict(one) for one in emulator.world.apps.values()],
            "businesses": dict(emulator.world.businesses),
        }
    )


@endpoint("POST", "/tokens")
async def set_token(emulator: "Emulator", _query: dict[str, str], body: jsons.Json) -> Response:
    """Make or change a token; its app and business come into being with it."""
    wish = jsons.as_object(body)
    known = {
        "token",
        "app_id",
        "app_secret",
        "proof_required",
        "business",
        "scopes",
        "expires_in",
        "expires_at",
        "subcode",
        "user",
    }
    if unknown := sorted(set(wish) - known):
        raise ValueError(f"a token has no {', '.join(unknown)}; it may have {', '.join(sorted(known))}")
    world, now = emulator.world, emulator.now()
    value = jsons.as_text(wish.get("token")) or world.opaque("token", len(world.tokens), length=40)
    token = world.tokens.get(value) or Token(
        value=value, app=jsons.as_text(wish.get("app_id")) or next(iter(world.apps)), issued=now
    )
    token.app = jsons.as_text(wish.get("app_id"), token.app)
    app = world.apps.setdefault(token.app, App(id=token.app, secret=world.opaque("secret", token.app, length=32)))
    app.secret = jsons.as_text(wish.get("app_secret"), app.secret)
    app.proof_required = bool(wish.get("proof_required", app.proof_required))
    token.business = jsons.as_text(wish.get("business"), token.business)
    world.businesses.setdefault(token.business, f"Business {token.business}")
    token.user = jsons.as_text(wish.get("user"), token.user)
    if "scopes" in wish:
        token.scopes = [str(one) for one in jsons.as_list(wish["scopes"])]
    if "expires_at" in wish:
        token.expires = jsons.as_number(wish["expires_at"])
    if "expires_in" in wish:
        token.expires = now + jsons.as_number(wish["expires_in"])
    if "subcode" in wish:  # null makes it good again
        token.subcode = None if wish["subcode"] is None else jsons.as_integer(wish["subcode"])
    world.tokens[value] = token
    world.save_access()
    return _json({"token": asdict(token), "app": asdict(app)})


@endpoint("POST", "/witness")
async def witness(emulator: "Emulator", _query: dict[str, str], body: jsons.Json) -> Response:
    """What the source says: {"records": [{item, field, value, sequence, at}], "removals": [{item, at, approved}]}"""
    document = jsons.as_object(body)
    now = emulator.now()
    records = [
        WitnessRecord(
            item=canonical_id(_needed(one, "item")),
            field=_needed(one, "field"),
            value=jsons.as_text(one.get("value")),
            sequence=jsons.as_integer(one.get("sequence")),
            at=jsons.as_number(one.get("at"), now),
            catalog=jsons.as_text(one.get("catalog")),
        )
        for one in map(jsons.as_object, jsons.as_list(document.get("records")))
    ]
    removals = [
        WitnessRemoval(
            item=canonical_id(_needed(one, "item")),
            at=jsons.as_number(one.get("at"), now),
            catalog=jsons.as_text(one.get("catalog")),
            approved=one.get("approved", True) is not False,
        )
        for one in map(jsons.as_object, jsons.as_list(document.get("removals")))
    ]
    emulator.journal.witness(records, removals)
    return _json({"records": len(records), "removals": len(removals)})


def _needed(one: jsons.Object, name: str) -> str:
    value = jsons.as_text(one.get(name))
    if not value:
        raise ValueError(f"a witness record needs {name}")
    return value


@endpoint("GET", "/switches")
async def show_switches(emulator: "Emulator", _query: dict[str, str], _body: jsons.Json) -> Response:
    return _json({"switches": emulator.switches.show(), "described": switches.describe()})


@endpoint("POST", "/switches")
async def set_switches(emulator: "Emulator", _query: dict[str, str], body: jsons.Json) -> Response:
    for name, value in jsons.as_object(body).items():
        emulator.switches.set(name, value)
    emulator.store.set_meta("switches", emulator.switches.show())
    return _json({"switches": emulator.switches.show()})


def _items(emulator: "Emulator", catalog: int, after: int, limit: int) -> Iterator[jsons.Object]:
    rows = emulator.world.items.page(catalog, None, after=after, limit=limit)
    overrides = emulator.world.overrides.between(rows[0].n, rows[-1].n) if rows else {}
    for item in rows:
        yield {
            "n": item.n,
            "id": item.rid,
            "meta_id": item.id,
            "feed": None if item.owner == BATCH_OWNER else str(item.owner),
            "changed": item.changed,
            "values": dict(emulator.world.items.decode(item.layout, item.row)),
            "overrides": {one.key: dict(one.values) for one in overrides.get(item.n, ())},
        }


@endpoint("GET", "/items")
async def items(emulator: "Emulator", query: dict[str, str], _body: jsons.Json) -> Response:
    """The truth about items, as JSON lines: ?catalog=ID[&after=n][&limit=…]. The last line says where to go on."""
    catalog = int(query.get("catalog", "0"))
    if catalog not in emulator.world.catalogs:
        raise ValueError(f"there is no catalog {catalog}; give ?catalog=ID")
    limit = min(int(query.get("limit", str(ITEMS_PAGE))), ITEMS_PAGE)
    rows = list(_items(emulator, catalog, int(query.get("after", "0")), limit))
    lines = [jsons.dump(row) for row in rows]
    if len(rows) == limit:
        lines.append(jsons.dump({"next": rows[-1]["n"]}))
    return Response(200, b"\n".join(lines) + b"\n", {"Content-Type": "application/x-ndjson"})


@endpoint("POST", "/items")
async def foreign_write(emulator: "Emulator", _query: dict[str, str], body: jsons.Json) -> Response:
    """Somebody else edits an item: {"catalog", "id", "values": {field: text} | "delete": true}."""
    wish = jsons.as_object(body)
    world, now = emulator.world, emulator.now()
    catalog = int(str(wish.get("catalog", "0")))
    rid = canonical_id(jsons.as_text(wish.get("id")))
    if catalog not in world.catalogs or not rid:
        raise ValueError("send catalog, id, and values or delete")
    before = world.items.get(catalog, rid)
    if wish.get("delete") is True:
        if before is not None:
            world.items.delete([before], remember=False)
        return _json({"deleted": before is not None})
    values = {name: str(value) for name, value in jsons.as_object(wish.get("values")).items()}
    if unknown := sorted(name for name in values if not item_fields.known(name)):
        raise ValueError(f"an item has no {', '.join(unknown)}")
    old = world.items.decode(before.layout, before.row) if before is not None else {"id": rid}
    merged = {name: value for name, value in {**old, **values}.items() if value}
    layout, row = world.items.encode(merged)
    if before is None:
        world.items.insert([Item(0, catalog, rid, BATCH_OWNER, layout, row, now, now)])
    else:
        world.items.update([Item(before.n, catalog, rid, before.owner, layout, row, before.created, now)])
    return _json({"values": dict(merged)})


@endpoint("GET", "/refusals")
async def refusals(emulator: "Emulator", query: dict[str, str], _body: jsons.Json) -> Response:
    """Every row that was refused or warned about, up to now: ?session=ID (of an upload, or of a batch's mutation)."""
    sql = (
        "SELECT at, line, rid, severity, type, field, summary, message FROM row_error WHERE session = ? ORDER BY rowid"
    )
    names = ("at", "line", "item", "severity", "type", "field", "summary", "message")
    rows = emulator.store.db.execute(sql, (int(query.get("session", "0")),)).fetchall()
    return _json({"refusals": [dict(zip(names, row, strict=True)) for row in rows if row[0] <= emulator.now()]})


@endpoint("GET", "/issues")
async def issues(_emulator: "Emulator", _query: dict[str, str], _body: jsons.Json) -> Response:
    """Diagnostics are not emulated yet: there are none."""
    return _json({"issues": []})
