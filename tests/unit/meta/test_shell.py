"""The shell: deadlines, the governor, secrecy."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator

import httpx
import pytest

from controller.faults import Disposition, Fault
from controller.meta.client import HttpxGraphFactory, check_endpoint
from controller.meta.failures import STAGES
from controller.ports.meta import Body, Bucket, Call, CatalogChange, Usage
from tests.unit.meta.scripted import (
    APP_SECRET,
    TOKEN,
    Answering,
    FixedClock,
    RecordingGovernor,
    Script,
    answer,
    connect,
    credentials,
    envelope,
    failure,
    make_body,
    raw,
)

CHANGE = CatalogChange(name="New")


async def test_every_call_asks_the_governor_and_every_answer_is_told() -> None:
    header = '{"5": [{"type": "catalog_management", "call_count": 40, "estimated_time_to_regain_access": 0}]}'
    governor = RecordingGovernor()
    script = Script(
        answer({"id": "5"}, headers={"X-Business-Use-Case-Usage": header}),
        answer(envelope(80009), 400),
        raw(b"<html>", 502),
    )
    graph = connect(script, credentials(app_id="42"), governor)
    await graph.read_catalog("5")
    for _ in range(2):
        with pytest.raises(Fault):
            await graph.update_catalog("5", CHANGE)
    read = Call("read_catalog", Bucket.MANAGEMENT, "42", "5", False)
    write = Call("update_catalog", Bucket.MANAGEMENT, "42", "5", True)
    assert governor.admitted == [read, write, write]
    assert governor.observed == [(read, Usage(40, 0), None), (write, None, 1), (write, None, None)]


async def test_refused_admission_sends_nothing() -> None:
    refusal = Fault("LeaseLost", Disposition.RETRY, "the lease is lost")
    script = Script(answer({"success": True}))
    with pytest.raises(Fault) as caught:
        await connect(script, governor=RecordingGovernor(refusal)).update_catalog("5", CHANGE)
    assert caught.value is refusal
    assert script.requests == []


async def test_no_answer_no_observation() -> None:
    governor = RecordingGovernor()
    with pytest.raises(Fault):
        await connect(Script(failure(httpx.ReadError("x"))), governor=governor).read_catalog("5")
    assert governor.observed == []


@pytest.mark.parametrize(
    ("error", "write", "disposition"),
    [
        (httpx.ConnectError("refused"), True, Disposition.RETRY),
        (httpx.ConnectTimeout("slow"), True, Disposition.RETRY),
        (httpx.PoolTimeout("full"), True, Disposition.RETRY),
        (httpx.ReadTimeout("slow"), True, Disposition.UNCERTAIN),
        (httpx.ReadError("reset"), True, Disposition.UNCERTAIN),
        (httpx.WriteError("reset"), True, Disposition.UNCERTAIN),
        (httpx.RemoteProtocolError("closed"), True, Disposition.UNCERTAIN),
        (httpx.ReadTimeout("slow"), False, Disposition.RETRY),
        (httpx.RemoteProtocolError("closed"), False, Disposition.RETRY),
    ],
)
async def test_broken_connections(error: httpx.RequestError, write: bool, disposition: Disposition) -> None:
    graph = connect(Script(failure(error)))
    with pytest.raises(Fault) as caught:
        await (graph.update_catalog("5", CHANGE) if write else graph.list_feeds("5"))
    assert (caught.value.reason, caught.value.disposition) == ("MetaUnavailable", disposition)


async def _never(_: httpx.Request) -> httpx.Response:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize(("write", "disposition"), [(True, Disposition.UNCERTAIN), (False, Disposition.RETRY)])
async def test_deadline_bounds_the_whole_call(write: bool, disposition: Disposition) -> None:
    factory = HttpxGraphFactory(
        "http://meta.example", RecordingGovernor(), FixedClock(), lambda: httpx.MockTransport(_never)
    )
    graph = factory.connect(credentials(timeout_seconds=0.05))
    with pytest.raises(Fault) as caught:
        await (graph.update_catalog("5", CHANGE) if write else graph.list_feeds("5"))
    assert caught.value.disposition is disposition


async def test_deadline_bounds_an_answer_that_trickles() -> None:
    async def trickle(_: httpx.Request) -> httpx.Response:
        async def pieces() -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await asyncio.sleep(0.005)

        return httpx.Response(200, content=pieces())

    factory = HttpxGraphFactory(
        "http://meta.example", RecordingGovernor(), FixedClock(), lambda: httpx.MockTransport(trickle)
    )
    with pytest.raises(Fault, match="no answer within the total time"):
        await factory.connect(credentials(timeout_seconds=0.1)).list_feeds("5")


async def test_payload_has_a_deadline_of_its_own() -> None:
    factory = HttpxGraphFactory(
        "http://meta.example", RecordingGovernor(), FixedClock(), lambda: httpx.MockTransport(_never)
    )
    body = make_body(b"{}")
    short = Body(body.size_bytes, body.sha256, body.open, deadline_seconds=0.05)
    with pytest.raises(Fault) as caught:
        await factory.connect(credentials(timeout_seconds=100)).send_batch("5", short)
    assert caught.value.disposition is Disposition.UNCERTAIN


async def test_cancellation_passes_through() -> None:
    factory = HttpxGraphFactory(
        "http://meta.example", RecordingGovernor(), FixedClock(), lambda: httpx.MockTransport(_never)
    )
    task = asyncio.create_task(factory.connect(credentials()).update_catalog("5", CHANGE))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_wrong_payload_is_cut_off() -> None:
    script = Script(answer({"handles": ["Ac"]}))
    with pytest.raises(Fault, match="PayloadMismatch"):
        await connect(script).send_batch("5", make_body(b"{}", sha256="0" * 64))
    assert script.requests == []


async def test_redirections_are_not_followed_and_cookies_not_kept() -> None:
    script = Script(
        raw(b"", 302, {"Location": "https://evil.example/", "Set-Cookie": "a=b; Path=/"}), answer({"data": []})
    )
    graph = connect(script)
    with pytest.raises(Fault):
        await graph.list_feeds("5")
    await graph.list_feeds("5")
    assert len(script.requests) == 2
    assert "cookie" not in script.requests[1].headers


@pytest.mark.parametrize(
    "endpoint", ["graph.facebook.com", "ftp://x", "https://", "https://u:p@x", "https://x?token=1", "https://x#y"]
)
def test_endpoint_must_be_plain(endpoint: str) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        check_endpoint(endpoint)


def test_endpoint_loses_its_slash() -> None:
    assert check_endpoint("https://graph.facebook.com/") == "https://graph.facebook.com"


LEAKY = f"rejected {TOKEN} and {APP_SECRET} access_token={TOKEN}&x"
FAILURES: dict[str, Answering] = {
    **{kind.__name__: failure(kind(LEAKY)) for kind in STAGES},
    **{
        f"code {code}": answer(
            envelope(code, LEAKY, error_user_msg=LEAKY, error_data={"blame_field_specs": [[LEAKY]]}), 400
        )
        for code in (1, 2, 3, 4, 10, 100, 190, 200, 613, 804, 2500, 2635, 80014, 987654)
    },
    "html": raw(LEAKY.encode(), 502),
    "shape": answer([LEAKY]),
    "echo": answer({"id": {"x": LEAKY}, "data": LEAKY, "handles": LEAKY}),
    "error text": answer({"error": LEAKY}, 400),
    "unsuccessful": answer({"success": False, "message": LEAKY}),
}


@pytest.mark.parametrize("name", sorted(FAILURES))
@pytest.mark.parametrize("operation", ["read", "write", "upload", "batch", "localized", "token"])
async def test_no_failure_shows_a_secret(name: str, operation: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    script = Script(*[FAILURES[name]] * 4)
    graph = connect(script, credentials(app_secret=True))
    calls = {
        "read": lambda: graph.find_catalogs("x"),
        "write": lambda: graph.create_catalog("x", "commerce"),
        "upload": lambda: graph.upload("5", "6", "a.csv.gz", make_body(b"abc"), update_only=False),
        "batch": lambda: graph.send_batch("5", make_body(b"{}")),
        "localized": lambda: graph.send_localized_batch("5", make_body(b"{}")),
        "token": graph.inspect_token,
    }
    with pytest.raises(Fault) as caught:
        await calls[operation]()
    fault = caught.value
    shown = "".join(traceback.format_exception(fault)) + repr(fault) + str(fault)
    shown += "".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    proof = script.requests[0].url.params.get("appsecret_proof") if script.requests else None
    for secret in (TOKEN, APP_SECRET, proof):
        assert secret is None or secret not in shown
    assert fault.__context__ is None
    assert fault.__cause__ is None
    assert any(record.name == "controller.meta.client" for record in caplog.records)


async def test_log_names_the_call_and_its_result(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    graph = connect(Script(answer({"id": "5"}), answer(envelope(100, "no", 33, fbtrace_id="Abc_1"), 400)))
    await graph.read_catalog("5")
    with pytest.raises(Fault):
        await graph.read_catalog("5")
    good, bad = (record.__dict__ for record in caplog.records if record.name == "controller.meta.client")
    assert (good["operation"], good["result"], good["http_status"]) == ("read_catalog", "ok", 200)
    assert (bad["result"], bad["code"], bad["subcode"], bad["trace_id"]) == ("NotVisible", 100, 33, "Abc_1")
    assert bad["levelname"] == "INFO"
