"""The demo's directory, its flags, and the operator's shortened waits."""

import argparse
from datetime import timedelta
from pathlib import Path

import pytest

from controller.operators import flags
from controller.settings import Timing
from hack.demo import options, world
from hack.demo.options import Options


def read(*arguments: str, **environment: str) -> Options:
    parser = argparse.ArgumentParser()
    options.add_flags(parser, environment)
    return options.read(parser, parser.parse_args(arguments))


def test_everything_can_be_said_by_flag_or_variable(tmp_path: Path) -> None:
    assert read() == Options()
    found = read("--speed=5", DEMO_DIRECTORY=str(tmp_path), DEMO_PRODUCTS="500", DEMO_EMULATOR_PORT="4711")
    assert found == Options(directory=tmp_path, products=500, speed=5.0, emulator_port=4711)
    assert read("--products=400", DEMO_PRODUCTS="500").products == 400


@pytest.mark.parametrize("wrong", ["--products=10", "--speed=0", "--speed=1000", "--emulator-port=x"])
def test_a_wrong_flag_is_named(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read(wrong)
    assert wrong.partition("=")[0] in capsys.readouterr().err


def test_the_operator_takes_the_shortened_waits() -> None:
    timing = flags.parse(world.timing_flags(20.0), {}).settings.timing
    assert timing.batch_poll == timedelta(seconds=1)
    assert timing.batch_abandon == Timing().batch_abandon / 20
    assert timing.settle == world.WAIT_MIN
    assert flags.parse(world.timing_flags(1.0), {}).settings.timing == Timing()


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(world.DemoError, match="not empty and not a demo's"):
        world.erase(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_an_empty_directory_and_none_are_as_good_as_new(tmp_path: Path) -> None:
    assert not world.erase(tmp_path / "nothing")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert not world.erase(empty)
    places = world.prepare(empty)
    assert world.remembered(places) == {}
    world.remember(places, emulator="http://127.0.0.1:1")
    assert world.remembered(places) == {"emulator": "http://127.0.0.1:1"}
    assert world.erase(empty)
    assert not empty.exists()
