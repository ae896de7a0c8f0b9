"""Identities name one process for ever, and what is bound ends with who started it."""

import os
import select
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hack.controlplane import launch
from hack.controlplane.launch import Identity

REPOSITORY = Path(__file__).parents[3]
STAT_AFTER_NAME = "S 1 4242 4242 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 2048 100"

START_BOUND_AND_TELL = """
import pathlib, signal, sys
from hack.controlplane import processes
started = processes.start("sleeper", ["sleep", "600"], directory=pathlib.Path(sys.argv[1]), bound=True)
print(started.identity.pid, flush=True)
signal.pause()
"""


@pytest.mark.parametrize("name", ["sleep", "a name", "a) S 1 2", "((", "tab\tand) Z 0"])
def test_the_start_time_is_found_whatever_the_program_is_called(name: str) -> None:
    assert launch.start_ticks_of(f"4242 ({name}) {STAT_AFTER_NAME}") == 987654


@pytest.mark.parametrize("state", ["Z", "X"])
def test_a_process_that_waits_to_be_reaped_does_not_run(state: str) -> None:
    assert launch.start_ticks_of(f"4242 (sleep) {STAT_AFTER_NAME.replace('S', state, 1)}") is None


def test_an_unreaped_child_does_not_run() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked how
    assert Path(f"/proc/{child.pid}").exists()
    assert Identity.of(child.pid) is None
    child.wait()
    assert Identity.of(child.pid) is None


def test_only_the_very_same_process_is_the_one_that_was_recorded(tmp_path: Path) -> None:
    me = Identity.of(os.getpid())
    assert me is not None
    me.write(tmp_path / "record")
    assert Identity.read(tmp_path / "record") == me
    assert me.runs()
    assert not replace(me, start_ticks=me.start_ticks - 1).runs(), "the process id was given away again"
    assert not replace(me, boot_id="another").runs(), "the machine was restarted"


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"boot_id": "b", "pid": "?", "start_ticks": 1}'])
def test_an_incomplete_record_names_nobody(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "record").write_text(content)
    assert Identity.read(tmp_path / "record") is None


def test_what_is_bound_dies_when_its_starter_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", START_BOUND_AND_TELL, str(tmp_path)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        bound = Identity.of(int(starter.stdout.readline()))
        assert bound is not None
        pidfd = os.pidfd_open(bound.pid)
        starter.kill()
    try:
        assert select.select([pidfd], [], [], 10)[0], "it still runs"
        assert not bound.runs()
    finally:
        os.close(pidfd)


def test_a_launcher_whose_starter_is_gone_starts_nothing(tmp_path: Path) -> None:
    """The starter ended before the kernel was told to end the launcher with it."""
    reading, writing = os.pipe()
    stranger = str(os.getppid())
    marker = tmp_path / "ran"
    arguments = [launch.BOUND, stranger, str(writing), str(tmp_path / "record"), "touch", str(marker)]
    ended = subprocess.run(
        [sys.executable, "-I", "-S", launch.__file__, *arguments], pass_fds=(writing,), check=False, timeout=30
    )
    os.close(writing)
    with os.fdopen(reading) as answer:
        assert "has ended" in answer.read()
    assert ended.returncode == 1
    assert not marker.exists()
