"""What one demo is like: flags, each with an environment variable beside it."""

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DIRECTORY = REPOSITORY / "build" / "demo"
PRODUCTS = 2_400
PRODUCTS_MIN = 300
"""Below that the guard lets a third go: it always allows 20, and the story needs some of each sort."""
SPEED = 20.0
SPEED_MAX = 60.0
"""Above that the clock of the stand-in runs away from the operator while one request is answered."""
SEED = 1


@dataclass(frozen=True, slots=True)
class Options:
    """Ports are 0 for free ones."""

    directory: Path = DIRECTORY
    products: int = PRODUCTS
    seed: int = SEED
    speed: float = SPEED
    emulator_port: int = 0
    source_port: int = 0
    operator_port: int = 0


FLAGS: dict[str, tuple[type, object, str]] = {
    "directory": (Path, DIRECTORY, "where everything of it lies"),
    "products": (int, PRODUCTS, f"how many products the shop has, at least {PRODUCTS_MIN}"),
    "seed": (int, SEED, "the products follow from it"),
    "speed": (float, SPEED, "how much faster the clock of the stand-in for Meta runs"),
    "emulator-port": (int, 0, "of the stand-in for Meta; 0: a free one"),
    "source-port": (int, 0, "of the shop's web server; 0: a free one"),
    "operator-port": (int, 0, "of the operator's probes and metrics; 0: a free one"),
}


def add_flags(parser: argparse.ArgumentParser, environment: Mapping[str, str] = os.environ) -> None:
    for name, (kind, default, meaning) in FLAGS.items():
        variable = "DEMO_" + name.replace("-", "_").upper()
        value = environment.get(variable, default)
        parser.add_argument(f"--{name}", type=kind, default=value, help=f"{meaning} [{variable}] (%(default)s)")


def read(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Options:
    if given.products < PRODUCTS_MIN:
        parser.error(f"--products: at least {PRODUCTS_MIN}")
    if not 1 <= given.speed <= SPEED_MAX:
        parser.error(f"--speed: from 1 to {SPEED_MAX:g}")
    return Options(
        directory=given.directory.resolve(),
        products=given.products,
        seed=given.seed,
        speed=given.speed,
        emulator_port=given.emulator_port,
        source_port=given.source_port,
        operator_port=given.operator_port,
    )
