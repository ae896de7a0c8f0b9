"""Runs a command as a whole process and measures it: seconds, and the summed proportional set size of its tree.

Processor time is that of the process and of all that it waited for. It tells what a machine that is shared does not.
"""

import contextlib
import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Measured:
    seconds: float
    peak_pss_bytes: int
    cpu_seconds: float = 0.0

    def __add__(self, other: "Measured") -> "Measured":
        """One after the other."""
        return Measured(
            self.seconds + other.seconds,
            max(self.peak_pss_bytes, other.peak_pss_bytes),
            self.cpu_seconds + other.cpu_seconds,
        )


def run(command: list[str], *, log: Path) -> Measured:
    """Run to the end. Raises RuntimeError with the end of the log when the command fails."""
    peak = 0
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        while (code := process.poll()) is None:
            peak = max(peak, tree_pss_bytes(process.pid))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=SAMPLE_SECONDS)
    seconds = time.monotonic() - began
    if code != 0:
        raise RuntimeError(f"{' '.join(command[:4])} … ended with {code}:\n{log.read_text(errors='replace')[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(seconds, peak, used)


def tree_pss_bytes(pid: int) -> int:
    """Return 0 where a process of the tree ends meanwhile."""
    try:
        parent = psutil.Process(pid)
        tree = [parent, *parent.children(recursive=True)]
        return sum(process.memory_full_info().pss for process in tree)
    except psutil.Error:
        return 0
