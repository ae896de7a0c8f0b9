"""Starting, watching and ending the control plane's processes.

A process is known by its Identity, so what an earlier run of ours left behind is handled exactly like a child of this
one, and a process id that now belongs to somebody else is never signalled: signals go through a pidfd, which the
kernel ties to one process, and its identity is checked after the pidfd was opened.

No library does this: psutil signals by process id, supervisors are daemons of their own.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hack.controlplane import launch
from hack.controlplane.launch import Identity

RECORD_SUFFIX = ".process.json"
LOG_TAIL_LINES = 15
LOG_TAIL_BYTES = 8_000

# The kernel ties a bound process to the thread that started it. This one lives as long as the interpreter, the thread
# that happens to call (of an event loop's pool, say) may not.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="control-plane-starter")


class ProcessError(Exception):
    """A program could not be started, or ended when it should run."""


@dataclass(frozen=True, slots=True)
class Process:
    """One started program. `child` is there only for what this interpreter started bound, and has to be reaped."""

    name: str
    identity: Identity
    log: Path
    child: subprocess.Popen[bytes] | None = None

    def runs(self) -> bool:
        return self.identity.runs()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for its end; whether it has ended."""
        with _pidfd(self.identity) as pidfd:
            if pidfd is not None:
                poll = select.poll()
                poll.register(pidfd, select.POLLIN)
                if not poll.poll(timeout_seconds * 1000):
                    return False
        if self.child is not None:
            self.child.wait()  # ended already: this only reaps it
        return True

    def send(self, number: signal.Signals) -> None:
        with _pidfd(self.identity) as pidfd:
            if pidfd is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, number)

    def end(self, grace_seconds: float) -> None:
        """Ask it to end, and kill it when the grace is over. Returns when it has ended. Without grace it is killed."""
        if grace_seconds > 0:
            self.send(signal.SIGTERM)
            if self.wait(grace_seconds):
                return
        self.send(signal.SIGKILL)
        if not self.wait(timeout_seconds=30):
            raise ProcessError(f"{self.name} (process {self.identity.pid}) does not end although it was killed.")

    def exit_code(self) -> int | None:
        """How a bound process that has ended ended; negative is the signal that killed it."""
        return None if self.child is None else self.child.returncode

    def resident_bytes(self) -> int:
        """Its resident set; 0 when it has ended."""
        try:
            pages = int(Path(f"/proc/{self.identity.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE") if self.runs() else 0


@contextlib.contextmanager
def _pidfd(identity: Identity) -> Iterator[int | None]:
    """A handle of the process, or None when it has ended."""
    try:
        pidfd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        # Checked after opening: from here on the handle means this process, even if its id is given to another one.
        yield pidfd if identity.runs() else None
    finally:
        os.close(pidfd)


def record_of(directory: Path, name: str) -> Path:
    return directory / f"{name}{RECORD_SUFFIX}"


def log_of(directory: Path, name: str) -> Path:
    return directory / f"{name}.log"


def start(
    name: str,
    command: Sequence[str],
    *,
    directory: Path,
    bound: bool,
    environment: Mapping[str, str] | None = None,
    working_directory: Path | None = None,
) -> Process:
    """Start a program. Its record and its log (appended to) lie in `directory`, which is where it runs too.

    A bound one dies with this interpreter. One that is not lives until somebody ends it; it is no child of anybody.
    """
    if sys.platform != "linux":
        raise ProcessError("The local control plane needs Linux: it relies on pidfd, /proc and PR_SET_PDEATHSIG.")
    record, log = record_of(directory, name), log_of(directory, name)
    record.unlink(missing_ok=True)
    reading, writing = os.pipe()
    manner = launch.BOUND if bound else launch.FREE
    launcher = [sys.executable, "-I", "-S", launch.__file__, manner, str(os.getpid()), str(writing)]

    def spawn() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [*launcher, str(record), *command],
                cwd=working_directory or directory,
                env=None if environment is None else dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(writing,),
                start_new_session=True,  # Ctrl-C is for the caller, who then ends these in good order
            )

    with os.fdopen(reading, encoding="utf-8", errors="replace") as answer:
        try:
            child = _starter.submit(spawn).result()
        finally:
            os.close(writing)
        problem = answer.read()  # ends when the command runs, or the launcher has ended
    identity = Identity.read(record)  # not asked of the kernel: the command may have ended already
    if problem or identity is None:
        child.wait()
        raise ProcessError(f"{name} did not start. {problem}\n{tail(log)}")
    if not bound:
        child.wait()  # the launcher, which has ended; the command is its child no more
        return Process(name=name, identity=identity, log=log)
    return Process(name=name, identity=identity, log=log, child=child)


def recorded(directory: Path) -> dict[str, Process]:
    """What was started for this directory, by whomever, and runs."""
    found: dict[str, Process] = {}
    for record in sorted(directory.glob(f"*{RECORD_SUFFIX}")):
        name = record.name.removesuffix(RECORD_SUFFIX)
        identity = Identity.read(record)
        if identity is not None and identity.runs():
            found[name] = Process(name=name, identity=identity, log=log_of(directory, name))
    return found


def forget(directory: Path) -> None:
    """Remove the records (also those that were never completed)."""
    for record in directory.glob(f"*{RECORD_SUFFIX}*"):
        record.unlink(missing_ok=True)


def tail(log: Path) -> str:
    """The last lines of a log, headed by where it is."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
            lines = stream.read().decode(errors="replace").splitlines()
    except OSError:
        lines = []
    return "\n".join([f"The end of {log}:", *(f"  {line}" for line in lines[-LOG_TAIL_LINES:] or ["(empty)"])])
