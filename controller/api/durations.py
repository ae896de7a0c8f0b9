"""Durations as people write them: `90s`, `15m`, `1h30m`, `500ms`.

Up to four numbers of up to five digits with a unit; a subset of what Go and CEL read, so that the API server compares
the same value. Days do not exist there (`2160h` is 90 days). Pydantic's own timedelta speaks ISO 8601, which nobody
writes in manifests.
"""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from controller.api.base import Rule, matches

PATTERN = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
TEXT_LENGTH_MAX = 28
"""Four times five digits and two letters."""
UNITS_MS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
HOURS_MAX = 99_999

_WHOLE = re.compile(PATTERN)
_TERM = re.compile(r"([0-9]{1,5})(ms|h|m|s)")
_MILLISECOND = timedelta(milliseconds=1)
_HOW = "write a duration such as 90s, 15m or 1h30m (units: h, m, s, ms)"


def parse(text: str) -> timedelta:
    """`1h30m` → 1:30:00. ValueError with what to write instead."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(_HOW)
    return timedelta(milliseconds=sum(int(number) * UNITS_MS[unit] for number, unit in _TERM.findall(text)))


def format_duration(value: timedelta) -> str:
    """1:30:00 → `1h30m`. ValueError where the grammar cannot say it (negative, finer than 1 ms, 100,000 h and more)."""
    if value < timedelta() or value % _MILLISECOND:
        raise ValueError(f"{value} cannot be written as a duration: only whole milliseconds from 0 up")
    rest, terms = value // _MILLISECOND, []
    for unit, size in UNITS_MS.items():
        number, rest = divmod(rest, size)
        if number:
            terms.append((number, unit))
    if any(number > HOURS_MAX for number, _ in terms):
        raise ValueError(f"{value} cannot be written as a duration: more than {HOURS_MAX} h")
    return "".join(f"{number}{unit}" for number, unit in terms) or "0s"


def _read(value: object) -> object:
    return parse(value) if isinstance(value, str) else value


def at_least(text: str) -> Rule:
    """A lower bound that the API server checks."""
    rule = f"!{matches(PATTERN)} || duration(self) >= duration('{text}')"
    return Rule(rule, f"must be at least {text}")


Duration = Annotated[
    timedelta,
    BeforeValidator(_read),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "maxLength": TEXT_LENGTH_MAX}),
    Rule(matches(PATTERN), _HOW),
]
