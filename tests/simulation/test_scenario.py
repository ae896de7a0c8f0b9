"""Days of operation in virtual time: safe while faults strike, convergent once they stop, the same for the same seed.

The last tests plant defects and demand that the checkers find them: a checker that can't fail proves nothing.
"""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from controller.settings import Timing
from tests.simulation import checkers, scenario
from tests.simulation.loop import SimulatedLoop
from tests.simulation.world import Options, World


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_week_with_faults_is_safe_and_converges(tmp_path: Path) -> None:
    """Crashes, pauses, lost answers, throttling, a broken shop, a forgetful API server: seven virtual days."""
    report = scenario.run(7, 7.0, tmp_path / "store")
    assert report.violations == [], report.line()
    assert report.operations["batch"] > 10
    assert report.operations["replace"] > 5
    assert len(report.faults) > 10


@pytest.mark.timeout(120)
def test_two_calm_days_send_only_what_is_needed(tmp_path: Path) -> None:
    report = scenario.run(3, 2.0, tmp_path / "store", faults=False)
    assert report.violations == []
    assert report.faults == {}


@pytest.mark.timeout(120)
def test_the_same_seed_gives_the_same_trace(tmp_path: Path) -> None:
    first = scenario.run(5, 0.6, tmp_path / "first")
    second = scenario.run(5, 0.6, tmp_path / "second")
    other = scenario.run(6, 0.6, tmp_path / "other")
    assert first.digest == second.digest
    assert first.digest != other.digest


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        yield runner


async def _hours(world: World, hours: int) -> None:
    """A shop whose prices move every few minutes."""
    for _ in range(hours * 12):
        await asyncio.sleep(300)
        world.shop.change_some(0.5)
        world.testify(world.shop.testimony(world.clock.unix()))


async def _audited(world: World) -> list[str]:
    await world.populate()
    process = world.launch()
    await _hours(world, 2)
    found = await checkers.safety(world)
    process.kill()
    return found


def test_without_settling_the_auditor_sees_overlaps(tmp_path: Path, loop: asyncio.Runner) -> None:
    """Effects come up to 8 s after `finished`: a writer that doesn't wait overlaps with itself."""

    async def run() -> list[str]:
        world = World(Options(seed=1, interval=timedelta(minutes=5)), tmp_path)
        timing = Timing(settle=timedelta(), batch_poll=timedelta(seconds=1), upload_poll=timedelta(seconds=1))
        world.settings = world.settings.model_copy(update={"timing": timing})
        return await _audited(world)

    assert any('"I1"' in violation for violation in loop.run(run()))


def test_an_item_that_somebody_else_changed_is_found_by_the_checker(tmp_path: Path, loop: asyncio.Runner) -> None:
    async def run() -> list[str]:
        world = World(Options(seed=1, products=12), tmp_path)
        await world.populate()
        process = world.launch()
        await asyncio.sleep(7_200)
        assert await checkers.liveness(world) == []
        product = next(iter(world.shop.products.values()))
        product.price_cents += 1
        found = await checkers.liveness(world)
        process.kill()
        return found

    assert any("price" in violation for violation in loop.run(run()))
