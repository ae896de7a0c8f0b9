"""The emulator: one `handle` from request to answer, behind whichever front.

    request ── faults ── control? ── version ── token ── node ── quota ── parameters ── handler ── answer ── journal

Nothing here knows about sockets. Time is the injected clock; before each request everything that is due by then has
happened (`advance`), so no thread and no timer is needed.
"""

import asyncio
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hack.emulator import bodies, control, faults, fetching, jsons, messages, params
from hack.emulator.bodies import Parameters
from hack.emulator.effects import Effects
from hack.emulator.faults import FaultPlan, Strike
from hack.emulator.fetching import Fetcher, no_fetcher
from hack.emulator.journal import Journal, RequestRecord
from hack.emulator.messages import GraphError
from hack.emulator.routing import (
    NOT_YET,
    ROUTES,
    Bucket,
    Call,
    Named,
    NodeRef,
    Page,
    Person,
    Route,
    Type,
    edge_exists,
)
from hack.emulator.sections.catalog import (
    check_batch_request_status,
    feed_upload_errors,
    item_overrides,
    items_batch,
    localized_items_batch,
    product_catalog,
    product_feed,
    product_items,
)
from hack.emulator.sections.graph_api import access_tokens, batch_requests, rate_limits, reading, versions
from hack.emulator.storage import Store
from hack.emulator.switches import Switches
from hack.emulator.wire import Request, Response, Wire, http_date
from hack.emulator.world import TEST_USER, Catalog, Feed, Session, Token, UploadError, World

SECTIONS = (
    check_batch_request_status,
    feed_upload_errors,
    item_overrides,
    items_batch,
    localized_items_batch,
    product_catalog,
    product_feed,
)
JSON_TYPE = "application/json; charset=UTF-8"
REPORTS = "/_reports/"


@dataclass(slots=True)
class _Visit:
    """A request on its way through."""

    request: Request
    strike: Strike
    record: RequestRecord
    quotas: list[rate_limits.Key] = field(default_factory=list)
    version: str = versions.LIVE[0]


