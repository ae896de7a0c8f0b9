"""Says that something long is going on, and for how long already.

On a terminal one line that refreshes itself; elsewhere (a log, a pipe) a new line now and then.
"""

import time
from collections.abc import Callable
from typing import TextIO

TERMINAL_INTERVAL_SECONDS = 1.0
LOG_INTERVAL_SECONDS = 15.0
ERASE_LINE = "\r\x1b[K"  # ECMA-48: carriage return, erase to the end of the line

Wait = Callable[[float], bool]
"""Waits for at most this many seconds; whether what is waited for has happened."""


class Progress:
    """Reports to one stream. Elapsed time counts from its creation."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._started = clock()
        self._terminal = stream.isatty()

    def say(self, text: str) -> None:
        """One line that stays."""
        self._stream.write(f"{ERASE_LINE if self._terminal else ''}control plane: {text}\n")
        self._stream.flush()

    def follow(self, text: str, wait: Wait) -> None:
        """Report until `wait` says that it has happened."""
        self._report(text)
        interval_seconds = TERMINAL_INTERVAL_SECONDS if self._terminal else LOG_INTERVAL_SECONDS
        while not wait(interval_seconds):
            self._report(text)

    def elapsed(self) -> str:
        return duration(self._clock() - self._started)

    def _report(self, text: str) -> None:
        line = f"control plane: {text} · {self.elapsed()}"
        self._stream.write(f"{ERASE_LINE}{line}" if self._terminal else f"{line}\n")
        self._stream.flush()


def duration(seconds: float) -> str:
    """Whole seconds, for people: "8 s", "4 min 05 s"."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
