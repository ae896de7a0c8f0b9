"""Which encoding text is in, and the same text in UTF-8.

Promises: UTF-8 passes through untouched and is recognised by its first piece that is not plain ASCII, so that large
files are not scanned. Anything else is turned into UTF-8 before it is hashed or parsed. A declared encoding is never
overruled; a guess is made from many lines, is reported, and is never made for a line that is UTF-8 already. Lines that
fit no encoding, and lines with control characters, stay as they are and are named by the reader.

`charset-normalizer` guesses; what it cannot do is decide whether a file is UTF-8 with some foreign lines or the other
way round, which is what a merged export looks like.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from controller.faults import Disposition, Fault

UTF8 = "utf-8"
SAMPLE_BYTES_MAX = 32 << 10
"""charset-normalizer needs a few hundred words, and takes a second for a megabyte."""
LINES_ENOUGH = 10_000
"""So many lines beyond ASCII decide whether a file is UTF-8."""
WIDE = frozenset({"utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"})
KNOWN = (
    UTF8,
    *sorted(WIDE),
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874"),
    *("iso8859-1", "iso8859-2", "iso8859-5", "iso8859-7", "iso8859-8", "iso8859-9", "iso8859-13", "iso8859-15"),
    *("cp437", "cp850", "cp852", "cp866", "koi8-r", "koi8-u", "mac-roman", "ascii"),
    *("shift_jis", "cp932", "euc_jp", "gb2312", "gbk", "gb18030", "big5", "euc_kr", "cp949"),
)
"""Python's names. Others have surprises: escapes, compression, text that is not text."""
_GUESSED = ("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp932", "gb18030", "big5", "cp949")
_TIE = 0.01
_WIDER = {"iso8859-1": "cp1252", "ascii": "cp1252", "shift_jis": "cp932", "gb2312": "gb18030", "euc_kr": "cp949"}
"""Names under which exports declare the larger set that they use (WHATWG Encoding Standard, labels)."""
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, UTF8),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_XML_DECLARATION = re.compile(rb"""\A\s*<\?xml[^>]{0,200}?\sencoding\s*=\s*["']([A-Za-z0-9._:-]{1,40})["']""")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_HEAD_BYTES = 256


@dataclass(frozen=True, slots=True)
class Encoding:
    """What a text is written in. `guessed` when neither the file nor the Catalog says so."""

    name: str
    guessed: bool = False


def named(name: str, where: str) -> str:
    """Return Python's name of an encoding that somebody declared, or refuse it."""
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        found = ""
    if found not in {codecs.lookup(each).name for each in KNOWN}:
        raise Fault(
            "SourceMalformed",
            Disposition.RETRY,
            f"{where}: {name!r} is no encoding that is read; write Auto, utf-8, utf-16, windows-1252, iso-8859-1 …",
        )
    return _WIDER.get(found, found)


def announced(head: bytes) -> str | None:
    """Return the encoding that a byte order mark, an XML declaration or the pattern of zero bytes gives away."""
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name
    wide = _wide(head[:_HEAD_BYTES])
    if wide is not None:
        return wide
    declared = _XML_DECLARATION.match(head)
    return named(declared[1].decode("ascii"), "the XML declaration") if declared else None


def _wide(head: bytes) -> str | None:
    """Tell UTF-16 without a mark: text in it has a zero in most pairs, always on the same side."""
    if len(head) < 4 or b"\x00" not in head:
        return None
    even, odd = head[::2].count(0), head[1::2].count(0)
    pairs = len(head) // 2
    if odd * 4 >= pairs * 3 and even == 0:
        return "utf-16-le"
    return "utf-16-be" if even * 4 >= pairs * 3 and odd == 0 else None


def examine(pieces: Iterable[bytes]) -> Encoding:
    """Decide by the content. Stops at the first piece beyond ASCII if that is UTF-8 throughout."""
    counted = _Lines()
    carried = b""
    for piece in pieces:
        if not carried and not counted.seen and piece.isascii():
            continue
        data = carried + piece
        end = data.rfind(b"\n") + 1
        if not counted.seen and _is_utf8(data):
            return Encoding(UTF8)
        counted.add(data[:end])
        carried = data[end:]
        if counted.seen >= LINES_ENOUGH or len(carried) > SAMPLE_BYTES_MAX * 64:
            break
    counted.add(carried)
    return counted.verdict()


