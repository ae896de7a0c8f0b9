"""Starts one program so that it can never be lost: who runs is on disk before it runs.

Run as a program it records its own identity in a file and then becomes the program it was asked for. So there is no
moment, however a start is interrupted, in which something runs that no file names. It is started in one of two ways:

- *bound*: the kernel kills it when the process that asked for it ends, however that ends (``PR_SET_PDEATHSIG``). What
  asked is a thread to the kernel, so the caller keeps the thread that starts such programs alive.
- *free*: it is nobody's child and lives until it is ended through its record.

A record is only worth something if it cannot name a stranger. Process ids are reused, after a restart of the machine
at once; the boot id and the start time (in ticks since boot) make the identity unique, and psutil's creation time,
which is derived from the wall clock, does not.

This file imports nothing of the project and runs with ``python -I -S``: it starts in 20 ms and depends on no
environment. Linux only.
"""

import ctypes
import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn, Self

PR_SET_PDEATHSIG = 1  # prctl(2)
BOUND = "bound"
FREE = "free"


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, for ever: no other process, now or after a restart of the machine, is equal to it."""

    boot_id: str
    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Who has this process id now; None where nobody has, or only a process that ended and waits to be reaped."""
        ticks = running_since(pid)
        return None if ticks is None else cls(boot_id=this_boot(), pid=pid, start_ticks=ticks)

    @classmethod
    def read(cls, record: Path) -> Self | None:
        """Who was recorded. A record that cannot be read names nobody: it was never completed."""
        try:
            document = json.loads(record.read_text())
            return cls(
                boot_id=str(document["boot_id"]),
                pid=int(document["pid"]),
                start_ticks=int(document["start_ticks"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, record: Path) -> None:
        unfinished = record.with_name(f"{record.name}.{self.pid}")
        unfinished.write_text(json.dumps(asdict(self)))
        unfinished.replace(record)

    def runs(self) -> bool:
        return Identity.of(self.pid) == self


def this_boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def running_since(pid: int) -> int | None:
    """The start time of a running process, in clock ticks since boot."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return start_ticks_of(line)


def start_ticks_of(stat_line: str) -> int | None:
    """Field 22 of /proc/<pid>/stat (proc(5)); None for a process that ended already.

    The second field is the program's name in parentheses and may contain spaces and parentheses itself, so the fields
    are counted from the last one that closes.
    """
    fields = stat_line.rpartition(")")[2].split()
    state, start_ticks = fields[0], fields[19]
    return None if state in "ZX" else int(start_ticks)


def die_with_parent(parent: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it ended before the kernel was told
        raise ProcessLookupError(f"the process {parent} that asked for this one has ended")


def become(record: Path, command: list[str]) -> NoReturn:
    """Record this process, then turn it into the command."""
    me = Identity.of(os.getpid())
    assert me is not None
    me.write(record)
    os.execvp(command[0], command)  # noqa: S606 - there is no shell, on purpose


def launch(manner: str, parent: int, record: Path, command: list[str]) -> NoReturn:
    if manner == BOUND:
        die_with_parent(parent)
    else:
        assert manner == FREE
        if os.fork() != 0:
            os._exit(0)
        os.setsid()
    become(record, command)


def main(arguments: list[str]) -> NoReturn:
    manner, parent, answer, record, *command = arguments
    # Closed when the command is executed, which tells the caller that it was. What is written says why it was not.
    os.set_inheritable(int(answer), False)
    try:
        launch(manner, int(parent), Path(record), command)
    except BaseException as problem:  # noqa: BLE001 - whatever it is, the caller has to be told
        Path(record).unlink(missing_ok=True)
        os.write(int(answer), f"{command[0]}: {problem}".encode())
        os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
