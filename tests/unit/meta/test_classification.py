"""What every answer means: the tables of the protocol."""

from datetime import timedelta

import httpx
import pytest

from controller.api.reasons import Reason
from controller.faults import Disposition, Fault
from controller.meta.errors import NO_ENVELOPE, NO_SUCCESS, TABLE, THROTTLED_BY_STATUS, TRANSIENT, UNKNOWN
from controller.meta.failures import STAGES, Stage, fault_of
from controller.meta.protocol import Answer, Request, Verdict, decipher_response
from controller.ports.meta import Bucket, Secret
from tests.unit.meta.scripted import NOW, TOKEN, envelope, json_bytes

READ = Request("read_catalog", "read catalog 1", "GET", "1", catalog_id="1")
WRITE = Request("update_catalog", "change settings of catalog 1", "POST", "1", catalog_id="1")
R, W, S, U, D = Disposition.RETRY, Disposition.WAIT, Disposition.STALLED, Disposition.UNCERTAIN, Disposition.DEFECT

UNSUPPORTED = "Unsupported get request. Object with ID '1' does not exist, cannot be loaded due to missing permissions"
REDUCE = "Please reduce the amount of data you're asking for, then retry your request"


def decipher(request: Request, status: int, content: bytes, headers: dict[str, str] | None = None) -> Verdict:
    return decipher_response(request, status, headers or {}, content, NOW, (Secret(TOKEN),))


def fault(request: Request, status: int, value: object, headers: dict[str, str] | None = None) -> Fault:
    outcome = decipher(request, status, json_bytes(value), headers).outcome
    assert isinstance(outcome, Fault)
    return outcome


@pytest.mark.parametrize(
    ("code", "subcode", "message", "reason", "read", "write"),
    [
        (1, None, "An unknown error occurred", "MetaUnavailable", R, U),
        (1, None, REDUCE, "PayloadTooLarge", S, S),
        (2, None, "Service temporarily unavailable", "MetaUnavailable", R, U),
        (3, None, "capability", "PermissionDenied", S, S),
        (4, None, "Application request limit reached", "RateLimited", W, W),
        (10, None, "permission", "PermissionDenied", S, S),
        (17, 2446079, "User request limit reached", "RateLimited", W, W),
        (32, None, "Page request limit reached", "RateLimited", W, W),
        (33, None, "gone or hidden", "NotVisible", S, U),
        (100, None, "Param image_url is not a valid URI.", "InvalidRequest", S, S),
        (100, 33, UNSUPPORTED, "NotVisible", S, S),
        (100, None, UNSUPPORTED, "NotVisible", S, S),
        (100, None, "Cannot access an object not managed by the business owning this app", "NotVisible", S, S),
        (100, None, "This application has not been approved to use this api", "PermissionDenied", S, S),
        (100, None, "API calls from the server require an appsecret_proof argument", "PermissionDenied", S, S),
        (100, None, "Invalid appsecret_proof provided in the API argument", "TokenInvalid", S, S),
        (102, None, "Session key invalid", "TokenInvalid", S, S),
        (104, None, "Incorrect signature", "TokenInvalid", S, S),
        (115, None, "Invalid field list", "InvalidRequest", S, U),
        (190, None, "Invalid OAuth 2.0 Access Token", "TokenInvalid", S, S),
        (190, 458, "The user has not authorized application", "TokenInvalid", S, S),
        (190, 460, "The password was changed", "TokenInvalid", S, S),
        (190, 463, "Session has expired on Tuesday", "TokenExpired", S, S),
        (190, 464, "Unconfirmed user", "TokenInvalid", S, S),
        (190, 467, "Invalid", "TokenInvalid", S, S),
        (190, 99999, "A subcode of the future", "TokenInvalid", S, S),
        (200, None, "Permissions error", "PermissionDenied", S, S),
        (270, None, "development access", "PermissionDenied", S, S),
        (299, None, "Permissions error", "PermissionDenied", S, S),
        (341, None, "Application limit reached", "RateLimited", W, U),
        (368, None, "abusive", "PermissionDenied", S, U),
        (415, None, "two-factor", "PermissionDenied", S, U),
        (613, 1996, "Calls to this api have exceeded the rate limit.", "RateLimited", W, W),
        (801, None, "Invalid operation", "InvalidRequest", S, U),
        (804, None, "Object already exists", "AlreadyExists", S, U),
        (2500, None, "Unknown path components: /x", "InvalidRequest", S, S),
        (2500, None, "An active access token must be used", "TokenInvalid", S, S),
        (2635, None, "You are calling a deprecated version", "VersionUnsupported", S, S),
        (3964, None, "Must be admin", "PermissionDenied", S, U),
        (3970, None, "Must be admin", "PermissionDenied", S, U),
        (10800, None, "Duplicate retailer_id", "AlreadyExists", S, U),
        (10803, None, "Same filter", "AlreadyExists", S, U),
        (10801, None, "Either file or url", "InvalidRequest", S, U),
        (80004, None, "too many calls", "RateLimited", W, U),
        (80009, None, "too many calls to this catalog", "RateLimited", W, W),
        (80014, None, "too many batch calls", "RateLimited", W, W),
        (2310019, None, "not onboarded", "PermissionDenied", S, U),
        (987654, None, "never seen", "InvalidRequest", S, U),
    ],
)
def test_code_decides(
    code: int, subcode: int | None, message: str, reason: str, read: Disposition, write: Disposition
) -> None:
    document = envelope(code, message, subcode)
    for status in (200, 400, 403, 500):
        if code == 987654 and status == 500:
            continue  # an unknown code on a 5xx is tested below
        for request, disposition in ((READ, read), (WRITE, write)):
            found = fault(request, status, document)
            assert (found.reason, found.disposition) == (reason, disposition)
            assert (found.evidence.code, found.evidence.subcode, found.evidence.http_status) == (code, subcode, status)
            assert found.message.startswith(request.title + ": ")
            assert (found.retry_at is not None) == (reason == "RateLimited")


