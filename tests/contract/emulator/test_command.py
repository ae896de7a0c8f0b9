"""The command line: what people type, and what it says when that can't work."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.emulator.processes import REPOSITORY, emulator

DEADLINE_SECONDS = 60


def run(*options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "hack.emulator", *options]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=REPOSITORY, timeout=DEADLINE_SECONDS, check=False
    )


def test_the_first_line_says_all_that_a_client_needs() -> None:
    with emulator("--speed", "100", "--seed", "5", switches={"onsite_checkout": "present"}) as process:
        assert process.about["url"].startswith("http://127.0.0.1:")
        assert process.about["speed"] == 100
        assert process.call("GET", "/me")["id"]
        before = process.control("/clock")["now"]
        assert process.control("/clock")["now"] > before
        assert process.control("/switches")["switches"]["onsite_checkout"] == "present"
        process.popen.terminate()
        assert process.popen.wait(timeout=DEADLINE_SECONDS) == 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--port", "0", "--switch", "nonsense=1"), "there is no switch 'nonsense'"),
        (("--port", "0", "--switch", "gzip_members=some"), "one of first, all"),
        (("--port", "0", "--speed", "0"), "--speed must be above 0"),
        ((), "--port"),
    ],
)
def test_what_can_not_work_is_said(options: tuple[str, ...], reason: str) -> None:
    done = run(*options)
    assert done.returncode != 0
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_and_a_directory_that_is_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("--port", str(taken.getsockname()[1]))
    assert "can't start" in done.stderr
    assert "Traceback" not in done.stderr
    with emulator("--state", str(tmp_path)) as process:
        assert process.call("GET", "/me")["id"]
        second = run("--port", "0", "--state", str(tmp_path))
        assert "can't start" in second.stderr
        assert "Traceback" not in second.stderr
