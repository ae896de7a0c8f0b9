"""Processes are started in a way that loses none, and only they are ended."""

import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from hack.controlplane import processes
from hack.controlplane.launch import Identity
from hack.controlplane.processes import ProcessError

SLEEP = ["sleep", "600"]
STUBBORN = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]


@pytest.mark.parametrize("bound", [True, False])
def test_what_was_started_is_found_again_and_ended(tmp_path: Path, *, bound: bool) -> None:
    started = processes.start("sleeper", SLEEP, directory=tmp_path, bound=bound)
    try:
        assert started.runs()
        assert Path(f"/proc/{started.identity.pid}/comm").read_text() == "sleep\n"
        assert processes.recorded(tmp_path) == {"sleeper": replace(started, child=None)}
        assert not started.wait(0)
        assert started.resident_bytes() > 0
    finally:
        started.end(grace_seconds=10)
    assert not started.runs()
    assert started.resident_bytes() == 0
    assert processes.recorded(tmp_path) == {}
    started.end(grace_seconds=0)  # again is harmless
    processes.forget(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["sleeper.log"]


@pytest.mark.parametrize("bound", [True, False])
def test_a_program_that_does_not_exist_is_said_at_once(tmp_path: Path, *, bound: bool) -> None:
    with pytest.raises(ProcessError, match=r"nothing-like-that.*No such file"):
        processes.start("absent", ["nothing-like-that"], directory=tmp_path, bound=bound)
    assert processes.recorded(tmp_path) == {}


def test_who_does_not_listen_is_killed(tmp_path: Path) -> None:
    stubborn = processes.start("stubborn", STUBBORN, directory=tmp_path, bound=True)
    try:
        while "ready" not in stubborn.log.read_text():
            assert not stubborn.wait(0.02)
        stubborn.end(grace_seconds=0.2)
        assert stubborn.exit_code() == -signal.SIGKILL
    finally:
        stubborn.end(grace_seconds=0)


def test_a_stranger_with_a_recorded_process_id_is_left_alone(tmp_path: Path) -> None:
    stranger = processes.start("stranger", SLEEP, directory=tmp_path, bound=True)
    try:
        earlier = replace(stranger.identity, start_ticks=stranger.identity.start_ticks - 1)
        for gone in (earlier, replace(stranger.identity, boot_id="before the restart")):
            gone.write(processes.record_of(tmp_path, "stranger"))
            assert processes.recorded(tmp_path) == {}
            replace(stranger, identity=gone, child=None).end(grace_seconds=0)
            replace(stranger, identity=gone, child=None).send(signal.SIGKILL)
            assert not stranger.wait(0.05)
    finally:
        stranger.end(grace_seconds=0)


def test_what_a_thread_starts_does_not_end_with_the_thread(tmp_path: Path) -> None:
    found: list[processes.Process] = []
    thread = threading.Thread(
        target=lambda: found.append(processes.start("sleeper", SLEEP, directory=tmp_path, bound=True))
    )
    thread.start()
    thread.join()
    try:
        assert not found[0].wait(0.2)
        assert found[0].runs()
    finally:
        found[0].end(grace_seconds=0)


def test_it_gets_the_environment_and_the_log_it_was_given(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "echo $GREETING $HOME; pwd >&2; exit 7"]
    started = processes.start("shell", command, directory=tmp_path, bound=True, environment={"GREETING": "good day"})
    assert started.wait(10)
    assert started.exit_code() == 7
    assert started.log.read_text() == f"good day\n{tmp_path}\n"
    assert processes.tail(started.log) == f"The end of {started.log}:\n  good day\n  {tmp_path}"


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert processes.tail(log).endswith("(empty)")
    log.write_text("".join(f"line {number}\n" for number in range(100_000)))
    lines = processes.tail(log).splitlines()
    assert len(lines) == 1 + processes.LOG_TAIL_LINES
    assert lines[-1] == "  line 99999"


def test_a_record_without_a_process_is_no_process(tmp_path: Path) -> None:
    Identity(boot_id="b", pid=2**22, start_ticks=1).write(processes.record_of(tmp_path, "gone"))
    (tmp_path / f"torn{processes.RECORD_SUFFIX}").write_text("{")
    assert processes.recorded(tmp_path) == {}


@pytest.mark.parametrize(("program", "code"), [("true", 0), ("false", 1)])
def test_what_ends_at_once_has_been_started_all_the_same(tmp_path: Path, program: str, code: int) -> None:
    for _ in range(10):
        started = processes.start(program, [program], directory=tmp_path, bound=True)
        assert started.wait(10)
        assert started.exit_code() == code
