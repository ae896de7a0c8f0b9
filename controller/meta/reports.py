"""The full error report of an upload: a CSV file, read as a stream.

Meta documents the columns (retailer id, message, severity, field names, affected capabilities, whether it blocks them)
but not their headings, so headings are recognised by their words, and a file without any is read by position. The
standard csv module parses single records; it cannot be fed asynchronously, which is why records are cut here.
"""

import codecs
import csv
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from controller.meta import errors, limits, problems
from controller.meta.protocol import Answer, Request, contract_violation
from controller.ports.meta import Problem


@dataclass(frozen=True, slots=True)
class Columns:
    """Positions of what is read. None: the file does not have it."""

    item_id: int | None = 0
    message: int | None = 1
    severity: int | None = 2
    fields: int | None = 3


async def read_problems(pieces: AsyncIterator[bytes], request: Request) -> AsyncIterator[Problem]:
    """Yield one problem per row. Raises ContractViolation when the file is not CSV."""
    columns: Columns | None = None
    async for record in split_records(pieces, request):
        cells = parse_record(record)
        if not any(cells):
            continue
        if columns is None:
            columns = find_columns(cells)
            if columns is not None:
                continue
            columns = Columns()
        yield read_problem(cells, columns)


async def split_records(pieces: AsyncIterator[bytes], request: Request) -> AsyncIterator[str]:
    """Cut the stream into records: a line break inside quotes does not end one."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
    text = ""
    record = ""
    async for piece in pieces:
        *lines, text = (text + decoder.decode(piece)).split("\n")
        for line in lines:
            record += line + "\n"
            if record.count('"') % 2 == 0:
                yield record
                record = ""
        if len(record) + len(text) > limits.REPORT_ROW_CHARACTERS_MAX:
            what = f"a row of the report is longer than {limits.REPORT_ROW_CHARACTERS_MAX} characters"
            raise contract_violation(Answer(request, None), what)
    record += text + decoder.decode(b"", final=True)
    if record:
        yield record


def parse_record(record: str) -> list[str]:
    rows = list(csv.reader(record.splitlines(keepends=True)))
    return [cell.strip() for cell in rows[0]] if rows else []


def find_columns(cells: Sequence[str]) -> Columns | None:
    """Recognise a row of headings; None when it is data."""
    names = [
        "".join(character if character.isalnum() else " " for character in cell.casefold()).split() for cell in cells
    ]
    severity = _position(names, "severity", "level")
    message = _position(names, "message", "description", "error", "issue")
    if severity is None or message is None or cells[severity].casefold() in ("fatal", "warning"):
        return None
    return Columns(
        item_id=_position(names, "retailer", "item", "id", "content"),
        message=message,
        severity=severity,
        fields=_position(names, "field", "fields", "property", "properties", "attribute", "attributes", "column"),
    )


def read_problem(cells: Sequence[str], columns: Columns) -> Problem:
    message = errors.clean(_cell(cells, columns.message))
    named = _cell(cells, columns.fields)
    return Problem(
        severity=problems.severity_of(_cell(cells, columns.severity)),
        message=message,
        item_id=_cell(cells, columns.item_id) or None,
        field=problems.single_field(named) if named else problems.named_field(message),
    )


def _position(names: Sequence[Sequence[str]], *words: str) -> int | None:
    """Find the first heading with the first of the words that occurs in any."""
    for word in words:
        for position, name in enumerate(names):
            if word in name:
                return position
    return None


def _cell(cells: Sequence[str], position: int | None) -> str:
    return cells[position] if position is not None and position < len(cells) else ""
