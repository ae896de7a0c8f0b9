"""Locks between processes, and files that appear whole."""

import fcntl
import subprocess
import sys
from pathlib import Path

from hack.controlplane import files

REPOSITORY = Path(__file__).parents[3]

HOLD = """
import pathlib, sys
from hack.controlplane import files
with files.exclusive(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_waits_for_its_holder_and_survives_the_holders_death(tmp_path: Path) -> None:
    lock = tmp_path / "deeper" / "lock"
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        waited = []

        def kill_the_holder() -> None:
            waited.append("once")
            holder.kill()

        with files.exclusive(lock, waiting=kill_the_holder), lock.open() as other:
            assert waited == ["once"]
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                refused = True
            else:
                refused = False
            assert refused
    with files.exclusive(lock, waiting=lambda: waited.append("again")):
        assert waited == ["once"]


def test_a_private_file_is_replaced_whole_and_read_by_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"old")
    path.chmod(0o644)
    with path.open("rb") as reader:
        files.write_private(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
