"""The grammar of durations."""

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from controller.api import durations
from controller.api.durations import Duration

ADAPTER: TypeAdapter[timedelta] = TypeAdapter(Duration)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0s", timedelta()),
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("2160h", timedelta(days=90)),
        ("1h30m", timedelta(minutes=90)),
        ("1h2m3s4ms", timedelta(hours=1, minutes=2, seconds=3, milliseconds=4)),
        ("5s1h", timedelta(hours=1, seconds=5)),
    ],
)
def test_what_people_write_is_understood(text: str, value: timedelta) -> None:
    assert durations.parse(text) == value


@pytest.mark.parametrize(
    "text", ["", "3d", "1", "h", "1.5h", "-1h", "PT1H", "1 h", "100000h", "1h1h1h1h1h", "1H", "1h\n"]
)
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="write a duration such as 90s, 15m or 1h30m"):
        durations.parse(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(), "0s"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(days=90), "2160h"),
        (timedelta(milliseconds=1500), "1s500ms"),
    ],
)
def test_durations_are_written_in_their_shortest_form(value: timedelta, text: str) -> None:
    assert durations.format_duration(value) == text


@pytest.mark.parametrize("value", [timedelta(seconds=-1), timedelta(microseconds=1), timedelta(hours=100_000)])
def test_what_the_grammar_cannot_say_is_not_written(value: timedelta) -> None:
    with pytest.raises(ValueError, match="cannot be written as a duration"):
        durations.format_duration(value)


@given(st.integers(min_value=0, max_value=100_000 * 3_600_000 - 1).map(lambda ms: timedelta(milliseconds=ms)))
def test_written_durations_are_read_back(value: timedelta) -> None:
    text = durations.format_duration(value)
    assert re.fullmatch(durations.PATTERN, text)
    assert len(text) <= durations.TEXT_LENGTH_MAX
    assert durations.parse(text) == value


@given(st.from_regex(durations.PATTERN, fullmatch=True).filter(str.isascii))
def test_whatever_the_api_server_admits_can_be_read(text: str) -> None:
    value = ADAPTER.validate_python(text)
    assert value == durations.parse(text)
    assert len(text) <= durations.TEXT_LENGTH_MAX


def test_iso_8601_is_not_a_second_way_to_write_it() -> None:
    with pytest.raises(ValidationError):
        ADAPTER.validate_python("PT5M")


def test_json_has_the_text() -> None:
    assert ADAPTER.dump_python(timedelta(minutes=5), mode="json") == "5m"
