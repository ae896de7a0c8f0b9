"""Paging by cursors.

A cursor is opaque and means "after this object". A page may hold fewer rows than asked for without being the last: only
the absence of `next` is the end.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlencode

from hack.emulator import jsons, messages, params
from hack.emulator.bodies import Parameters, UploadedFile
from hack.emulator.documented import Provenance, behaviour
from hack.emulator.routing import Call, NodeRef, Page

LIMIT_DEFAULT = 25  # Paginated Results: the size of the documented sample
LIMIT_BULK_FACTOR = 5  # bulk_pagination asks for larger chunks
SHORT_PAGE_SHARE = 0.25
T = TypeVar("T")

behaviour(
    "paging.cursors",
    page="Paginated Results",
    section="Cursor-based pagination",
    provenance=Provenance.DOCUMENTED,
    says=(
        "limit, after and before; cursors are opaque; next and previous are whole URLs; only the absence of next is "
        "the end"
    ),
)
behaviour(
    "paging.summary",
    page="Product Catalog Products",
    section="Reading",
    provenance=Provenance.DOCUMENTED,
    says="summary=true or summary=total_count adds the total; without it there is no summary",
)


def cursor(place: int) -> str:
    return urlsafe_b64encode(f"QVFIUk:{place}".encode()).decode().rstrip("=")


def place_of(text: str) -> int:
    try:
        mark, _, place = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii").partition(":")
    except (NotBase64, UnicodeError, ValueError):
        mark, place = "", ""
    if mark != "QVFIUk" or not params.is_digits(place):
        raise messages.invalid("Invalid cursors values", "after")
    return int(place)


def limit_of(call: Call, *, bulk: bool = False) -> int:
    raw = call.raw.get("limit", LIMIT_DEFAULT)
    text = str(raw).strip()
    if isinstance(raw, bool) or not params.is_digits(text) or int(text) < 1:
        raise messages.invalid("Param limit must be an integer greater than 0", "limit")
    most = int(call.world.switches.page_limit_max) * (LIMIT_BULK_FACTOR if bulk else 1)
    asked = min(int(text), max(1, most))
    if asked > 1 and call.world.switches.short_pages == "true":
        short = call.world.draw("page", call.record.seq, call.record.path) < SHORT_PAGE_SHARE
        asked = max(1, asked // 2) if short else asked
    return asked


def window(
    call: Call,
    found: Sequence[T],
    number: Callable[[T], int],
    ref: Callable[[T], NodeRef],
    *,
    total: Callable[[], int] | None = None,
) -> Page:
    """A page out of a list that is all in memory, in the order it has."""
    limit = limit_of(call)
    start, stop = 0, len(found)
    if "after" in call.raw and call.raw["after"] != "":
        after = place_of(str(call.raw["after"]))
        start = next((at + 1 for at, one in enumerate(found) if number(one) == after), len(found))
    if "before" in call.raw and call.raw["before"] != "":
        before = place_of(str(call.raw["before"]))
        stop = next((at for at, one in enumerate(found) if number(one) == before), 0)
        start = max(0, stop - limit)
    rows = list(found[start : min(stop, start + limit)])
    return Page(
        nodes=[ref(one) for one in rows],
        before=cursor(number(rows[0])) if rows else "",
        after=cursor(number(rows[-1])) if rows else "",
        more=start + len(rows) < len(found),
        earlier=start > 0,
        total=total or (lambda: len(found)),
    )


def links(call: Call, found: Page, *, path: str, raw: Parameters) -> jsons.Object:
    if not found.before:
        return {}
    answer: jsons.Object = {"cursors": {"before": found.before, "after": found.after}}
    if not path:
        if found.more:
            answer["next"] = f"{call.base_url}/{call.version}/?after={found.after}"
        return answer
    kept = [
        (name, value if isinstance(value, str) else jsons.dump_text(value))
        for name, value in raw.items()
        if name not in ("after", "before") and not isinstance(value, UploadedFile)
    ]
    base = f"{call.base_url}/{call.version}/{path}"
    if found.more:
        answer["next"] = f"{base}?{urlencode([*kept, ('after', found.after)])}"
    if found.earlier:
        answer["previous"] = f"{base}?{urlencode([*kept, ('before', found.before)])}"
    return answer
