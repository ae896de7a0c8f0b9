"""XML feeds, item by item: RSS, Atom, and any document whose rows are elements of one name.

Promises: only the bytes of items reach the parser, wrapped in an element of ours, so that no document type, entity
or external file is ever looked at. Memory is bounded by a block. One broken item costs itself: items are cut at their
end tag, outside of CDATA and comments, and parsed many at once; where that fails, one by one. A document without its
closing root tag is refused.

An element is a column under its name: `g:` for Google's namespace whatever its prefix, none for the document's own.
Repeated elements are joined with commas; attributes and nested elements are reached by dots (`g:shipping.country`,
`g:shipping.1.country` for the second one); an empty element with `href` has that as its value, as links in Atom do.
"""

import contextlib
import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import polars as pl
from lxml import etree

from controller.products.nested import COLUMNS_MAX, DEPTH_MAX, ELEMENTS_MAX, Row, dumped, frames_of
from controller.products.pieces import of_size
from controller.products.records import Bad, Findings
from controller.products.shapes import malformed
from controller.products.xml_plain import PlainItems

GOOGLE = "http://base.google.com/ns/1.0"
NAMED_ALIKE = frozenset({"", "http://www.w3.org/2005/Atom", "http://purl.org/rss/1.0/"})
"""Namespaces whose elements are columns without a prefix."""
ITEM_NAMES = ("item", "entry", "product", "offer", "SHOPITEM")
"""RSS, Atom, and what shops call it."""
FEEDS = frozenset({b"rss", b"feed", b"RDF"})
"""Documents that may have no item."""
HEAD_BYTES_MAX = 1 << 20
PREFIXES_MAX = 64
"""Of those that are used and not declared."""
TEXT_BYTES_MAX = 65_536
"""CDATA or a comment that goes on for longer behind the end tag of an item is taken for one that is not closed."""
PARSED_TOGETHER = 200
"""A tree of so many items costs little memory, and starting the parser no time."""
PATTERNS_MAX = 64
_TEXTS = ((b"<![CDATA[", b"]]>"), (b"<!--", b"-->"))
_NAME = rb"[A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?"
_ROOT = re.compile(rb"<(" + _NAME + rb")(?=[\s/>])")
_PROLOG = re.compile(rb"\A(?:\s++|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^\[>]*+(?:\[.*?\]\s*)?>)*+", re.DOTALL)
_NAMESPACE = re.compile(rb"""\sxmlns(?::([A-Za-z_][\w.-]*))?\s*=\s*("[^"<&]{0,200}"|'[^'<&]{0,200}')""")
_PREFIX = re.compile(rb"[<\s/]([A-Za-z_][\w.-]*):[A-Za-z_]")
_ONLY_TAGS = re.compile(rb"\A(?:\s++|<!--.*?-->|<\?.*?\?>|</?" + _NAME + rb"(?:\s[^<>]*+)?>)*+\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Head:
    """What the beginning of a document says of its items: all that matters of it."""

    root: bytes
    item: bytes
    namespaces: tuple[tuple[bytes, bytes], ...] = ()
    first: int = -1
    """Where the first item begins, if there is one in sight."""
    numbered: bool = False
    """Items stand on one line: their numbers say more than their lines."""

    @property
    def opening(self) -> re.Pattern[bytes]:
        return _opening(self.item)

    @property
    def closing(self) -> re.Pattern[bytes]:
        return _closing(self.item)


def read(
    pieces: Iterable[bytes], path: tuple[str, ...], findings: Findings, line_bytes_max: int, block_bytes: int
) -> Iterator[pl.DataFrame]:
    """Yield frames; `path` ends with the name of the element that is a row."""
    blocks = of_size(pieces, block_bytes)
    start = b""
    while len(start) < HEAD_BYTES_MAX and (block := next(blocks, None)) is not None:
        start += block
    head = head_of(start[:HEAD_BYTES_MAX], path)
    yield from Reader(head, findings, line_bytes_max).frames(start, blocks)


def head_of(start: bytes, path: tuple[str, ...]) -> Head:
    """Find root, namespaces and the element that is a row in the first HEAD_BYTES_MAX of a document."""
    prolog = _PROLOG.match(start)
    root = _ROOT.match(start, prolog.end() if prolog else 0)
    if root is None:
        raise malformed("the source begins like XML but has no element; is it cut, or another format?")
    names = [path[-1].encode()] if path else [name.encode() for name in ITEM_NAMES]
    searched = (_opening(name, rb"(?:[A-Za-z_][\w.-]*:)?").search(start, root.end()) for name in names)
    found = next(filter(None, searched), None)
    if found is None and not path:
        known = ", ".join(dict.fromkeys(each.decode() for each in _ROOT.findall(start, root.end())[:50]))
        if root[1].rpartition(b":")[2] in FEEDS:
            return Head(root[1], b"item")
        raise malformed(
            f"no element of the XML document is called {', '.join(ITEM_NAMES[:4])}; "
            f"name the one that is a row in format.rowsAt (found: {known[:200]})"
        )
    namespaces = dict(_NAMESPACE.findall(start, 0, found.start() if found else len(start)))
    head = Head(root[1], found[0][1:] if found else path[-1].encode(), tuple(sorted(namespaces.items())))
    return head if found is None else replace(head, first=found.start(), numbered=_on_one_line(head, start, found))


@functools.lru_cache(PATTERNS_MAX)
def _opening(name: bytes, prefix: bytes = b"") -> re.Pattern[bytes]:
    return re.compile(rb"<" + prefix + re.escape(name) + rb"(?=[\s/>])")


@functools.lru_cache(PATTERNS_MAX)
def _closing(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"</" + re.escape(name) + rb"\s*>")


def _on_one_line(head: Head, start: bytes, first: re.Match[bytes]) -> bool:
    closed = head.closing.search(start, first.end())
    second = head.opening.search(start, closed.end()) if closed else None
    return second is not None and b"\n" not in start[first.start() : second.start()]


def unclosed(data: bytes, start: int, end: int) -> bool:
    """Tell whether a position is inside CDATA or a comment that began after `start` and did not end before."""
    return any(
        found >= 0 and data.find(closing, found, end) < 0
        for found, closing in ((data.rfind(opening, start, end), closing) for opening, closing in _TEXTS)
    )


class Reader:
    """Reads the items of one document. `inside`: what it is given begins behind an item."""

    def __init__(self, head: Head, findings: Findings, row_bytes_max: int, *, inside: bool = False) -> None:
        self._head = head
        self._findings = findings
        self._row_bytes_max = row_bytes_max
        self._open, self._close = head.opening, head.closing
        self._declared = dict(head.namespaces)
        self._learned: dict[bytes, bytes] = {}
        # No entity is replaced, no document type loaded, nothing fetched; items are bounded by us.
        self._parser = etree.XMLParser(
            resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, remove_comments=True,
            remove_pis=True, huge_tree=False,
        )  # fmt: skip
        self.plain = PlainItems(head.item, self._column_of, row_bytes_max)
        self._line = 1
        self._number = 1
        self._names: set[str] = set()
        self._begun = inside
        findings.unit = "row" if head.numbered else findings.unit

    def frames(self, start: bytes, blocks: Iterator[bytes]) -> Iterator[pl.DataFrame]:
        carried = start
        yielded = False
        while True:
            block = next(blocks, None)
            records, carried = self._cut(carried, final=block is None)
            if records:
                yielded = True
                yield from self._frames(records)
            if block is None:
                break
            carried += block
        self._must_be_closed(carried)
        if not yielded:
            yield from frames_of([], [])

    def _cut(self, data: bytes, *, final: bool) -> tuple[list[tuple[int, bytes]], bytes]:
        """Take the items that end in this data, each with its line, and return what is left."""
        records: list[tuple[int, bytes]] = []
        position = 0
        for closing in self._close.finditer(data):
            marked = data.find(b"<!", position, closing.start()) >= 0
            inside = _inside_text(data, position, closing.start()) if marked else False
            if inside is None and not final and len(data) - closing.start() < TEXT_BYTES_MAX:
                break
            if inside:
                continue
            piece = data[position : closing.end()]
            opens = [found.start() for found in self._open.finditer(piece)]
            if marked:
                opens = [each for each in opens if not _inside_text(piece, 0, each)]
            start = opens[-1] if opens else len(piece)
            self._judge_between(piece[:start] if self._begun else piece[min(opens, default=0) : start])
            self._begun = True
            self._line += piece.count(b"\n", 0, start)
            if opens:
                records.append((self._number if self._head.numbered else self._line, piece[start:]))
                self._number += 1
            self._line += piece.count(b"\n", start)
            position = closing.end()
        rest = data[position:]
        if len(rest) > self._row_bytes_max * 2:
            skipped = rest[: -self._row_bytes_max]
            self._bad(skipped, "has no item, or one longer than Meta allows")
            self._line += skipped.count(b"\n")
            rest = rest[-self._row_bytes_max :]
        return records, rest

    def _judge_between(self, between: bytes) -> None:
        """Name what stands between two items and is neither blank nor sound."""
        if not between or between.isspace():
            return
        if _ONLY_TAGS.match(between) and not self._open.search(between):
            return
        if self._open.search(between) or not self._is_sound(between):
            self._bad(between, "has an item that is not closed, or content that is no item")

    def _is_sound(self, between: bytes) -> bool:
        """Tell whether this is other elements of the document, none of which looks like the inside of an item."""
        try:
            found = etree.fromstring(self._wrapped(between, self._prefixes(between)), self._parser)
        except etree.XMLSyntaxError:
            return False
        if (found.text or "").strip() or any((each.tail or "").strip() for each in found):
            return False
        return not any(_local(each) in {"id", "offer_id"} for each in found.iter(etree.Element))

    def _bad(self, content: bytes, reason: str) -> None:
        before = content[: len(content) - len(content.lstrip())].count(b"\n")
        self._name(self._number if self._head.numbered else self._line + before, content.strip(), reason)
        self._findings.resynchronised = True

    def _name(self, first: int, content: bytes, reason: str) -> None:
        last = first if self._head.numbered else first + content.count(b"\n")
        self._findings.add(Bad(first, last, reason))

    def _frames(self, records: list[tuple[int, bytes]]) -> Iterator[pl.DataFrame]:
        rows: list[Row] = []
        lines: list[int] = []
        plain = [self.plain.row(raw) for _, raw in records]
        elements = self._elements([raw for (_, raw), row in zip(records, plain, strict=True) if row is None])
        for (line, raw), row in zip(records, plain, strict=True):
            found: Row | etree._Element | str = next(elements) if row is None else row
            if isinstance(found, str):
                self._name(line, raw, found)
                found = self._salvaged(raw)
            if not isinstance(found, str):
                rows.append(self._row(found))
                lines.append(line)
        yield from frames_of(rows, lines)

    def _salvaged(self, raw: bytes) -> "etree._Element | str":
        """An item may stand behind a broken one whose text was not closed."""
        opens = [found.start() for found in self._open.finditer(raw)]
        return self._element(raw[opens[-1] :]) if len(opens) > 1 else "is not well-formed XML"

    def _elements(self, records: list[bytes]) -> Iterator["etree._Element | str"]:
        """Parse many at once, and one by one where that fails."""
        for start in range(0, len(records), PARSED_TOGETHER):
            some = records[start : start + PARSED_TOGETHER]
            root = None
            if max(map(len, some)) <= self._row_bytes_max:
                with contextlib.suppress(etree.XMLSyntaxError):
                    root = etree.fromstring(self._wrapped(b"".join(some), self._learned), self._parser)
            if root is not None and len(root) == len(some):
                yield from root
            else:
                yield from map(self._element, some)

    def _element(self, record: bytes) -> "etree._Element | str":
        if len(record) > self._row_bytes_max:
            return "is longer than Meta allows"
        own = self._prefixes(record)
        self._learned = own if len(self._learned) > PREFIXES_MAX else self._learned | own
        try:
            root = etree.fromstring(self._wrapped(record, own), self._parser)
        except etree.XMLSyntaxError as error:
            return _reason(error)
        return root[0] if len(root) == 1 else "is no single item"

    def _wrapped(self, content: bytes, learned: dict[bytes, bytes]) -> bytes:
        """Put content into a root of ours that declares the prefixes."""
        spaces = b"".join(
            b" xmlns%s=%s" % (b":" + prefix if prefix else b"", uri)
            for prefix, uri in (learned | self._declared).items()
        )
        return b"<rows%s>%s</rows>" % (spaces, content)

    def _prefixes(self, content: bytes) -> dict[bytes, bytes]:
        """A prefix that nobody declared breaks no item. What it means depends on nothing but the item."""
        used = sorted(set(_PREFIX.findall(content)) - self._declared.keys() - {b"xml", b"xmlns"})
        return {
            prefix: b'"%s"' % (GOOGLE.encode() if prefix == b"g" else b"urn:undeclared:" + prefix)
            for prefix in used[:PREFIXES_MAX]
        }

    def _column_of(self, name: str) -> str | None:
        """Column of an element without attributes, or None where it cannot stand in an item."""
        element = self._element(b"<%s/>" % name.encode())
        return None if isinstance(element, str) else _column(str(element.tag), element.prefix)

    def _row(self, found: "Row | etree._Element") -> Row:
        row = found if isinstance(found, dict) else self._flat(found)
        if row is None:
            row = self._deep(found)
        if len(self._names) > COLUMNS_MAX * 2:
            raise malformed(f"the items have more than {COLUMNS_MAX} different elements; is format.rowsAt right?")
        self._names.update(row)
        return row

    def _flat(self, element: "etree._Element") -> Row | None:
        """Read an item of plain elements, each once: the usual one. None for any other."""
        row: Row = {}
        if element.attrib:
            return None
        for child in element:
            tag = child.tag
            if not isinstance(tag, str) or len(child) or child.attrib:
                return None
            name = _column(tag, child.prefix)
            if name in row:
                return None
            row[name] = (child.text or "").strip() or None
        return row

    def _deep(self, element: "etree._Element") -> Row:
        row: Row = {}
        for name, values in _grouped(element).items():
            row[name] = _text_of(values)
            row.update(self._inside(name, values))
        for name, value in element.attrib.items():
            row.setdefault(f"@{_column(str(name))}", str(value) or None)
        return row

    def _inside(
        self, prefix: str, elements: "list[etree._Element]", depth: int = 1
    ) -> Iterator[tuple[str, str | None]]:
        """Columns of attributes and nested elements: by number for each of several, without one for the first."""
        for number, element in enumerate(elements[:ELEMENTS_MAX]):
            if not len(element) and not element.attrib:
                continue
            for column in (f"{prefix}.{number}", prefix) if not number else (f"{prefix}.{number}",):
                yield from self._members(column, element, depth)

    def _members(self, column: str, element: "etree._Element", depth: int) -> Iterator[tuple[str, str | None]]:
        if len(self._names) > COLUMNS_MAX or depth > DEPTH_MAX:
            return
        for name, value in element.attrib.items():
            yield f"{column}.{_plain(str(name))}", str(value) or None
        for name, values in _grouped(element).items():
            inner = f"{column}.{name.removeprefix('g:')}"
            yield inner, _text_of(values)
            yield from self._inside(inner, values, depth + 1)

    def _must_be_closed(self, rest: bytes) -> None:
        """The end of the document is the end marker that XML has."""
        closing = rest.rfind(b"</" + self._head.root)
        if closing < 0 or not re.match(rb"\s*>", rest[closing + 2 + len(self._head.root) :]):
            raise malformed(f"the XML document has no closing </{self._head.root.decode()}>: the file was cut short")
        if self._begun or self._open.search(rest):
            self._judge_between(rest[:closing])


def _inside_text(data: bytes, start: int, end: int) -> bool | None:
    """Tell whether a position is inside CDATA or a comment that began after `start`. None: one that does not end."""
    for opening, closing in _TEXTS:
        found = data.rfind(opening, start, end)
        if found >= 0 and data.find(closing, found, end) < 0:
            return True if data.find(closing, end, end + TEXT_BYTES_MAX) >= 0 else None
    return False


def _reason(error: etree.XMLSyntaxError) -> str:
    text = str(error)
    entity = re.search(r"Entity '(\w{1,30})' not defined", text)
    if entity:
        return f"uses the entity &{entity[1]}; which XML does not have"
    return "is not UTF-8" if "not proper UTF-8" in text or "invalid utf-8" in text.lower() else "is not well-formed XML"


def _grouped(element: "etree._Element") -> "dict[str, list[etree._Element]]":
    found: dict[str, list[etree._Element]] = {}
    for child in element:
        if isinstance(child.tag, str):
            found.setdefault(_column(child.tag, child.prefix), []).append(child)
    return found


@functools.lru_cache(maxsize=COLUMNS_MAX)
def _column(tag: str, prefix: str | None = None) -> str:
    """Name of a column: Google's prefix, none, or the document's own."""
    space, _, name = tag.removeprefix("{").rpartition("}")
    if space == GOOGLE:
        return f"g:{name}"
    return name if space in NAMED_ALIKE or not prefix else f"{prefix}:{name}"


def _plain(tag: str) -> str:
    return tag.rpartition("}")[2]


def _local(element: "etree._Element") -> str:
    return _plain(element.tag) if isinstance(element.tag, str) else ""


def _text_of(elements: "list[etree._Element]") -> str | None:
    """Text of an element and all like it: joined, or as JSON where they have an inside."""
    if any(len(each) and any(isinstance(child.tag, str) for child in each) for each in elements):
        found = [_object(each) for each in elements]
        return dumped(found[0] if len(found) == 1 else found)
    texts = [(each.text or "").strip() for each in elements]
    if not any(texts):
        alternates = [each for each in elements if each.get("rel", "alternate") == "alternate"]
        texts = [(each.get("href") or "").strip() for each in alternates[:1]]
    return ",".join(each for each in texts if each) or None


def _object(element: "etree._Element", depth: int = 0) -> object:
    inside = _grouped(element) if depth < DEPTH_MAX else {}
    if not inside:
        return (element.text or "").strip()
    shown = {name.removeprefix("g:"): [_object(each, depth + 1) for each in all_] for name, all_ in inside.items()}
    return {name: values[0] if len(values) == 1 else values for name, values in shown.items()}