class Emulator:
    """`clock` answers unix seconds. With `state`, everything committed survives the death of the process."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        seed: int = 0,
        state: Path | None = None,
        switches: Mapping[str, jsons.Json] | Switches | None = None,
        fetcher: Fetcher = no_fetcher,
    ) -> None:
        self._clock = clock
        self.store = Store(state)
        self.switches = switches if isinstance(switches, Switches) else self._switches(switches or {})
        self.store.set_meta("switches", self.switches.show())
        self.world = World(self.store, seed=seed, switches=self.switches)
        self.journal = Journal(self.store)
        self.effects = Effects(self.world, self.journal)
        self.faults = FaultPlan(self.world.rng("faults"))
        self.quotas = rate_limits.Quotas(self.switches)
        self.fetcher = fetcher
        self._offset = 0.0
        self._seq = len(self.journal.requests)
        self._lock = asyncio.Lock()
        self._restore()

    def _switches(self, wanted: Mapping[str, jsons.Json]) -> Switches:
        """Those of the last run, and on top of them those that are wanted now."""
        switches = Switches()
        for name, value in {**jsons.as_object(self.store.meta("switches")), **wanted}.items():
            switches.set(name, value)
        return switches

    # -- time

    def now(self) -> float:
        return self._clock() + self._offset

    def _restore(self) -> None:
        """Time never goes back over a restart, and quotas are remembered."""
        last = jsons.as_number(self.store.meta("now"), -math.inf)
        self._offset = max(0.0, last - self._clock())
        horizon = self.now() - rate_limits.HOUR
        seen = [
            ((one.app, one.catalog, one.bucket), one.first_byte)
            for one in self.journal.requests
            if one.bucket and one.first_byte > horizon
        ]
        self.quotas.restore(seen, self.store.meta("blocks"))

    def move_clock(self, seconds: float) -> float:
        """Raises ValueError: time only goes forward."""
        if not 0 <= seconds < math.inf:
            raise ValueError(f"advance must be a number of seconds from 0, not {seconds}")
        self._offset += seconds
        return self.now()

    async def advance(self) -> None:
        """Everything that is due by now happens. Called at each request; a front may call it more often."""
        await self._fetch_due()
        async with self._lock:
            self.store.begin()
            self.effects.apply(self.now())
            self._commit()

    async def _fetch_due(self) -> None:
        """Without the lock: who serves the file may call the emulator while it does."""
        for session in fetching.due(self.world, self.now()):
            fetched = await fetching.fetch(self.fetcher, session)
            async with self._lock:
                self.store.begin()
                self.effects.apply(self.now())
                fetching.arrive(self.world, self.effects, self.journal, session, fetched, self.now())
                self._commit()

    def _commit(self) -> None:
        if self.store.durable:
            self.store.set_meta("now", self.now())
            self.store.set_meta("blocks", self.quotas.saved())
        self.store.commit()

    def close(self) -> None:
        self.store.close()

    # -- requests

    def strike(self, method: str, path: str) -> Strike:
        """Which faults hit a request; a front asks before it reads the body. Control calls are spared."""
        return Strike() if path.startswith((control.PREFIX, REPORTS)) else self.faults.strike(method, path)

    async def handle(
        self, request: Request, strike: Strike | None = None, *, first_byte: float | None = None
    ) -> Response:
        """Never raises for what a client sends. `Response.wire` says what becomes of the answer on its way back.

        A front that reads the body itself says when it had the first byte.
        """
        hit = self.strike(request.method, request.path) if strike is None else strike
        started = [self.now()]

        def mark_first_byte() -> None:
            started[0] = self.now() if first_byte is None else first_byte

        most = int(hit.number("reset", "bytes", 0)) if "reset" in hit else None
        body = await bodies.collect(request.body, mark_first_byte, most)
        if "reset" in hit or "drop_before" in hit:
            return Response(status=0, wire=Wire.NOTHING)
        latency = hit.get("latency")
        if latency is not None and latency.phase == "request":
            await asyncio.sleep(latency.number("seconds", 1))
        await self._fetch_due()
        async with self._lock:
            self.store.begin()
            self.effects.apply(self.now())
            response = await self._answer(request, hit, body, started[0])
            self._commit()
        if latency is not None and latency.phase == "answer":
            await asyncio.sleep(latency.number("seconds", 1))
            self._correct(response.seq, answered=self.now())
        return response

    def undelivered(self, response: Response) -> None:
        """The client was gone when its answer was ready: what the answer told, nobody was told."""
        self._correct(response.seq, delivered=False)

    def _correct(self, seq: int, *, answered: float | None = None, delivered: bool | None = None) -> None:
        record = next((one for one in reversed(self.journal.requests) if one.seq == seq), None)
        if record is None:
            return
        record.answered = record.answered if answered is None else answered
        record.delivered = record.delivered if delivered is None else delivered
        self.journal.rewrite_request(record)
        self._mark_mutation(record)

    def _mark_mutation(self, record: RequestRecord) -> None:
        if record.mutation and not record.delivered:
            mutation = self.journal.mutation(record.mutation)
            mutation.delivered = False
            self.journal.save_mutation(mutation)

    async def _answer(self, request: Request, strike: Strike, body: bodies.Buffer, first_byte: float) -> Response:
        if request.path.startswith(control.PREFIX):
            return await control.handle(self, request, body)
        if request.path.startswith(REPORTS):
            return self._report_file(request.path)
        self._seq += 1
        record = RequestRecord(self._seq, first_byte, self.now(), request.method, request.path)
        visit = _Visit(request, strike, record)
        response = await self._graph(visit, body)
        self._dress(visit, response)
        self._break(visit, response)
        record.answered = self.now()
        record.status = response.status
        record.delivered = response.wire is Wire.WHOLE
        response.seq = record.seq
        self._mark_mutation(record)
        self.journal.request(record)
        return response

    async def _graph(self, visit: _Visit, body: bodies.Buffer) -> Response:
        """Faults that answer in the place of the API, else the API."""
        refusal = faults.answer_instead(visit.strike)
        if refusal is not None and not faults.works_first(visit.strike):
            return refusal
        try:
            found = bodies.parse(visit.request.query, visit.request.headers.get("content-type", ""), body)
            visit.version, parts = versions.split(visit.request.path)
            answer = await self._dispatch(visit, parts, found, len(body))
            response = Response(200, jsons.dump(answer))
        except GraphError as error:
            visit.record.code = error.code
            response = self._error(error, visit.record.seq)
        return refusal or response

    def _error(self, error: GraphError, seq: int) -> Response:
        trace = self.world.opaque("trace", seq, length=23)
        return Response(error.status, jsons.dump(error.envelope(trace)), dict(error.headers))

    async def _dispatch(self, visit: _Visit, parts: list[str], found: Parameters, size: int) -> jsons.Json:
        if not parts and visit.request.method == "POST" and "batch" in found:
            token = self._authenticate(visit.request.headers, found)
            visit.record.app = token.app
            return await batch_requests.run(self._inner(visit), found)
        return await self._one(visit, parts, found, size)

    def _inner(self, visit: _Visit) -> batch_requests.Runner:
        """Runs one operation of a batch of calls as a call of its own."""

        async def run(method: str, path: str, query: str, found: Parameters) -> batch_requests.Result:
            self._seq += 1
            record = RequestRecord(self._seq, visit.record.first_byte, self.now(), method, path)
            request = Request(method, path, query, visit.request.headers, b"", visit.request.scheme)
            inner = _Visit(request, Strike(), record)
            try:
                inner.version, parts = versions.split(path if path.startswith("/v") else f"/{visit.version}{path}")
                status, answer = 200, jsons.dump(await self._one(inner, parts, found, 0))
            except GraphError as error:
                record.code = error.code
                response = self._error(error, record.seq)
                status, answer = response.status, response.body
            record.status = status
            self.journal.request(record)
            headers = Response(status, answer)
            self._dress(inner, headers)
            return batch_requests.Result(status, headers.headers, answer)

        return run

    async def _one(self, visit: _Visit, parts: list[str], found: Parameters, size: int) -> jsons.Json:
        method = _method(visit.request.method, found)
        token = self._authenticate(visit.request.headers, found)
        visit.record.app = token.app
        self._faulty_token(visit.strike)
        if not parts and method == "GET" and "ids" in found:
            return await self._many(visit, found)
        ref, edge = self._locate(parts, token, method)
        route = _route(method, ref, edge, parts)
        if route.scope and route.scope not in token.scopes:
            raise messages.no_permission(route.scope)
        self._count(visit, route, ref, token)
        call = Call(
            world=self.world,
            journal=self.journal,
            effects=self.effects,
            now=self.now(),
            method=method,
            version=visit.version,
            base_url=visit.request.base_url,
            token=token,
            record=visit.record,
            parameters=params.check_all(
                found,
                route.params,
                paged=method == "GET" and edge != "",
                where=f"{method} {ref.type}/{edge}".rstrip("/"),
            ),
            raw=found,
            body_size=size,
            mischief=faults.mischief(visit.strike),
        )
        return await _render(call, route, ref, parts)

    async def _many(self, visit: _Visit, found: Parameters) -> jsons.Json:
        """`?ids=1,2` reads several nodes; each counts as a call."""
        answer: jsons.Object = {}
        rest = {name: value for name, value in found.items() if name != "ids"}
        for id_ in [one for one in str(found["ids"]).split(",") if one]:
            answer[id_] = await self._one(visit, [id_], rest, 0)
        return answer

    def _authenticate(self, headers: Mapping[str, str], found: Parameters) -> Token:
        token = access_tokens.check(self.world, access_tokens.given(headers, found), self.now())
        access_tokens.check_proof(self.world, token, found)
        return token

    # -- nodes

    def _locate(self, parts: list[str], token: Token, verb: str) -> tuple[NodeRef, str]:
        """The node of a path, and the edge behind it."""
        if not parts:
            raise messages.unknown_path("")
        head, edge = parts[0], "/".join(parts[1:])
        if head == "me":
            return NodeRef(Type.USER, Person(token.user or TEST_USER, "Emulated system user")), edge
        if head == "app":
            return NodeRef(Type.APP, self.world.apps[token.app]), edge
        if not head[:1].isdigit():
            return NodeRef(Type.ROOT, None), "/".join(parts)
        ref = self._node(head, token)
        if ref is None:
            raise messages.not_visible(head, verb.lower())
        return ref, edge

    def _node(self, id_: str, token: Token) -> NodeRef | None:
        if id_ in self.world.businesses:
            return NodeRef(Type.BUSINESS, Named(id_, self.world.businesses[id_])) if id_ == token.business else None
        if id_ == token.app:
            return NodeRef(Type.APP, self.world.apps[id_])
        if not params.is_digits(id_):
            return None
        node = self.world.nodes.get(int(id_)) or self.world.items.by_number(product_items.number_of(id_))
        if node is None:
            return None
        catalog = _catalog_of(self.world, node)
        if catalog is None or catalog.business != token.business:
            return None
        if isinstance(node, Session) and node.handle:
            return None
        item = node if not isinstance(node, Catalog | Feed | Session | UploadError) else None
        if item is not None and self.world.reads.past:
            item = self.world.reads.seen(item, self.now())
            return NodeRef(Type.ITEM, item) if item is not None else None
        return NodeRef(TYPES.get(type(node), Type.ITEM), node)

    # -- quota

    def _count(self, visit: _Visit, route: Route, ref: NodeRef, token: Token) -> None:
        catalog = _catalog_of(self.world, ref.subject)
        bucket = route.bucket if catalog is not None else Bucket.PLATFORM
        key = (token.app, catalog.id if catalog is not None else 0, str(bucket))
        visit.quotas.append(key)
        visit.record.catalog, visit.record.bucket = key[1], key[2]
        now = self.now()
        throttle = visit.strike.get("throttle")
        if throttle is not None:
            code = int(throttle.number("code", 80014 if bucket is Bucket.BATCH else 80009 if catalog else 4))
            self.quotas.block(key, now=now, until=now + throttle.number("minutes", 5) * rate_limits.MINUTE, code=code)
        refused = self.quotas.count(key, now)
        if refused is not None:
            error, minutes = refused
            visit.record.told_minutes = minutes
            raise error

    # -- answers

    def _dress(self, visit: _Visit, response: Response) -> None:
        response.headers.setdefault("Content-Type", JSON_TYPE)
        response.headers["Date"] = http_date(self.now())
        response.headers["facebook-api-version"] = visit.version
        response.headers["x-fb-trace-id"] = self.world.opaque("trace", visit.record.seq, length=11)
        for key in visit.quotas:
            response.headers.update(self.quotas.headers(key, self.now()))
        if response.status == 200 and visit.request.method == "GET":
            tag = f'"{hashlib.blake2b(response.body, digest_size=20).hexdigest()}"'
            response.headers["ETag"] = tag
            if visit.request.headers.get("if-none-match") == tag:
                response.status, response.body = 304, b""

    def _break(self, visit: _Visit, response: Response) -> None:
        if "drop_after" in visit.strike:
            response.wire = Wire.NOTHING
        elif "half_answer" in visit.strike:
            response.wire = Wire.HALF

    def _faulty_token(self, strike: Strike) -> None:
        fault = strike.get("token")
        if fault is not None:
            raise messages.bad_token(int(fault.number("subcode", 463)))

    def _report_file(self, path: str) -> Response:
        parts = path.removeprefix(REPORTS).split("/")
        session = self.world.sessions.get(int(parts[0])) if params.is_digits(parts[0]) else None
        if (
            session is None
            or len(parts) != 2
            or parts[1] != f"{self.world.opaque('report', session.id, length=24)}.csv"
        ):
            return Response(404, b"Not Found", {"Content-Type": "text/plain"})
        content = feed_upload_errors.report_csv(self.store.db, session)
        return Response(200, content, {"Content-Type": "text/csv; charset=utf-8"})


TYPES: dict[type, Type] = {Catalog: Type.CATALOG, Feed: Type.FEED, Session: Type.UPLOAD, UploadError: Type.UPLOAD_ERROR}


def _method(method: str, found: Parameters) -> str:
    """`method=delete` in a POST or GET stands for the method."""
    wish = found.get("method")
    return wish.upper() if isinstance(wish, str) and wish.upper() in ("GET", "POST", "DELETE") else method.upper()


def _route(method: str, ref: NodeRef, edge: str, parts: list[str]) -> Route:
    route = ROUTES.get((method, ref.type, edge))
    if route is not None:
        return route
    first = edge.split("/", maxsplit=1)[0]
    if (ref.type, first) in NOT_YET:
        raise messages.not_built(NOT_YET[(ref.type, first)])
    if not edge or edge_exists(ref.type, edge):
        raise messages.not_visible(parts[0], method.lower())
    raise messages.unknown_path(edge)


def _catalog_of(world: World, subject: object) -> Catalog | None:
    if isinstance(subject, Catalog):
        return subject
    if isinstance(subject, UploadError):
        subject = world.sessions[subject.session]
    number = getattr(subject, "catalog", None)
    return world.catalogs.get(number) if isinstance(number, int) else None


async def _render(call: Call, route: Route, ref: NodeRef, parts: list[str]) -> jsons.Json:
    wanted = reading.asked(call.raw)
    found = await route.handler(call, ref.subject)
    if isinstance(found, Page):
        return await reading.page(call, found, wanted, path="/".join(parts), raw=call.raw)
    if isinstance(found, NodeRef):
        if call.method == "GET" or wanted is not None:
            return await reading.node(call, found, wanted)
        short = await reading.node(call, found, [])
        return {"id": short["id"]}
    if wanted is not None and call.method == "POST" and route.answers is ref.type:
        return await reading.node(call, ref, wanted)
    return found
