"""The shop's export: one CSV file, written whole so that no reader ever sees half of it."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from hack.demo.products import COLUMNS

Row = dict[str, str]


def parse(content: bytes) -> dict[str, Row]:
    """Rows by id, as far as the file can be read; people edit it by hand."""
    text = content.decode("utf-8-sig", errors="replace")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    found: dict[str, Row] = {}
    for record in reader:
        row = {name: value for name, value in record.items() if isinstance(name, str) and isinstance(value, str)}
        item = row.get("id", "").strip()
        if item and item not in found:
            found[item] = row
    return found


def render(rows: Iterable[Mapping[str, str]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def read(path: Path) -> dict[str, Row]:
    return parse(path.read_bytes())


def write(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_bytes(render(rows))
    unfinished.replace(path)
