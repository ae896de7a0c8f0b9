"""Days of operation in virtual time: safe while faults strike, convergent once they stop, the same for the same seed.

The last tests plant defects and demand that the checkers find them: a checker that can't fail proves nothing.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.emulator.switches import Switches
from tests.simulation import checkers, scenario
from tests.simulation.additions import LOCALES, STOCK
from tests.simulation.world import Options, World
from tests.virtual_time import SimulatedLoop


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_week_with_faults_is_safe_and_converges(tmp_path: Path) -> None:
    """Crashes, pauses, lost answers, throttling, a broken shop, a forgetful API server: seven virtual days."""
    report = scenario.run(7, 7.0, tmp_path / "store", overlays=())
    assert report.violations == [], report.line()
    assert report.operations["batch"] > 10
    assert report.operations["replace"] > 5
    assert len(report.faults) > 10


@pytest.mark.timeout(120)
def test_two_calm_days_send_only_what_is_needed(tmp_path: Path) -> None:
    report = scenario.run(3, 2.0, tmp_path / "store", faults=False, overlays=())
    assert report.violations == []
    assert report.faults == {}


@pytest.mark.timeout(120)
def test_overlays_for_all_and_for_single_languages_and_countries_converge(tmp_path: Path) -> None:
    """Faults strike their files and batches too; at the end one of them is taken out of the spec."""
    report = scenario.run(22, 1.6, tmp_path / "store", overlays=(STOCK, *LOCALES[:2]))
    assert report.violations == [], report.line()
    assert report.operations["localized"] > 5
    assert len(report.faults) > 5


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


def test_effects_later_than_anyone_waits_for_are_seen_as_overlaps(tmp_path: Path, loop: asyncio.Runner) -> None:
    """Effects up to a quarter of an hour after `finished`: the next send of a product meets the last one."""

    async def run() -> list[str]:
        switches = Switches(effects_after_finished_seconds=900)
        return await _audited(World(Options(seed=1, switches=switches), tmp_path))

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
