"""People see that something goes on, and for how long."""

import io
from collections.abc import Callable

import pytest
from typing_extensions import override

from hack.controlplane.progress import Progress, duration


class Terminal(io.StringIO):
    @override
    def isatty(self) -> bool:
        return True


class Watch:
    """A stopwatch that only waiting moves."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def wait_for(self, total_seconds: float) -> Callable[[float], bool]:
        done_at = self.seconds + total_seconds

        def wait(seconds: float) -> bool:
            self.seconds = min(self.seconds + seconds, done_at)
            return self.seconds >= done_at

        return wait

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.9, "59 s"), (60, "1 min 00 s"), (245, "4 min 05 s"), (4000, "66 min 40 s")]
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_log_gets_a_line_now_and_then() -> None:
    stream, watch = io.StringIO(), Watch()
    progress = Progress(stream, clock=watch)
    progress.follow("building x", watch.wait_for(40))
    progress.say(f"built in {progress.elapsed()}")
    assert stream.getvalue().splitlines() == [
        "control plane: building x · 0 s",
        "control plane: building x · 15 s",
        "control plane: building x · 30 s",
        "control plane: built in 40 s",
    ]


def test_a_terminal_gets_one_line_that_refreshes_itself() -> None:
    stream, watch = Terminal(), Watch()
    progress = Progress(stream, clock=watch)
    progress.follow("building x", watch.wait_for(3))
    progress.say("built")
    shown = stream.getvalue()
    assert [part for part in shown.split("\r\x1b[K") if part] == [
        "control plane: building x · 0 s",
        "control plane: building x · 1 s",
        "control plane: building x · 2 s",
        "control plane: built\n",
    ]
