"""One seed, one history: in every process and under every hash seed."""

import os
import subprocess
import sys

from tests.contract.emulator.processes import REPOSITORY
from tests.contract.emulator.replay import play


def replayed(seed: int, hash_seed: str) -> str:
    command = [sys.executable, "-m", "tests.contract.emulator.replay", str(seed)]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, check=True, timeout=100
    )
    return done.stdout.strip()


async def test_a_seed_replays_and_another_differs() -> None:
    here = await play(1)
    assert replayed(1, "0") == replayed(1, "1") == here
    assert await play(2) != here
