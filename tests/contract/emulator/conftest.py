"""Every contract test runs twice: in-process and over a socket. Both must answer alike."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from hack.emulator.app import Emulator
from hack.emulator.serve import Front
from hack.emulator.transport import EmulatorTransport
from tests.contract.emulator.driver import PROMPT, Clock, Meta


@pytest.fixture(params=["in_process", "http"])
def front(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def make(front: str) -> AsyncIterator[Any]:
    """Makes an emulator with the given switches, behind the front of this run."""
    async with AsyncExitStack() as stack:

        async def build(*, seed: int = 1, prompt: bool = True, **options: Any) -> Meta:
            clock = Clock()
            switches = {**(PROMPT if prompt else {}), **options.pop("switches", {})}
            emulator = Emulator(clock=clock, seed=seed, switches=switches, **options)
            if front == "http":
                served = Front(emulator)
                await served.start()
                stack.push_async_callback(served.stop)
                client = httpx.AsyncClient(base_url=served.url, timeout=20)
            else:
                stack.callback(emulator.close)
                client = httpx.AsyncClient(
                    transport=EmulatorTransport(emulator), base_url="https://graph.facebook.com", timeout=20
                )
            return await stack.enter_async_context(Meta(clock, emulator, client))

        yield build


@pytest.fixture
async def meta(make: Any) -> Meta:
    built: Meta = await make()
    return built
