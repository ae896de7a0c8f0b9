"""The Graph API without I/O: requests as values, and the one place where an answer is classified.

`compose` says what goes out for a request, `decipher_response` what came back. Neither opens a socket nor reads a
clock, so every rule here is tested as a table.

The token travels in the Authorization header and never in an address. The proof that Meta can ask for is derived from
token and app secret (Meta: secure Graph API calls) and worthless without the token.
"""

import email.utils
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import quote, urlencode

from controller.faults import Disposition, Evidence, Fault
from controller.meta import errors, limits
from controller.meta.payload import FilePart, JsonDocument, Stream, stream_json, stream_multipart
from controller.ports.meta import Bucket, Call, Credentials, Secret, Usage

Method = Literal["GET", "POST", "DELETE"]
Params = tuple[tuple[str, str], ...]

USER_AGENT = "meta-catalog-operator"
_TRACE_ID = re.compile(r"[A-Za-z0-9_+/=-]{1,64}")
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Request:
    """One call, before it knows how it is sent. The representation shows neither parameters nor payload."""

    operation: str
    """Name for logs, metrics and the governor, e.g. items_batch."""
    title: str
    """What is done to which object, for messages, e.g. "send a batch to catalog 123"."""
    method: Method
    path: str
    """Below the version, e.g. 123/items_batch; ids in it are quoted by `node`."""
    params: Params = field(default=(), repr=False)
    payload: FilePart | JsonDocument | None = field(default=None, repr=False)
    catalog_id: str | None = None
    bucket: Bucket = Bucket.MANAGEMENT
    bearer: Secret | None = None
    """Another token than the connection's."""

    @property
    def write(self) -> bool:
        return self.method != "GET"

    def call(self, credentials: Credentials) -> Call:
        return Call(self.operation, self.bucket, credentials.app_id, self.catalog_id, self.write)

    def deadline_seconds(self, credentials: Credentials) -> float:
        return self.payload.body.deadline_seconds if self.payload is not None else credentials.timeout_seconds


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is put on the wire."""

    method: Method
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    content: bytes | Stream | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer, still to be read as the shape that the request promises."""

    request: Request
    value: object = field(repr=False)
    server_time: datetime | None = None
    evidence: Evidence = field(default_factory=Evidence)


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer, classified."""

    outcome: Answer | Fault
    usage: Usage | None
    throttled_minutes: int | None
    evidence: Evidence


def node(object_id: str, edge: str = "") -> str:
    """Build a path; an id can never reach another one."""
    path = quote(object_id, safe="")
    return f"{path}/{edge}" if edge else path


def json_param(value: object) -> str:
    """Encode a value that is not a scalar, as parameters want it (Meta: Graph API overview)."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def compose(request: Request, credentials: Credentials, endpoint: str) -> Outgoing:
    """Say what goes out. Raises Fault when the token cannot be put into a header."""
    params = request.params + _proof(request, credentials)
    headers = {"Authorization": f"Bearer {_token(request, credentials)}", "User-Agent": USER_AGENT}
    if request.write:
        headers["Connection"] = "close"  # a pooled connection that dies under a write leaves its outcome unknown
    url = f"{endpoint}/{credentials.version}/{request.path}"
    content = _content(request, params)
    if isinstance(content, Stream):
        headers |= {"Content-Type": content.content_type, "Content-Length": str(content.length_bytes)}
    elif content is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    if params and (content is None or isinstance(request.payload, JsonDocument)):
        url = f"{url}?{urlencode(params)}"
    return Outgoing(request.method, url, headers, content)


def _content(request: Request, params: Params) -> bytes | Stream | None:
    match request.payload:
        case FilePart():
            return stream_multipart(request.payload, params, request.title)
        case JsonDocument():
            return stream_json(request.payload, request.title)
        case None:
            return urlencode(params).encode() if request.method == "POST" else None


def make_proof(token: Secret, app_secret: Secret) -> str:
    """Prove that caller and app belong together (Meta: secure Graph API calls)."""
    return hmac.new(app_secret.reveal().encode(), token.reveal().encode(), hashlib.sha256).hexdigest()


def secrets_of(request: Request, credentials: Credentials) -> tuple[Secret, ...]:
    """List what must never be shown, longest first, so that no part of one survives."""
    found = [credentials.token, request.bearer, credentials.app_secret]
    known = [secret for secret in found if secret is not None]
    if credentials.app_secret is not None:
        known.append(Secret(make_proof(credentials.token, credentials.app_secret)))
    return tuple(sorted(known, key=lambda secret: len(secret.reveal()), reverse=True))


