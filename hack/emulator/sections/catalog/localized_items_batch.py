"""`localized_items_batch`: values that items have in one language or country only. It makes and removes no item."""

import re

from hack.emulator import jsons, localizing, messages
from hack.emulator.documented import Provenance, behaviour, documented
from hack.emulator.judging import DELETE
from hack.emulator.overrides import BOTH, COUNTRY, LANGUAGE
from hack.emulator.routing import Bucket, Call, Subject, Type, route
from hack.emulator.sections.catalog import batches, item_rules
from hack.emulator.sections.catalog.batches import Asked, Read
from hack.emulator.sections.catalog.item_rules import FATAL, WARNING, Issue

KEYS = {
    LANGUAGE: re.compile(r"^[a-z]{2,3}_[A-Z]{2}$"),
    COUNTRY: re.compile(r"^[A-Z]{2}$"),
    BOTH: re.compile(r"^[a-z]{2,3}_[A-Z]{2}\|[A-Z]{2}$"),
}
COUNTRY_ONLY = frozenset(
    {"price", "sale_price", "unit_price", "base_price", "status", "visibility", "availability"}
)  # Localized Items Batch; visibility is the older name of status
NEVER = frozenset({"image_link"})

behaviour(
    "localized.fields",
    page="Localized Items Batch",
    section="Supported fields",
    provenance=Provenance.DOCUMENTED,
    says="prices, availability and status only for a country; image[0].url in the place of image_link",
)
behaviour(
    "localized.base_items",
    page="Localized Items Batch",
    section="Requests",
    provenance=Provenance.DOCUMENTED,
    says="a row for an id that the catalog lacks is an error of that row: no item is ever created",
)
behaviour(
    "localized.deleted_items",
    page="Localized Items Batch",
    section="Requests",
    provenance=Provenance.ASSUMED,
    says="an item that is deleted takes its values per language and country along, also when it is created again",
)


@documented(
    "localized.create",
    page="Localized Items Batch",
    section="Creating",
    says=(
        "POST localized_items_batch with `localization` {type, value} per request; answer, status, limits and quota as "
        "of items_batch"
    ),
)
@route("POST", Type.CATALOG, "localized_items_batch", params=batches.PARAMS, bucket=Bucket.BATCH)
async def create(call: Call, subject: Subject) -> jsons.Json:
    return batches.run(call, subject, _read_one, localizing.KIND)


def _read_one(call: Call, read: Read, asked: Asked) -> None:
    type_, key = _localization(asked)
    if not KEYS[type_].match(key):
        read.say(asked.rid, "errors", f"Invalid localization: '{key[:100]}' is not a value of type {type_}.")
        return
    where = {localizing.TYPE: type_, localizing.KEY: key}
    if asked.operation == DELETE:
        read.rows.append((DELETE, asked.line, asked.rid, *call.world.items.encode(where)))
        return
    values = read.values(asked)
    lost = [name for name in values if name in NEVER or (type_ != COUNTRY and name in COUNTRY_ONLY)]
    severity = FATAL if call.world.switches.override_field_not_allowed == "refused" else WARNING
    issues = [_not_allowed(name, type_, severity) for name in lost]
    kept = {name: value for name, value in values.items() if name not in lost}
    issues += [issue for name in kept if (issue := batches.typed(name, asked.data.get(name))) is not None]
    filled = {name: value for name, value in kept.items() if value.strip()}
    checked = item_rules.check_row(filled, complete=False)
    issues += checked.issues
    if not read.judge(call, asked, issues):
        return
    good = {name: value for name, value in checked.values.items() if name not in batches.dropped(issues)}
    cleared = dict.fromkeys(kept.keys() - filled.keys(), "")
    read.rows.append((asked.operation, asked.line, asked.rid, *call.world.items.encode({**where, **cleared, **good})))


def _localization(asked: Asked) -> tuple[str, str]:
    """Raise the documented error for a request without a localization."""
    wish = jsons.as_object(asked.whole.get("localization"))
    type_, key = jsons.as_text(wish.get("type")).upper(), jsons.as_text(wish.get("value"))
    if type_ not in KEYS:
        words = f"requests[{asked.line - 1}][localization][type] must be one of {{{', '.join(KEYS)}}}"
        raise messages.invalid(words, "requests")
    if not key:
        raise messages.invalid(f"requests[{asked.line - 1}][localization][value] must be given", "requests")
    return type_, key


def _not_allowed(name: str, type_: str, severity: str) -> Issue:
    words = f"The field '{name}' is not supported in overrides of type {type_}."
    return Issue(severity, "UNSUPPORTED_OVERRIDE_FIELD", name, "Unsupported field", words)