class _Lines:
    """Counts lines beyond ASCII: those that are UTF-8, and those that are another text."""

    def __init__(self) -> None:
        self._utf8 = 0
        self._foreign = 0
        self._sample: list[bytes] = []
        self._sample_bytes = 0

    @property
    def seen(self) -> int:
        return self._utf8 + self._foreign

    def add(self, block: bytes) -> None:
        if block.isascii():
            return
        for line in block.split(b"\n"):
            if line.isascii():
                continue
            if _is_utf8(line, cut=False):
                self._utf8 += 1
            elif not _CONTROL.search(line):
                self._foreign += 1
                if self._sample_bytes < SAMPLE_BYTES_MAX:
                    self._sample.append(line[:SAMPLE_BYTES_MAX])
                    self._sample_bytes += len(self._sample[-1])

    def verdict(self) -> Encoding:
        if self._foreign <= self._utf8:
            return Encoding(UTF8)
        return Encoding(_guess(b"\n".join(self._sample)), guessed=True)


def _guess(sample: bytes) -> str:
    """Take the most widespread of the encodings that fit about equally well."""
    import charset_normalizer  # mostly nothing has to be guessed

    matches = list(charset_normalizer.from_bytes(sample, cp_isolation=list(_GUESSED)))
    if matches:
        calm = [each for each in matches if each.chaos <= matches[0].chaos + _TIE]
        sense = max(each.coherence for each in calm)
        good = {name for each in calm if each.coherence >= sense for name in each.could_be_from_charset}
        return next((each for each in _GUESSED if each in good), codecs.lookup(calm[0].encoding).name)
    return min(_GUESSED, key=lambda each: _symbols(sample, each))


def _symbols(sample: bytes, name: str) -> int:
    """Count what is no letter beyond ASCII: a wrong table turns letters into signs."""
    return sum(not each.isalnum() for each in sample.decode(name, "replace") if ord(each) > 127)


def _is_utf8(data: bytes, *, cut: bool = True) -> bool:
    """Tell whether this is UTF-8; the last character may be cut."""
    decoder = codecs.getincrementaldecoder(UTF8)()
    try:
        decoder.decode(data, final=not cut)
    except UnicodeDecodeError:
        return False
    return True


def recode(pieces: Iterable[bytes], encoding: Encoding) -> Iterator[bytes]:
    """Yield the text in UTF-8, without a byte order mark."""
    if encoding.name in WIDE:
        yield from _from_wide(pieces, encoding.name)
        return
    first = True
    for block in _whole_lines(pieces):
        data = block.removeprefix(codecs.BOM_UTF8) if first else block
        first = False
        if encoding.name == UTF8 or data.isascii():
            yield data
        else:
            yield b"\n".join(_line(line, encoding) for line in data.split(b"\n"))


def _from_wide(pieces: Iterable[bytes], name: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(name)("replace")
    held = False
    first = True
    for piece in pieces:
        text = decoder.decode(piece)
        yield (text.removeprefix("\ufeff") if first else text).encode("utf-8", "replace")
        first = first and not text
        held = bool(decoder.getstate()[0])
    if held:
        raise Fault(
            "SourceMalformed",
            Disposition.RETRY,
            f"the text in {name.upper()} ends in the middle of a character: it was cut",
        )


def _line(line: bytes, encoding: Encoding) -> bytes:
    if line.isascii() or _CONTROL.search(line) or (encoding.guessed and _is_utf8(line, cut=False)):
        return line
    try:
        return line.decode(encoding.name).encode()
    except UnicodeDecodeError:
        return line


def _whole_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Cut pieces behind line breaks; a line without end is passed on in parts."""
    carried = b""
    for piece in pieces:
        data = carried + piece
        end = data.rfind(b"\n") + 1
        if not end and len(data) > SAMPLE_BYTES_MAX * 256:
            end = len(data)
        carried = data[end:]
        if end:
            yield data[:end]
    if carried:
        yield carried
