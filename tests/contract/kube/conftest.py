"""`world`: the same tests against the in-memory server and the real one."""

from collections.abc import AsyncIterator

import pytest

from tests.contract.kube.worlds import MemoryWorld, RealWorld, World


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.controlplane)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "memory":
        yield MemoryWorld("shop")
        return
    # Asked for here and not as arguments: the memory half must not start a control plane.
    control_plane = request.getfixturevalue("control_plane")
    namespace = request.getfixturevalue("namespace")
    async with RealWorld.enter(namespace, control_plane) as entered:
        yield entered
