"""Reading nodes: which fields, expanded how far, in which envelope."""

from collections.abc import Sequence

from hack.emulator import fieldspec, jsons, messages, params
from hack.emulator.bodies import Parameters
from hack.emulator.documented import Provenance, behaviour
from hack.emulator.fieldspec import Field
from hack.emulator.routing import FIELDS, NOT_YET, ROUTES, Call, NodeRef, Page
from hack.emulator.sections.graph_api import paging

behaviour(
    "read.fields",
    page="Graph API Overview",
    section="Fields",
    provenance=Provenance.DOCUMENTED,
    says="without `fields` a node answers its default fields; with it, those and id; an unknown one is error 100",
)
behaviour(
    "read.expansion",
    page="Graph API Overview",
    section="Field expansion",
    provenance=Provenance.DOCUMENTED,
    says="`edge{a,b}` and `edge.fields(a,b).limit(n)` both expand an edge or a node inside a node",
)
behaviour(
    "read.after_write",
    page="Graph API Overview",
    section="Read-after-write",
    provenance=Provenance.DOCUMENTED,
    says="`fields` on a call that creates or updates answers the node read",
)


def asked(raw: Parameters) -> list[Field] | None:
    value = raw.get("fields")
    if value is None or value == "":
        return None
    if isinstance(value, list):
        value = ",".join(str(one) for one in value)
    if not isinstance(value, str):
        raise messages.invalid("Param fields must be a string", "fields")
    return fieldspec.parse(value)


async def node(call: Call, ref: NodeRef, wanted: Sequence[Field] | None) -> jsons.Object:
    known = FIELDS[ref.type]
    chosen = (
        [Field(name) for name, definition in known.items() if definition.default] if wanted is None else list(wanted)
    )
    answer: jsons.Object = {}
    for one in chosen:
        definition = known.get(one.name)
        if definition is None:
            answer[one.name] = await _edge(call, ref, one)
            continue
        if definition.not_yet:
            raise messages.not_built(definition.not_yet)
        value = definition.getter(call, ref.subject)
        if isinstance(value, NodeRef):
            answer[one.name] = await node(call, value, one.fields)
        elif value is not None:
            answer[one.name] = value
    if "id" in known:
        own = known["id"].getter(call, ref.subject)
        assert not isinstance(own, NodeRef), "an id is a value"
        answer["id"] = own
    return answer


async def _edge(call: Call, ref: NodeRef, one: Field) -> jsons.Json:
    """An edge read in the place of a field."""
    route = ROUTES.get(("GET", ref.type, one.name))
    if route is None or not route.paged:
        if (ref.type, one.name) in NOT_YET:
            raise messages.not_built(NOT_YET[(ref.type, one.name)])
        raise messages.unknown_field(one.name, ref.type)
    outer, outer_raw = call.parameters, call.raw
    call.parameters = params.check_all(dict(one.parameters), route.params, paged=True, where=f"GET {one.name}")
    call.raw = dict(one.parameters)
    try:
        found = await route.handler(call, ref.subject)
    finally:
        call.parameters, call.raw = outer, outer_raw
    assert isinstance(found, Page), "a paged route answers a page"
    return await page(call, found, one.fields, path="", raw=dict(one.parameters))


async def page(call: Call, found: Page, wanted: Sequence[Field] | None, *, path: str, raw: Parameters) -> jsons.Object:
    answer: jsons.Object = {"data": [await node(call, ref, wanted) for ref in found.nodes]}
    links = paging.links(call, found, path=path, raw=raw)
    if links:
        answer["paging"] = links
    summary = str(raw.get("summary", "")).strip("[]\"' ").lower()
    if summary in ("true", "1", "total_count") and found.total is not None:
        answer["summary"] = {"total_count": found.total()}
    return answer
