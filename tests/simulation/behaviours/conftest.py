"""Tests here run in virtual time: their event loop is the simulated one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from tests.simulation.behaviours.stage import Plan, Stage
from tests.virtual_time import SimulatedLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    del config, item
    return {"virtual": SimulatedLoop}


@pytest_asyncio.fixture
async def stages(tmp_path: Path) -> AsyncIterator[Callable[..., Stage]]:
    """Make worlds; all their processes end with the test."""
    made: list[Stage] = []

    def make(plan: Plan | None = None) -> Stage:
        stage = Stage(plan or Plan(), tmp_path / f"store-{len(made)}")
        made.append(stage)
        return stage

    yield make
    for stage in made:
        stage.close()
    await asyncio.sleep(1)


@pytest_asyncio.fixture
async def stage(stages: Callable[..., Stage]) -> Stage:
    """A small world in which nothing has happened yet."""
    return stages()
