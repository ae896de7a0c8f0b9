"""What the demo says while it runs: numbered steps with the time that has passed.

On a terminal the line of what is being waited for counts on; elsewhere it is written once, when it is over.
"""

import time
from collections.abc import Callable
from typing import TextIO

from hack.controlplane.progress import ERASE_LINE

Clock = Callable[[], float]


class Telling:
    """Elapsed time counts from its creation."""

    def __init__(self, stream: TextIO, steps: int, *, clock: Clock = time.monotonic) -> None:
        self._stream = stream
        self._steps = steps
        self._step = 0
        self._clock = clock
        self._began = clock()
        self._terminal = stream.isatty()

    @property
    def elapsed_seconds(self) -> float:
        return self._clock() - self._began

    def step(self, title: str) -> None:
        self._step += 1
        self._line(f"── {self._step}/{self._steps} {title}")

    def say(self, text: str) -> None:
        """Something that is so now."""
        self._line(f"{'':>6}{text}")

    def done(self, text: str) -> None:
        """Something that was waited for."""
        self._line(f"{self.elapsed_seconds:>4.0f} s {text}")

    def waiting(self, text: str) -> None:
        """Something that is waited for; overwritten by what is said next."""
        if self._terminal:
            self._stream.write(f"{ERASE_LINE}{self.elapsed_seconds:>4.0f} s … {text}")
            self._stream.flush()

    def text(self, text: str) -> None:
        self._line(text)

    def _line(self, text: str) -> None:
        self._stream.write(f"{ERASE_LINE if self._terminal else ''}{text}\n")
        self._stream.flush()
