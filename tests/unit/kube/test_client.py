"""The transport over the official client, against a small server: one attempt, and what a failure says."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from controller.faults import Disposition, Fault
from controller.kube.client import AioTransport, load_access, load_configuration
from controller.kube.transport import Accept, AnswerLost, ContentType, NotSent, Refused, Request

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def kubeconfig(directory: Path, port: int, user: dict[str, object] | None = None) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "x", "user": user or {"token": "abc"}}],
    }
    path = directory / "kubeconfig"
    path.write_text(json.dumps(document))
    return path


@asynccontextmanager
async def serving(directory: Path, handler: Handler) -> AsyncIterator[AioTransport]:
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = int(runner.addresses[0][1])
    try:
        async with AioTransport(await load_configuration(kubeconfig(directory, port))) as transport:
            yield transport
    finally:
        await runner.cleanup()


async def test_a_request_carries_what_it_says(tmp_path: Path) -> None:
    seen: list[tuple[str, str, str, str, str, object]] = []

    async def handler(request: web.Request) -> web.Response:
        headers = request.headers
        seen.append(
            (
                request.method,
                str(request.rel_url),
                headers["Authorization"],
                headers["Accept"],
                headers["Content-Type"],
                await request.json(),
            )
        )
        return web.json_response({"kind": "X"})

    async with serving(tmp_path, handler) as transport:
        query = (("fieldManager", "m"), ("force", "true"))
        body = {"a": 1}
        request = Request("PATCH", "/apis/x", query, body, ContentType.APPLY, Accept.JSON)
        assert await transport.send(request) == {"kind": "X"}
    assert seen == [
        (
            "PATCH",
            "/apis/x?fieldManager=m&force=true",
            "Bearer abc",
            "application/json",
            "application/apply-patch+yaml",
            {"a": 1},
        )
    ]


async def test_an_error_is_read(tmp_path: Path) -> None:
    async def handler(_: web.Request) -> web.Response:
        details = {"name": "a", "kind": "catalogs"}
        return web.json_response(
            {"kind": "Status", "reason": "NotFound", "message": "no", "details": details}, status=404
        )

    async with serving(tmp_path, handler) as transport:
        with pytest.raises(Refused) as refused:
            await transport.send(Request("GET", "/apis/x"))
        assert refused.value.object_missing


async def test_a_plain_404_proves_nothing(tmp_path: Path) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=404, text="404 page not found")

    async with serving(tmp_path, handler) as transport:
        with pytest.raises(Refused) as refused:
            await transport.send(Request("GET", "/apis/x"))
        assert not refused.value.object_missing


@pytest.mark.parametrize("verb", ["GET", "PUT", "POST", "DELETE"])
async def test_a_connection_that_breaks_is_tried_once(tmp_path: Path, verb: str) -> None:
    """On a connection that was used before, aiohttp would send a PUT a second time, all by itself."""
    calls = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal calls
        if request.path == "/warm":
            return web.json_response({})
        calls += 1
        assert request.transport is not None
        request.transport.abort()
        return web.json_response({})

    async with serving(tmp_path, handler) as transport:
        await transport.send(Request("GET", "/warm"))
        with pytest.raises(AnswerLost):
            await transport.send(Request(verb, "/break", body={} if verb != "GET" else None))  # type: ignore[arg-type]
    assert calls == 1


async def test_an_answer_that_does_not_come_is_lost(tmp_path: Path) -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.json_response({})

    async with serving(tmp_path, handler) as transport:
        with pytest.raises(AnswerLost):
            await transport.send(Request("POST", "/slow", body={"a": 1}, deadline_seconds=0.2))


async def test_an_answer_that_is_no_document_is_lost(tmp_path: Path) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(text="<html>")

    async with serving(tmp_path, handler) as transport:
        with pytest.raises(AnswerLost):
            await transport.send(Request("POST", "/x", body={"a": 1}))


async def test_where_nobody_listens_nothing_was_sent(tmp_path: Path, unused_tcp_port: int) -> None:
    async with AioTransport(await load_configuration(kubeconfig(tmp_path, unused_tcp_port))) as transport:
        with pytest.raises(NotSent):
            await transport.send(Request("POST", "/x", body={"a": 1}))


async def test_a_kubeconfig_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Fault) as fault:
        await load_configuration(tmp_path / "nothing")
    assert fault.value.disposition is Disposition.STALLED
    assert str(tmp_path / "nothing") in fault.value.message


async def test_outside_of_a_pod_the_service_account_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(Fault, match="--kubeconfig"):
        await load_configuration(None)


async def test_the_other_client_gets_the_same_access(tmp_path: Path) -> None:
    certificate = base64.b64encode(b"certificate").decode()
    access = await load_access(kubeconfig(tmp_path, 1, {"token": "abc"}))
    assert (access.server, access.token) == ("http://127.0.0.1:1", "abc")
    assert "abc" not in repr(access)
    assert certificate not in repr(access)
