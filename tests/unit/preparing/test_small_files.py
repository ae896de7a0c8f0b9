"""A person's own small file: the first answer leads to a working manifest in one edit.

Each first manifest names nothing but the file. The test does exactly what the answer says, and nothing else.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from controller.ports.preparing import RefreshResult, RuleCount
from tests.unit.preparing.world import World

SMALL = Path(__file__).parents[1] / "products" / "small"
ADVICE = re.compile(r"Check this and add it to spec\.items\[products\]: (\{.*\})$")
COUNTS = {"bikes": 2, "boutique": 2, "keramik": 3, "stickers": 2, "tienda": 2}


def advice(message: str) -> dict[str, Any]:
    found = ADVICE.search(message)
    assert found is not None, message
    document: dict[str, Any] = json.loads(found.group(1))
    return document


def with_advice(documents: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The entry after one edit: lists are added to, values are set. The same line said twice is written once."""
    entry: dict[str, Any] = {}
    for document in documents:
        entry |= {name: value for name, value in document.items() if name != "mapping"}
        for part, value in document.get("mapping", {}).items():
            mapping = entry.setdefault("mapping", {})
            if isinstance(value, list):
                mapping[part] = [*mapping.get(part, []), *(line for line in value if line not in mapping.get(part, []))]
            else:
                mapping[part] = value
    return entry


def looked_at(directory: Path, content: bytes, **entry: Any) -> tuple[World, RefreshResult]:
    directory.mkdir()
    world = World(directory, **entry)
    world.offer(content)
    return world, world.refresh()


def errors(result: RefreshResult) -> list[RuleCount]:
    return [check for check in result.checks if check.level == "Error"]


def sent(world: World) -> pl.DataFrame:
    """What Meta has after a full send."""
    world.send_full()
    return pl.DataFrame(list(world.meta.items.values()), infer_schema_length=None)


@pytest.mark.parametrize("name", COUNTS)
def test_one_edit_is_enough(tmp_path: Path, name: str) -> None:
    content = (SMALL / f"{name}.csv").read_bytes()
    _, first = looked_at(tmp_path / "first", content)
    assert first.refused is not None
    assert first.refused.reason == "MappingInvalid"
    world, second = looked_at(tmp_path / "second", content, **with_advice([advice(first.refused.message)]))
    assert second.head is not None, second.refused
    assert errors(second) == []
    assert second.head.valid == COUNTS[name]
    items = sent(world)
    assert items.height == COUNTS[name]
    assert items.get_column("price").str.contains(r"^[0-9]+\.[0-9]{2} (EUR|USD)$").all()
    assert items.get_column("link").str.contains(r"^https://[a-z.]+/\S+$").all()


def test_where_only_values_are_odd_the_checks_say_what_to_add(tmp_path: Path) -> None:
    content = (SMALL / "jars.csv").read_bytes()
    _, first = looked_at(tmp_path / "first", content)
    assert {check.rule for check in errors(first)} == {"availability-value", "price-format"}
    said = [advice(check.message) for check in errors(first)]
    world, second = looked_at(tmp_path / "second", content, **with_advice(said))
    assert errors(second) == []
    assert sent(world).select("id", "availability", "price").rows() == [
        ("J-1", "in stock", "4.50 EUR"),
        ("J-2", "out of stock", "3.90 EUR"),
    ]


def test_what_nothing_in_the_file_says_is_called_a_guess(tmp_path: Path) -> None:
    _, silent = looked_at(tmp_path / "silent", (SMALL / "keramik.csv").read_bytes())
    _, telling = looked_at(tmp_path / "telling", (SMALL / "boutique.csv").read_bytes())
    assert silent.refused is not None
    assert telling.refused is not None
    assert "EUR is a guess" in silent.refused.message
    assert "guess" not in telling.refused.message


def test_values_are_what_the_person_meant(tmp_path: Path) -> None:
    content = (SMALL / "keramik.csv").read_bytes()
    _, first = looked_at(tmp_path / "first", content)
    assert first.refused is not None
    world, _ = looked_at(tmp_path / "second", content, **with_advice([advice(first.refused.message)]))
    items = sent(world).select("id", "title", "price", "availability", "condition").rows()
    assert items == [
        ("1001", "Teller blau", "19.90 EUR", "in stock", "new"),
        ("1002", "Tasse weiß", "12.50 EUR", "out of stock", "new"),
        ("1003", "Schale groß", "1049.00 EUR", "in stock", "used"),
    ]