NEVER_ACCEPTED = {3, 4, 10, 17, 32, 100, 102, 104, 190, 613, 2500, 2635, 80009, 80014} | set(range(200, 300))


def test_only_the_closed_list_proves_that_a_write_was_not_accepted() -> None:
    for code in [*range(-1, 4000), *range(10_000, 11_000), *range(80_000, 80_100), 368, 2_310_019]:
        certain = fault(WRITE, 400, envelope(code)).disposition is not U
        assert certain == (code in NEVER_ACCEPTED), code


def test_reduce_is_a_refusal_only_with_code_1() -> None:
    assert fault(WRITE, 500, envelope(1, REDUCE)).disposition is S
    assert fault(WRITE, 500, envelope(2, REDUCE)).disposition is U


@pytest.mark.parametrize(
    ("status", "content", "reason", "read", "write"),
    [
        (502, b"<html>Bad Gateway</html>", "MetaUnavailable", R, U),
        (500, b"", "MetaUnavailable", R, U),
        (200, b"", "MetaUnavailable", R, U),
        (200, b"<html>Sign in</html>", "MetaUnavailable", R, U),
        (200, b'{"id": "1"', "MetaUnavailable", R, U),
        (200, b"\xff\xfe", "MetaUnavailable", R, U),
        (200, b"[" * 100_000, "MetaUnavailable", R, U),
        (200, b'{"success": false}', "MetaUnavailable", R, U),
        (302, b"", "MetaUnavailable", R, U),
        (404, b'{"detail": "no route"}', "MetaUnavailable", R, U),
        (401, b'{"error": "unauthorized"}', "MetaUnavailable", R, U),
        (400, b'{"error": {"message": "no code"}}', "MetaUnavailable", R, U),
        (429, b"slow down", "RateLimited", W, U),
    ],
)
def test_answer_without_an_envelope(
    status: int, content: bytes, reason: str, read: Disposition, write: Disposition
) -> None:
    for request, disposition in ((READ, read), (WRITE, write)):
        outcome = decipher(request, status, content).outcome
        assert isinstance(outcome, Fault)
        assert (outcome.reason, outcome.disposition) == (reason, disposition)


