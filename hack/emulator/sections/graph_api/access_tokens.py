"""Access tokens, the proof that a caller knows the app's secret, and how tokens are inspected."""

import hashlib
import hmac
from collections.abc import Mapping

from hack.emulator import bodies, jsons, messages, params
from hack.emulator.documented import Provenance, behaviour, documented
from hack.emulator.params import Param
from hack.emulator.routing import Bucket, Call, FieldDef, NodeRef, Person, Subject, Type, fields, route
from hack.emulator.world import TEST_TOKEN, App, Token, World

EXPIRED_SUBCODE = 463

behaviour(
    "tokens.where",
    page="Access Tokens",
    section="Using tokens",
    provenance=Provenance.DOCUMENTED,
    says="access_token as query, form or JSON parameter, or `Authorization: Bearer`",
)
behaviour(
    "tokens.refused",
    page="Handle Errors",
    section="Codes",
    provenance=Provenance.DOCUMENTED,
    says="an expired, revoked or unknown token is error 190 with a subcode; no token is error 2500",
)


def given(headers: Mapping[str, str], found: bodies.Parameters) -> str:
    value = found.get("access_token")
    if isinstance(value, str) and value:
        return value
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def check(world: World, value: str, now: float) -> Token:
    """The token of a call. Raises GraphError 190 or 2500."""
    if not value:
        raise messages.no_token()
    app_id, _, secret = value.partition("|")
    app = world.apps.get(app_id)
    if secret:
        if app is None or not hmac.compare_digest(app.secret.encode(), secret.encode()):
            raise messages.bad_token(None)
        return Token(value=value, app=app.id, user="", kind="APP", business="", scopes=[])
    token = world.tokens.get(value)
    if token is None or (value == TEST_TOKEN and world.switches.test_token == "refused"):
        raise messages.bad_token(None)
    if token.subcode is not None:
        raise messages.bad_token(token.subcode)
    if token.expires and token.expires <= now:
        raise messages.bad_token(EXPIRED_SUBCODE)
    return token


@documented(
    "tokens.proof",
    page="Secure Graph API Calls",
    section="Verify Graph API calls",
    says=(
        "appsecret_proof is the hex HMAC-SHA256 of the token under the app's secret; a wrong one is error 100, and so "
        "is none where the app requires it"
    ),
)
def check_proof(world: World, token: Token, found: bodies.Parameters) -> None:
    app = world.apps[token.app]
    proof = found.get("appsecret_proof")
    if proof is None or proof == "":
        if app.proof_required and token.kind != "APP":
            raise messages.proof_missing()
        return
    expected = hmac.new(app.secret.encode(), token.value.encode(), hashlib.sha256).hexdigest()
    if not isinstance(proof, str) or not hmac.compare_digest(expected, proof):
        raise messages.proof_wrong()


def alive(world: World, token: Token, now: float) -> bool:
    refused = token.value == TEST_TOKEN and world.switches.test_token == "refused"
    return token.subcode is None and not refused and (token.expires == 0 or token.expires > now)


@documented(
    "tokens.debug",
    page="Debug Token",
    section="Reading",
    says=(
        "debug_token answers app, type, validity, expiry and scopes to an app token; a token that inspects itself may "
        "be refused (switch)"
    ),
)
@route(
    "GET",
    Type.ROOT,
    "debug_token",
    params=[Param("input_token", params.filled, required=True)],
    bucket=Bucket.PLATFORM,
    scope="",
)
async def debug_token(call: Call, _subject: Subject) -> jsons.Json:
    inspected = call.world.tokens.get(call.text("input_token"))
    itself = call.token.value == call.text("input_token")
    by_app = call.token.kind == "APP" and (inspected is None or inspected.app == call.token.app)
    if not by_app and not (itself and call.world.switches.debug_token_with_itself == "allowed"):
        raise messages.inspecting_refused()
    if inspected is None:
        error: jsons.Object = {"code": 190, "message": "Invalid OAuth access token."}
        return {"data": {"error": error, "is_valid": False, "scopes": []}}
    valid = alive(call.world, inspected, call.now)
    data: jsons.Object = {
        "app_id": inspected.app,
        "type": inspected.kind,
        "application": call.world.apps[inspected.app].name,
        "data_access_expires_at": 0,
        "expires_at": int(inspected.expires),
        "is_valid": valid,
        "issued_at": int(inspected.issued),
        "scopes": list(inspected.scopes),
        "granular_scopes": [{"scope": scope} for scope in inspected.scopes],
        "user_id": inspected.user,
    }
    if not valid:
        subcode = inspected.subcode or EXPIRED_SUBCODE
        data["error"] = {"code": 190, "message": messages.bad_token(subcode).message, "subcode": subcode}
    return {"data": data}


def _person(subject: Subject) -> Person:
    assert isinstance(subject, Person), "a route of User"
    return subject


fields(
    Type.USER,
    {
        "id": FieldDef(lambda _, subject: _person(subject).id, default=True),
        "name": FieldDef(lambda _, subject: _person(subject).name, default=True),
    },
)


@documented("tokens.me", page="User", section="Reading", says="/me is the user of the token")
@route("GET", Type.USER, bucket=Bucket.PLATFORM, scope="")
async def me(_call: Call, subject: Subject) -> NodeRef:
    return NodeRef(Type.USER, subject)


def _app(subject: Subject) -> App:
    assert isinstance(subject, App), "a route of Application"
    return subject


fields(
    Type.APP,
    {
        "id": FieldDef(lambda _, subject: _app(subject).id, default=True),
        "name": FieldDef(lambda _, subject: _app(subject).name, default=True),
    },
)


@documented(
    "tokens.app",
    page="Application",
    section="Reading",
    provenance=Provenance.REPORTED,
    says="/app is the application that the token was issued for",
)
@route("GET", Type.APP, bucket=Bucket.PLATFORM, scope="")
async def application(_call: Call, subject: Subject) -> NodeRef:
    return NodeRef(Type.APP, subject)


@documented(
    "tokens.permissions",
    page="User Permissions",
    section="Reading",
    says="/me/permissions lists each permission with its status",
)
@route("GET", Type.USER, "permissions", bucket=Bucket.PLATFORM, scope="")
async def permissions(call: Call, _subject: Subject) -> jsons.Json:
    return {"data": [{"permission": scope, "status": "granted"} for scope in call.token.scopes]}
