"""Where the records of a source end, as far as raw bytes can tell."""

from controller.api.v1alpha1.items import FileType
from controller.products.raw import Splitter
from controller.products.records import RecordParser
from controller.products.shapes import BOM, Shape, skip_comments

LINE_END = b"\n"


def splitter(shape: Shape, head: bytes, line_bytes_max: int) -> Splitter | None:
    """Return how records are told apart, or None for a format that only its parser understands."""
    start = len(BOM) if head.startswith(BOM) else 0
    if shape.type is FileType.JSON_LINES:
        return Splitter(LINE_END, None, start)
    if shape.type not in (FileType.CSV, FileType.TSV):
        return None
    body = skip_comments(head[start:])
    found = RecordParser(shape.delimiter, line_bytes_max).first(body)
    if found is None or not body[: found[1]].endswith(LINE_END):
        return None
    return Splitter(LINE_END, b'"', len(head) - len(body) + found[1])
