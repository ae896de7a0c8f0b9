"""The port that probes and Prometheus ask."""

import socket

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge

from controller.faults import Fault
from controller.operators.http import Health, HttpPort


async def ask(port: HttpPort, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://127.0.0.1:{port.port}{path}")


async def test_probes_say_what_is_wrong() -> None:
    health = Health()
    trouble: list[str] = []
    health.live["watches"] = lambda: trouble[0] if trouble else None
    health.ready["api-server"] = lambda: None
    async with HttpPort("127.0.0.1", 0, health, CollectorRegistry()) as port:
        well = await ask(port, "/livez")
        assert (well.status_code, well.text) == (200, "[+] watches\nok\n")
        trouble.append("blind: Catalog")
        ill = await ask(port, "/livez")
        assert (ill.status_code, ill.text) == (503, "[-] watches: blind: Catalog\nfailed\n")
        assert (await ask(port, "/readyz")).status_code == 200


async def test_metrics_are_those_of_the_registry() -> None:
    registry = CollectorRegistry()
    Gauge("some_gauge", "Some gauge", registry=registry).set(7)
    async with HttpPort("127.0.0.1", 0, Health(), registry) as port:
        answer = await ask(port, "/metrics")
    assert "some_gauge 7.0" in answer.text
    assert answer.headers["content-type"].startswith("text/plain")


async def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(Fault, match=f"--http-port: can't listen on 127.0.0.1:{number}"):
            async with HttpPort("127.0.0.1", number, Health(), CollectorRegistry()):
                raise AssertionError("listening on a port of somebody else")
