"""A step's process ends with the process that started it, and is the first to go when memory runs out.

Called by the step itself as its first act, because code between fork and exec is not safe in a process with threads.
"""

import contextlib
import ctypes
import os
import signal
from pathlib import Path

PARENT_VARIABLE = "METACATALOG_PREPARE_PARENT"
"""Environment: process id of the starter. Absent in a Job, which Kubernetes ends."""
OOM_SCORE_ADJUSTMENT = 1_000
"""Linux: the first to be taken."""
_PR_SET_PDEATHSIG = 1
"""Linux: prctl(2)."""


def bind_to_parent(parent: int) -> bool:
    """Ask the kernel to end this process with its parent. False where the parent is gone already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


def go_first() -> None:
    """Raise the badness of this process; a kernel that does not allow it changes nothing else."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE_ADJUSTMENT), encoding="ascii")
