"""Runs a command as a whole process and measures it: seconds, and the summed proportional set size of its tree."""

import contextlib
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


def run(command: list[str], *, log: Path) -> Measured:
    """Run to the end. Raises RuntimeError with the end of the log when the command fails."""
    peak = 0
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        while (code := process.poll()) is None:
            peak = max(peak, _pss(process.pid))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=SAMPLE_SECONDS)
    seconds = time.monotonic() - began
    if code != 0:
        raise RuntimeError(f"{' '.join(command[:4])} … ended with {code}:\n{log.read_text(errors='replace')[-2000:]}")
    return Measured(seconds, peak)


def _pss(pid: int) -> int:
    try:
        parent = psutil.Process(pid)
        tree = [parent, *parent.children(recursive=True)]
        return sum(process.memory_full_info().pss for process in tree)
    except psutil.Error:
        return 0
