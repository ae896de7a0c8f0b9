"""JSON as a type, and the narrow doors through which untyped JSON enters and leaves."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import orjson

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
Object: TypeAlias = "dict[str, Json]"


def parse(text: str | bytes | memoryview) -> Json:
    """Raises ValueError on anything that is not JSON."""
    value: Json = orjson.loads(text)
    return value


def dump(value: Json) -> bytes:
    return orjson.dumps(value)


def dump_text(value: Json) -> str:
    return orjson.dumps(value).decode()


def as_object(value: Json) -> Object:
    return dict(value) if isinstance(value, Mapping) else {}


def as_list(value: Json) -> list[Json]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []


def as_text(value: Json, default: str = "") -> str:
    return value if isinstance(value, str) else default


def as_number(value: Json, default: float = 0.0) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default


def as_integer(value: Json, default: int = 0) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default