def test_transient_flag_and_5xx_help_where_the_code_is_unknown() -> None:
    assert fault(READ, 400, envelope(987654, is_transient=True)).disposition is R
    assert fault(READ, 503, envelope(987654)).disposition is R
    assert fault(READ, 400, envelope(190, is_transient=True)).reason == "TokenInvalid"


def test_success() -> None:
    verdict = decipher(WRITE, 200, b'{"id": "5"}', {"date": "Tue, 01 Sep 2026 12:00:07 GMT"})
    assert isinstance(verdict.outcome, Answer)
    assert verdict.outcome.value == {"id": "5"}
    assert verdict.outcome.server_time == NOW + timedelta(seconds=7)
    assert verdict.throttled_minutes is None


def test_retry_at_comes_from_the_header_in_minutes() -> None:
    header = '{"1": [{"type": "catalog_management", "call_count": 100, "estimated_time_to_regain_access": 19}]}'
    request = Request("list", "list", "GET", "1", catalog_id="1", bucket=Bucket.MANAGEMENT)
    verdict = decipher(request, 400, json_bytes(envelope(80009)), {"x-business-use-case-usage": header})
    assert isinstance(verdict.outcome, Fault)
    assert verdict.outcome.retry_at == NOW + timedelta(minutes=19)
    assert verdict.throttled_minutes == 19
    assert fault(request, 400, envelope(80009)).retry_at == NOW + timedelta(minutes=1)


def test_unchanged_problem_has_an_unchanged_message() -> None:
    one = fault(READ, 400, envelope(190, "expired on Tuesday 10:00", 463, fbtrace_id="AAA"))
    two = fault(READ, 400, envelope(190, "expired on Tuesday 10:05", 463, fbtrace_id="BBB"))
    assert one.message == two.message
    assert (one.evidence.trace_id, two.evidence.trace_id) == ("AAA", "BBB")


def test_message_quotes_what_must_be_changed() -> None:
    data = '{"blame_field_specs": [["name"], ["schedule", "url"]]}'
    found = fault(WRITE, 400, envelope(100, "Invalid parameter", error_data=data, error_user_msg="The name is\ntaken."))
    assert found.message == (
        "change settings of catalog 1: Meta does not accept the request: "
        "code 100 (Invalid parameter; The name is taken.; parameters: name, schedule.url)"
    )


def test_every_row_of_the_table_tells_what_to_do_and_needs_a_code() -> None:
    for meaning in TABLE:
        assert meaning.codes
        assert meaning.text
        assert meaning.disposition in (R, W, S)


def test_every_reason_of_the_table_is_a_reason() -> None:
    for meaning in (*TABLE, TRANSIENT, UNKNOWN, NO_ENVELOPE, NO_SUCCESS, THROTTLED_BY_STATUS):
        assert meaning.reason in set(Reason)


def leaves(kind: type[httpx.RequestError]) -> list[type[httpx.RequestError]]:
    below = kind.__subclasses__()
    return [leaf for child in below for leaf in leaves(child)] if below else [kind]


def test_every_exception_of_httpx_is_mapped() -> None:
    found = set(leaves(httpx.RequestError))
    assert len(found) >= 14
    assert found == set(STAGES)


@pytest.mark.parametrize("kind", sorted(STAGES, key=str), ids=str)
def test_exceptions(kind: type[httpx.RequestError]) -> None:
    stage, _ = STAGES[kind]
    for request in (READ, WRITE):
        for left in (False, True):
            found = fault_of(kind(f"secret {TOKEN}"), request, (Secret(TOKEN),), left=left)
            assert TOKEN not in found.message
            if stage is Stage.BEFORE or (stage is Stage.DURING and not (request.write and left)):
                assert found.disposition is R
            elif request.write and left:
                assert found.disposition is U
            else:
                assert found.disposition is D


def test_exceptions_before_a_connection_stands_are_known() -> None:
    before = {kind for kind, (stage, _) in STAGES.items() if stage is Stage.BEFORE}
    assert before == {httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError}
