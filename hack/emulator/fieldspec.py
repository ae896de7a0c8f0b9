"""The `fields` parameter: `a,b{c,d},e.fields(x,y).limit(5)`, parsed.

Both ways of expanding an edge are in use: braces, and `.fields(…)`. Other modifiers (`limit`, `after`, `filter`, …) are
parameters of the edge.
"""

from dataclasses import dataclass, field

from hack.emulator import messages

DEPTH_MAX = 8  # deeper nesting is refused rather than recursed into
STOPS = ',{}()."'


@dataclass(slots=True)
class Field:
    name: str
    parameters: dict[str, str] = field(default_factory=dict)
    fields: list["Field"] | None = None


@dataclass(slots=True)
class _Reader:
    text: str
    at: int = 0

    def peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def take(self, expected: str) -> None:
        if self.peek() != expected:
            found = self.peek() or "end of string"
            raise messages.syntax(f"Expected {expected} instead of {found} at character {self.at}: {self.text}")
        self.at += 1

    def word(self) -> str:
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in STOPS:
            self.at += 1
        found = self.text[start : self.at].strip()
        if not found:
            raise messages.syntax(f"Expected name at character {start}: {self.text}")
        return found


def parse(text: str) -> list[Field]:
    """Raises GraphError 2500 where the text is not well-formed."""
    reader = _Reader(text)
    found = _list(reader, depth=0)
    if reader.peek():
        raise messages.syntax(f"Expected end of string instead of {reader.peek()} at character {reader.at}: {text}")
    return found


def _list(reader: _Reader, *, depth: int) -> list[Field]:
    if depth > DEPTH_MAX:
        raise messages.syntax(f"Fields are nested too deeply: {reader.text}")
    found: list[Field] = []
    while True:
        found.append(_one(reader, depth=depth))
        if reader.peek() != ",":
            return found
        reader.take(",")


def _one(reader: _Reader, *, depth: int) -> Field:
    one = Field(reader.word())
    while reader.peek() in (".", "{"):
        if reader.peek() == "{":
            reader.take("{")
            one.fields = _list(reader, depth=depth + 1)
            reader.take("}")
            continue
        reader.take(".")
        modifier = reader.word()
        reader.take("(")
        if modifier == "fields":
            one.fields = _list(reader, depth=depth + 1)
        else:
            one.parameters[modifier] = _argument(reader)
        reader.take(")")
    return one


def _argument(reader: _Reader) -> str:
    """Everything up to the closing parenthesis, which may hold JSON."""
    start, open_count, quoted = reader.at, 0, False
    while reader.at < len(reader.text):
        character = reader.text[reader.at]
        if character == '"' and reader.text[reader.at - 1] != "\\":
            quoted = not quoted
        elif not quoted and character == "(":
            open_count += 1
        elif not quoted and character == ")":
            if open_count == 0:
                break
            open_count -= 1
        reader.at += 1
    return reader.text[start : reader.at]
