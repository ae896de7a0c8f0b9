"""What an error of the Graph API means: one table from code, subcode and message to what happens next.

`protocol.decipher_response` is the only caller. For a write a second question comes first: does the answer prove that
nothing was carried out? Only the codes of a closed list do (`proves_refusal`); any other error of a write is
UNCERTAIN whatever the table says, and keeps only its reason.

Messages are for people and never change while the problem stays the same: no times, no counters, no trace ids. Meta's
own words are quoted only where they name what to change.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from controller.faults import Disposition
from controller.ports.meta import Secret

QUOTE_CHARACTERS_MAX = 300
UNKNOWN_OUTCOME = "whether it was carried out is not known, so this is looked up before anything is repeated"
TRIED_AGAIN = "it is tried again"

_CONCEALED = "[concealed]"
_TOKEN_LIKE = re.compile(r"EAA[A-Za-z0-9]{12,}|[0-9]{5,}\|[A-Za-z0-9_-]{8,}|[A-Za-z0-9]{56,}|access_token=[^&\s]+")
_CODE_PREFIX = re.compile(r"^\(#[0-9]+\)\s*")
_REDUCE = re.compile(r"reduce the amount of data", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class GraphError:
    """The error envelope of an answer (Meta: handle errors)."""

    code: int | None
    subcode: int | None = None
    message: str = field(default="", repr=False)
    advice: str = field(default="", repr=False)
    """Meta's text for end users; often clearer than the message."""
    transient: bool = False
    blamed: tuple[str, ...] = ()
    """Parameters that Meta blames."""
    trace_id: str | None = None


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row of the table."""

    reason: str
    disposition: Disposition
    """For a read, and for a write that was certainly refused."""
    text: str
    """What is wrong, and what to do."""
    codes: frozenset[int] = frozenset()
    subcodes: frozenset[int] = frozenset()
    """Empty: any."""
    pattern: re.Pattern[str] | None = None
    quotes: bool = False
    """Meta's own words are appended, because they say what to change."""

    def covers(self, error: GraphError) -> bool:
        return (
            error.code in self.codes
            and (not self.subcodes or error.subcode in self.subcodes)
            and (self.pattern is None or self.pattern.search(error.message) is not None)
        )


def _codes(*parts: int | range) -> frozenset[int]:
    return frozenset(code for part in parts for code in ((part,) if isinstance(part, int) else part))


