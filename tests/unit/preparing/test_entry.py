"""The program around a step: what goes in, what comes out, and what never shows."""

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from controller.ports.preparing import RESULTS, FailedStep, RefreshResult
from controller.preparing import entry, fork_server, lifetime
from tests.unit.preparing.world import World, products


@pytest.fixture
def world(tmp_path: Path) -> World:
    found = World(tmp_path)
    found.offer(products(2))
    return found


def run(arguments: list[str], stdin: bytes = b"") -> int:
    return entry.answer(arguments, io.BytesIO(stdin))


def test_a_request_from_a_file(world: World, tmp_path: Path) -> None:
    request, result = tmp_path / "request", tmp_path / "result"
    request.write_text(world.refresh_request().model_dump_json())
    assert run([str(request), str(result)], b'{"headers": [["x-key", "y"]]}') == 0
    found = RESULTS.validate_json(result.read_bytes())
    assert isinstance(found, RefreshResult)
    assert found.pending[0].creations == 2


def test_a_request_from_standard_input(world: World, tmp_path: Path) -> None:
    stdin = world.refresh_request().model_dump_json().encode() + b"\n{}\n"
    assert run(["-", str(tmp_path / "result")], stdin) == 0


def test_a_failed_step_is_a_result(world: World, tmp_path: Path) -> None:
    request, result = tmp_path / "request", tmp_path / "result"
    (world.store.root / "identity.json").unlink()
    request.write_text(world.refresh_request().model_dump_json())
    assert run([str(request), str(result)]) == 0
    found = RESULTS.validate_json(result.read_bytes())
    assert isinstance(found, FailedStep)
    assert found.reason == "SnapshotLost"


def test_a_request_that_makes_no_sense_repeats_nothing_of_it(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    document = json.loads(world.refresh_request().model_dump_json()) | {"version": 2}
    request, result = tmp_path / "request", tmp_path / "result"
    request.write_text(json.dumps(document))
    assert run([str(request), str(result)]) == fork_server.EXIT_USAGE
    request.write_text(world.refresh_request().model_dump_json())
    with caplog.at_level(logging.DEBUG):
        assert run([str(request), str(result)], b'{"url": 5, "s3cr3t": "s3cr3t"}') == fork_server.EXIT_USAGE
    assert "s3cr3t" not in caplog.text
    assert not result.exists()


def test_a_step_whose_starter_is_gone_does_nothing(world: World, tmp_path: Path) -> None:
    result = tmp_path / "result"
    done = subprocess.run(
        [sys.executable, "-m", "controller.preparing.entry", "-", str(result)],
        input=world.refresh_request().model_dump_json().encode(),
        env={**os.environ, lifetime.PARENT_VARIABLE: "1"},
        check=False,
    )
    assert done.returncode == fork_server.EXIT_ORPHAN
    assert not result.exists()
    assert world.store.keys("") == ()
