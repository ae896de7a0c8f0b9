"""How progress is shown: as lines in a log, and on one line that counts on a terminal."""

import io

from typing_extensions import override

from hack.controlplane.progress import ERASE_LINE
from hack.demo.telling import Telling


class Screen(io.StringIO):
    @override
    def isatty(self) -> bool:
        return True


def tell(stream: io.StringIO) -> str:
    times = iter([100.0, 103.2, 104.9])
    telling = Telling(stream, 2, clock=lambda: next(times, 110.0))
    telling.step("The first")
    telling.waiting("it comes")
    telling.done("it came")
    telling.say("so it is")
    telling.step("The second")
    return stream.getvalue()


def test_a_log_has_whole_lines_only() -> None:
    assert tell(io.StringIO()) == "── 1/2 The first\n   3 s it came\n      so it is\n── 2/2 The second\n"


def test_a_terminal_shows_what_is_waited_for_until_it_came() -> None:
    shown = tell(Screen())
    assert f"{ERASE_LINE}   3 s … it comes{ERASE_LINE}   5 s it came\n" in shown