def decipher_response(
    request: Request,
    status: int,
    headers: Mapping[str, str],
    content: bytes,
    now: datetime,
    secrets: tuple[Secret, ...] = (),
) -> Verdict:
    """Classify one answer. `headers` has lower-case names; `content` is the whole body."""
    usage = limits.read_usage(headers, request.bucket, request.catalog_id)
    value, decoded = _decode(content)
    error = _find_error(value)
    evidence = Evidence(
        http_status=status,
        code=error.code if error else None,
        subcode=error.subcode if error else None,
        trace_id=_trace_id(error, headers),
    )
    meaning = _meaning(status, value, error, decoded=decoded)
    if meaning is None:
        return Verdict(Answer(request, value, _server_time(headers), evidence), usage, None, evidence)
    throttled = (
        limits.read_throttled_minutes(headers, request.bucket, request.catalog_id)
        if errors.is_throttling(meaning)
        else None
    )
    refused = error is not None and errors.proves_refusal(error)
    disposition = meaning.disposition if refused or not request.write else Disposition.UNCERTAIN
    fault = Fault(
        reason=meaning.reason,
        disposition=disposition,
        message=errors.explain(request.title, meaning, disposition, error, secrets),
        retry_at=now + timedelta(minutes=throttled) if throttled is not None else None,
        evidence=evidence,
    )
    return Verdict(fault, usage, throttled, evidence)


def contract_violation(answer: Answer, what: str) -> Fault:
    """An answer that says success in a shape we do not know. A write was probably carried out, so nobody repeats it."""
    disposition = Disposition.UNCERTAIN if answer.request.write else Disposition.DEFECT
    text = f"{answer.request.title}: the answer is not what Meta documents: {what}"
    return Fault("ContractViolation", disposition, errors.with_outcome(text, disposition), evidence=answer.evidence)


def no_answer(request: Request, what: str, *, left: bool) -> Fault:
    """No answer came. `left`: a byte of the request may have left this machine."""
    disposition = Disposition.UNCERTAIN if request.write and left else Disposition.RETRY
    return Fault("MetaUnavailable", disposition, errors.with_outcome(f"{request.title}: {what}", disposition))


def _meaning(status: int, value: object, error: errors.GraphError | None, *, decoded: bool) -> errors.Meaning | None:
    """Find what an answer means; None: success. The status is trusted only where there is no envelope."""
    if error is not None and error.code is not None:
        return errors.find_meaning(error, server_failed=status >= 500)
    if isinstance(value, dict) and value.get("success") is False:
        return errors.NO_SUCCESS
    if 200 <= status < 300 and decoded and error is None:
        return None
    return errors.THROTTLED_BY_STATUS if status == 429 else errors.NO_ENVELOPE


def _decode(content: bytes) -> tuple[object, bool]:
    try:
        return json.loads(content), True
    except (ValueError, RecursionError):
        return None, False


def _find_error(value: object) -> errors.GraphError | None:
    """Read the envelope, which can come with any status (Meta: handle errors; a 200 can carry it too)."""
    if not isinstance(value, dict) or not value.get("error"):
        return None
    error = value["error"]
    if not isinstance(error, dict):
        return errors.GraphError(code=None, message=str(error))
    trace_id = error.get("fbtrace_id")
    return errors.GraphError(
        code=_integer(error.get("code")),
        subcode=_integer(error.get("error_subcode")),
        message=_text(error.get("message")),
        advice=_text(error.get("error_user_msg")),
        transient=error.get("is_transient") is True,
        blamed=_blamed(error.get("error_data")),
        trace_id=trace_id if isinstance(trace_id, str) else None,
    )


def _blamed(data: object) -> tuple[str, ...]:
    """Name the parameters of `blame_field_specs`, a list of paths; `error_data` may itself be JSON text."""
    if isinstance(data, str):
        data = _decode(data.encode())[0]
    if not isinstance(data, dict) or not isinstance(data.get("blame_field_specs"), list):
        return ()
    paths = (path if isinstance(path, list) else [path] for path in data["blame_field_specs"])
    return tuple(".".join(str(part) for part in path) for path in paths)[:8]


def _integer(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _trace_id(error: errors.GraphError | None, headers: Mapping[str, str]) -> str | None:
    for candidate in (error.trace_id if error else None, headers.get("x-fb-trace-id")):
        if candidate is not None and _TRACE_ID.fullmatch(candidate):
            return candidate
    return None


def _server_time(headers: Mapping[str, str]) -> datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _proof(request: Request, credentials: Credentials) -> Params:
    """An app's own token carries its secret and needs no proof."""
    if credentials.app_secret is None or request.bearer is not None:
        return ()
    return (("appsecret_proof", make_proof(credentials.token, credentials.app_secret)),)


def _token(request: Request, credentials: Credentials) -> str:
    token = (request.bearer or credentials.token).reveal()
    if not _TOKEN.fullmatch(token):
        raise Fault(
            reason="TokenInvalid",
            disposition=Disposition.STALLED,
            message=f"{request.title}: the token is empty or contains a space, a line break or a character that no "
            "token has; write it into its Secret without any",
        )
    return token