def _words(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


_WAIT, _RETRY, _STALLED = Disposition.WAIT, Disposition.RETRY, Disposition.STALLED
_NEW_TOKEN = "put a working one into the Secret that spec.graph.tokenSecretRef names"  # noqa: S105 - advice, no secret

# First match wins. Sources: Meta's pages on error handling, rate limits, secure calls, product catalog, product feed
# and product set.
TABLE: tuple[Meaning, ...] = (
    # The app asks for a proof with every call (Meta: secure Graph API calls).
    Meaning(
        "TokenInvalid",
        _STALLED,
        "the app secret does not belong to the token's app; correct the Secret that appSecretRef names",
        _codes(100),
        pattern=_words(r"invalid appsecret_proof"),
    ),
    Meaning(
        "PermissionDenied",
        _STALLED,
        "the app accepts only calls with a proof; set appSecretRef in the MetaConnection",
        _codes(100),
        pattern=_words(r"require an appsecret_proof"),
    ),
    # Tokens (Meta: handle errors, authentication error subcodes).
    Meaning("TokenExpired", _STALLED, f"the token has expired; {_NEW_TOKEN}", _codes(190), _codes(463)),
    Meaning(
        "TokenInvalid",
        _STALLED,
        f"the token ended because its user changed the password or Meta reset the session; {_NEW_TOKEN}",
        _codes(190),
        _codes(452, 460),
    ),
    Meaning(
        "TokenInvalid",
        _STALLED,
        f"the token's user removed the app; install it and {_NEW_TOKEN}",
        _codes(190),
        _codes(458),
    ),
    Meaning(
        "TokenInvalid",
        _STALLED,
        f"the token's user must confirm the account at Meta; then {_NEW_TOKEN}",
        _codes(190),
        _codes(459, 464, 465),
    ),
    Meaning("TokenInvalid", _STALLED, f"the token is not accepted; {_NEW_TOKEN}", _codes(190, 102)),
    Meaning(
        "TokenInvalid",
        _STALLED,
        "the signature of the call is not accepted; check the app secret that appSecretRef names",
        _codes(104),
    ),
    Meaning(
        "TokenInvalid",
        _STALLED,
        f"Meta saw no token; {_NEW_TOKEN}",
        _codes(2500),
        pattern=_words(r"active access token"),
    ),
    # Throttling (Meta: rate limits). 341 and 80000-80008 are limits of other products that share the envelope.
    Meaning(
        "RateLimited",
        _WAIT,
        "Meta throttles these calls; nothing is called until the time that it named",
        _codes(4, 17, 32, 341, 613, range(80_000, 80_015)),
    ),
    # Sizes and versions.
    Meaning(
        "PayloadTooLarge",
        _STALLED,
        "Meta asks to reduce the amount of data; it must be split into smaller calls",
        _codes(1),
        pattern=_REDUCE,
    ),
    Meaning(
        "VersionUnsupported",
        _STALLED,
        "Meta no longer serves this version of the Graph API; set spec.graph.graphVersion to a current one",
        _codes(2635),
    ),
    # Objects that exist, or that we cannot see.
    Meaning("AlreadyExists", _STALLED, "Meta says that it exists already", _codes(804, 10_800, 10_803), quotes=True),
    Meaning(
        "NotVisible",
        _STALLED,
        "Meta says that it does not exist or that the token may not see it; check the id and the token's access to it",
        _codes(100),
        _codes(33),
    ),
    Meaning(
        "NotVisible",
        _STALLED,
        "Meta says that it does not exist or that the token may not see it; check the id and the token's access to it",
        _codes(100),
        pattern=_words(r"does not exist, cannot be loaded|not managed by the business"),
    ),
    Meaning(
        "NotVisible",
        _STALLED,
        "Meta says that it does not exist or that the token may not see it; check the id and the token's access to it",
        _codes(33),
    ),
    # Permissions.
    Meaning(
        "PermissionDenied",
        _STALLED,
        "the app was not approved for this API; ask Meta for the permission catalog_management",
        _codes(100),
        pattern=_words(r"not been approved"),
    ),
    Meaning(
        "PermissionDenied",
        _STALLED,
        "the token's user must be an admin of it at Meta",
        _codes(3964, 3970),
    ),
    Meaning(
        "PermissionDenied",
        _STALLED,
        "Meta asks for two-factor authentication; the token's user must switch it on",
        _codes(415),
    ),
    Meaning(
        "PermissionDenied",
        _STALLED,
        "the token lacks a permission or access; it needs catalog_management and the task MANAGE on the catalog",
        _codes(3, 10, range(200, 300), 368, 2_310_019),
        quotes=True,
    ),
    # The request itself.
    Meaning(
        "InvalidRequest", _STALLED, "Meta does not accept the request", _codes(100, 115, 801, 2500, 10_801), quotes=True
    ),
    # Meta's own failures.
    Meaning("MetaUnavailable", _RETRY, "Meta answers with a failure of its own", _codes(1, 2)),
)

TRANSIENT = Meaning("MetaUnavailable", _RETRY, "Meta answers with a failure of its own")
UNKNOWN = Meaning(
    "InvalidRequest", _STALLED, "Meta refuses the request with a code that is not documented", quotes=True
)
NO_ENVELOPE = Meaning("MetaUnavailable", _RETRY, "the answer is not one of the Graph API (a gateway in between?)")
NO_SUCCESS = Meaning("MetaUnavailable", _RETRY, "Meta answers that it did not succeed and gives no reason")
THROTTLED_BY_STATUS = Meaning(
    "RateLimited", _WAIT, "the answer says that there were too many calls; nothing is called for a while"
)

REFUSING_CODES = _codes(3, 4, 10, 17, 32, 100, 102, 104, 190, range(200, 300), 613, 2500, 2635, 80_009, 80_014)
"""Errors that are decided before anything is carried out. Closed: a code that is not here proves nothing."""


def find_meaning(error: GraphError, *, server_failed: bool = False) -> Meaning:
    """Look an error up. A documented code wins over the transient flag and over the HTTP status (5xx)."""
    for meaning in TABLE:
        if meaning.covers(error):
            return meaning
    return TRANSIENT if error.transient or server_failed else UNKNOWN


def proves_refusal(error: GraphError) -> bool:
    """Whether a write that was answered with this error was certainly not carried out."""
    return error.code in REFUSING_CODES or (error.code == 1 and _REDUCE.search(error.message) is not None)


def is_throttling(meaning: Meaning) -> bool:
    return meaning.reason == "RateLimited"


def explain(
    title: str, meaning: Meaning, disposition: Disposition, error: GraphError | None, secrets: Iterable[Secret]
) -> str:
    """Write the message: what failed, for which object, why, what to do."""
    text = f"{title}: {meaning.text}{_quotation(meaning, error, tuple(secrets))}"
    return with_outcome(text, disposition)


def with_outcome(text: str, disposition: Disposition) -> str:
    """Say what happens next, where that is the same for every failure."""
    if disposition is Disposition.UNCERTAIN:
        return f"{text}; {UNKNOWN_OUTCOME}"
    return f"{text}; {TRIED_AGAIN}" if disposition is Disposition.RETRY else text


def _quotation(meaning: Meaning, error: GraphError | None, secrets: tuple[Secret, ...]) -> str:
    if error is None or not meaning.quotes:
        return ""
    said = clean(_CODE_PREFIX.sub("", error.message), secrets)
    advice = clean(error.advice, secrets)
    parts = [part for part in (said, advice if advice != said else "") if part]
    if error.blamed:
        parts.append("parameters: " + ", ".join(sorted(clean(name, secrets) for name in error.blamed)))
    subcode = f"/{error.subcode}" if error.subcode is not None else ""
    return f": code {error.code}{subcode}" + (f" ({'; '.join(parts)})" if parts else "")


def clean(text: str, secrets: Iterable[Secret] = ()) -> str:
    """Make foreign text fit to be shown: one line, of bounded length, without secrets and what looks like one."""
    for secret in secrets:
        revealed = secret.reveal()
        if revealed:
            text = text.replace(revealed, _CONCEALED)
    text = " ".join(_TOKEN_LIKE.sub(_CONCEALED, text).split())
    text = "".join(character for character in text if character.isprintable())
    return text if len(text) <= QUOTE_CHARACTERS_MAX else text[: QUOTE_CHARACTERS_MAX - 1] + "…"
