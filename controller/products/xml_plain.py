"""Items of XML whose elements hold nothing but text, read without a tree: the usual ones, in a third of the time.

An item is taken only where every byte of it is accounted for: each `<` belongs to the item's own tags, to an element
that opens and closes under one name, or to CDATA; each `&` begins one of the five entities that XML has; every
character is one that XML allows. Then an XML parser would read the same. Any other item is left to the parser: broken
ones, attributes, nested elements, elements that come twice.
"""

import re
from collections.abc import Callable, Sequence

from controller.products.nested import Row

LAYOUTS_MAX = 4_096
"""So many orders of elements are remembered: programs write few."""
_NAME = r"[A-Za-z_][\w.-]{0,200}+(?::[A-Za-z_][\w.-]{0,200}+)?"
_CDATA = r"\s*+<!\[CDATA\[((?:[^\]]++|\](?!\]>))*+)\]\]>\s*+"
_FIELD = re.compile(rf"<({_NAME})>(?:([^<]*+)|{_CDATA})</\1>", re.ASCII)
_ENTITY = re.compile("&(?:amp|lt|gt|quot|apos);")
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&"))
_ALLOWED = bytes({*range(0x20, 0x100), 0x09, 0x0A, 0x0D})
"""XML 1.0, production 2; the two characters beyond ASCII that it leaves out are looked for by themselves."""


class PlainItems:
    """Reads items of one name. `column_of` returns the column of an element by its name, or None where it has none."""

    def __init__(self, item: bytes, column_of: Callable[[str], str | None], row_bytes_max: int) -> None:
        self._start = b"<%s>" % item
        self._column_of = column_of
        self._layouts: dict[tuple[str, ...], tuple[str, ...] | None] = {}
        self._row_bytes_max = row_bytes_max

    def row(self, raw: bytes) -> Row | None:
        """Read one item from its start tag to its end tag, or return None where it is not plain."""
        if len(raw) > self._row_bytes_max or not raw.startswith(self._start) or raw.translate(None, _ALLOWED):
            return None
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return None
        if "\ufffe" in text or "\uffff" in text:
            return None
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        found = _FIELD.findall(text, len(self._start))
        if not found:
            return None
        names, written, inside = zip(*found, strict=True)
        contents: Sequence[str] = written
        columns = self._columns_of(names)
        ampersands = "&" in text
        if "<!" not in text:
            if text.count("<") != 2 + 2 * len(found) or "]]>" in text:
                return None
            if ampersands and len(_ENTITY.findall(text)) != text.count("&"):
                return None
        elif not _is_all(text, contents, inside):
            return None
        else:
            contents = list(map(_either, contents, inside))
            ampersands = False
        if columns is None:
            return None
        if ampersands:
            contents = [_unescaped(each) if "&" in each else each for each in contents]
        return {column: value.strip() or None for column, value in zip(columns, contents, strict=True)}

    def _columns_of(self, names: tuple[str, ...]) -> tuple[str, ...] | None:
        """Return the columns of elements that stand in this order; None where one has none, or two have the same."""
        try:
            return self._layouts[names]
        except KeyError:
            if len(self._layouts) >= LAYOUTS_MAX:
                self._layouts.clear()
        columns = [self._column_of(name) for name in names]
        found = tuple(each for each in columns if each is not None)
        self._layouts[names] = found if len(set(found)) == len(names) else None
        return self._layouts[names]


def _is_all(text: str, contents: Sequence[str], inside: Sequence[str]) -> bool:
    """Account for every `<`, `&` and `]]>`. Inside of CDATA they are text."""
    cdata = [each for each in inside if each]
    tags = 2 + 2 * len(contents) + len(cdata) + sum(each.count("<") for each in cdata)
    if text.count("<") != tags or text.count("]]>") != len(cdata):
        return False
    ampersands = text.count("&") - sum(each.count("&") for each in cdata)
    return sum(len(_ENTITY.findall(each)) for each in contents) == ampersands


def _either(content: str, inside: str) -> str:
    return inside or _unescaped(content)


def _unescaped(content: str) -> str:
    for written, meant in _ENTITIES:
        content = content.replace(written, meant)
    return content
