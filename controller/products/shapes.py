"""Which format a file has: as declared, or told from its first bytes. Text is UTF-8 by now."""

import json
import re
from dataclasses import dataclass

from controller.api.v1alpha1.items import FileFormat, FileType
from controller.faults import Disposition, Fault

DELIMITERS = (",", "\t", ";", "|")
BOM = b"\xef\xbb\xbf"
PARQUET_MAGIC = b"PAR1"
HEAD_BYTES = 1 << 16
"""So much of a file is looked at."""
_HTML = re.compile(rb"\A(<!--.*?-->|\s)*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_PACKED = (
    b"PK\x03\x04",
    b"BZh",
    b"\x28\xb5\x2f\xfd",
    b"\x1f\x8b",
    b"Rar!",
    b"7z\xbc\xaf",
    b"\xd0\xcf\x11\xe0",
    b"%PDF",
)
READ = "CSV, TSV, JSON Lines, JSON, XML and Parquet are read, plain or in gzip, zip, bzip2 or zstd"


@dataclass(frozen=True, slots=True)
class Shape:
    """Format of a file. `type` is never Auto; `delimiter` only where it is CSV or TSV; `rows_at` for JSON and XML."""

    type: FileType
    delimiter: str = ""
    rows_at: tuple[str, ...] = ()


def malformed(why: str) -> Fault:
    return Fault("SourceMalformed", Disposition.RETRY, why)


def shape_of(declared: FileFormat, head: bytes) -> Shape:
    """Take what is declared; look for the rest."""
    found = declared.type
    if found is FileType.AUTO and declared.delimiter != "Auto":
        found = FileType.CSV
    if found is FileType.AUTO:
        return detect(head, rows_at(declared))
    if found is FileType.TSV:
        return Shape(found, "\t")
    if found is FileType.CSV:
        return Shape(found, detect_delimiter(head) if declared.delimiter == "Auto" else declared.delimiter)
    return Shape(found, rows_at=rows_at(declared))


def rows_at(declared: FileFormat) -> tuple[str, ...]:
    return tuple(declared.rows_at.split(".")) if declared.rows_at else ()


def detect(head: bytes, path: tuple[str, ...] = ()) -> Shape:
    """Tell the format from the first bytes. Refuses what certainly is none of the formats."""
    text = head.removeprefix(BOM).lstrip()
    if text.startswith(PARQUET_MAGIC):
        return Shape(FileType.PARQUET)
    if text.startswith(_PACKED):
        raise malformed(f"the source is a packed or binary file of a kind that is not read; {READ}")
    if _HTML.match(text[:2_048]):
        raise malformed("the source answered an HTML page (a login, perhaps), not a file with rows; check the address")
    if text.startswith(b"<"):
        return Shape(FileType.XML, rows_at=path)
    if text.startswith(b"["):
        return Shape(FileType.JSON, rows_at=path)
    if text.startswith(b"{"):
        return Shape(FileType.JSON, rows_at=path) if path or not _one_object_per_line(text) else _JSON_LINES
    return Shape(FileType.CSV, detect_delimiter(head))


_JSON_LINES = Shape(FileType.JSON_LINES)


def _one_object_per_line(text: bytes) -> bool:
    """Tell JSON Lines from one JSON document that begins with the same brace."""
    line, _, rest = text.partition(b"\n")
    try:
        first = json.loads(line)
    except (ValueError, RecursionError):
        # Pretty-printed JSON breaks the line right behind the brace; a long or broken first line of rows does not.
        return bool(rest.lstrip().startswith(b"{")) or (not rest and not _opens_array(line))
    if rest.strip():
        return True
    return not any(isinstance(value, list) and value and isinstance(value[0], dict) for value in first.values())


def _opens_array(line: bytes) -> bool:
    return re.match(rb'\A\{\s*"[^"]{0,100}"\s*:\s*\[\s*\{', line) is not None


def detect_delimiter(head: bytes) -> str:
    """Take the separator that is most frequent outside quotes in the header line."""
    line = skip_comments(head.removeprefix(BOM)).split(b"\n", 1)[0]
    outside = b"".join(line.split(b'"')[::2])
    return max(DELIMITERS, key=lambda each: (outside.count(each.encode()), -DELIMITERS.index(each)))


def skip_comments(data: bytes) -> bytes:
    """Skip blank lines and lines that start with '#' before the header, as in Meta's own template."""
    while (line := data.split(b"\n", 1))[0].strip() == b"" or line[0].lstrip(b'"').startswith(b"#"):
        if len(line) == 1:
            break
        data = line[1]
    return data
