"""What Meta says about a token.

`debug_token` tells everything (Meta: debug token reference), but only to the app that issued the token, or to a token
of one of its developers. So: with the app's own token ("id|secret") where the app secret is set; else with the token
itself; and where Meta answers that this is not enough (code 100), the granted permissions are all there is, and when
the token expires stays unknown.

The app's id is part of the app's token and therefore asked for first, by `GET /app` with the token. A token that Meta
refuses there is not asked about any further. `debug_token` is the one call that carries a token as a parameter,
because Meta documents no other way; addresses are never logged.
"""

from datetime import UTC, datetime

from controller.faults import Disposition, Evidence, Fault
from controller.meta import wire
from controller.meta.connection import Noun
from controller.meta.protocol import Request
from controller.ports.meta import Secret, TokenFacts

_UNANSWERED = frozenset({"InvalidRequest", "NotVisible", "PermissionDenied", "AlreadyExists"})
"""Reasons that say "not with this token" rather than "this token is bad" or "not now"."""

_REFUSED = frozenset({"TokenInvalid", "TokenExpired"})
_LAST_SECOND = 253_402_300_799
"""The end of the year 9999; what lies beyond is as good as never."""
_INVALID_TEXT = "Meta says that the token is not valid"
_EXPIRED_TEXT = "Meta says that the token has expired"
_EXPIRED_SUBCODE = 463
"""Meta: authentication error subcodes."""


def build_app() -> Request:
    return Request(
        operation="read_app",
        title="ask which app the token belongs to",
        method="GET",
        path="app",
        params=(("fields", "id"),),
    )


def build_debug(token: Secret, bearer: Secret | None) -> Request:
    return Request(
        operation="debug_token",
        title="inspect the token with the app's own token" if bearer is not None else "inspect the token",
        method="GET",
        path="debug_token",
        params=(("input_token", token.reveal()),),
        bearer=bearer,
    )


def build_permissions() -> Request:
    return Request(
        operation="list_permissions",
        title="list the permissions of the token",
        method="GET",
        path="me/permissions",
        params=(),
    )


def read_facts(data: wire.TokenData) -> TokenFacts:
    """Read the answer. Meta's own message is left out: it contains times and would change with every look."""
    return TokenFacts(
        valid=data.is_valid,
        app_id=data.app_id,
        scopes=tuple(sorted(set(data.scopes))),
        expires_at=_moment(data.expires_at),
        data_access_expires_at=_moment(data.data_access_expires_at),
        expiry_known=data.expires_at is not None,
        message="" if data.is_valid else _message(data.error),
    )


def fault_of_app_secret(request: Request, evidence: Evidence) -> Fault:
    """The call went out with the app's own token, so it is not the connection's token that was refused."""
    return Fault(
        reason="TokenInvalid",
        disposition=Disposition.STALLED,
        message=f"{request.title}: the app secret is not accepted; correct the Secret that appSecretRef names",
        evidence=evidence,
    )


class Tokens(Noun):
    """Inspect the connection's token."""

    __slots__ = ()

    async def inspect_token(self) -> TokenFacts:
        credentials = self._connection.credentials
        app_id = credentials.app_id
        if credentials.app_secret is not None:
            app_id = app_id or await self._app_id()
            if app_id is not None:
                return await self._debug(Secret(f"{app_id}|{credentials.app_secret.reveal()}"))
        try:
            return await self._debug(None)
        except Fault as fault:
            if fault.reason not in _UNANSWERED:
                raise
        return await self._permissions(app_id or await self._app_id())

    async def _app_id(self) -> str | None:
        try:
            answer = await self._perform(build_app())
        except Fault as fault:
            if fault.reason not in _UNANSWERED:
                raise
            return None
        return wire.read_shape(answer, wire.Created).id

    async def _debug(self, bearer: Secret | None) -> TokenFacts:
        request = build_debug(self._connection.credentials.token, bearer)
        try:
            answer = await self._perform(request)
        except Fault as fault:
            if bearer is None or fault.reason not in _REFUSED:
                raise
            wrong_secret = fault_of_app_secret(request, fault.evidence)
        else:
            return read_facts(wire.read_shape(answer, wire.TokenDebug).data)
        raise wrong_secret

    async def _permissions(self, app_id: str | None) -> TokenFacts:
        grants = await self._rows(build_permissions(), wire.Grant)
        scopes = {grant.permission for grant in grants if grant.status == "granted"}
        return TokenFacts(valid=True, app_id=app_id, scopes=tuple(sorted(scopes)))


def _moment(seconds: int | None) -> datetime | None:
    """Read seconds since 1970; 0 means never."""
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None and 0 < seconds <= _LAST_SECOND else None


def _message(error: wire.TokenError | None) -> str:
    return _EXPIRED_TEXT if error is not None and error.subcode == _EXPIRED_SUBCODE else _INVALID_TEXT
