"""Templates: a field written from several columns, as in https://shop.example/p/{Handle}?variant={Variant SKU}.

A column stands in braces; `{{` and `}}` are braces themselves. What a value becomes depends on the field:

- In a field that is an address, values are percent-encoded: everything but letters, digits and -._~ (RFC 3986,
  unreserved), and before the template's first ? also but /, so that a column may hold a path. A column that begins the
  template is inserted as it is, because it carries the scheme. A row where a column is blank gets no value: half an
  address leads nowhere.
- In any other field values are inserted as they are, and a blank one inserts nothing.

The standard library's `string.Formatter` cannot serve: it reads `{Variant SKU}` but also `{a.b}` and `{a[0]}` as
attribute access, which names of columns must not be.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote

import polars as pl

_PART = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[^{}]+|.", re.DOTALL)
_UNRESERVED = r"^[A-Za-z0-9._~-]*$"
_IN_PATH = r"^[A-Za-z0-9._~/-]*$"
ADDRESS_FIELDS = ("link", "image_link", "mobile_link", "additional_image_link")


@dataclass(frozen=True, slots=True)
class Piece:
    """Fixed text, or a column."""

    text: str
    is_column: bool


@dataclass(frozen=True, slots=True)
class Template:
    pieces: tuple[Piece, ...]
    is_address: bool

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(piece.text for piece in self.pieces if piece.is_column))

    def expression(self, value_of: dict[str, pl.Expr]) -> pl.Expr:
        """Write the template; `value_of` has an expression per column, null where it is blank."""
        values = [
            self._encoded(number, value_of[piece.text]) if piece.is_column else pl.lit(piece.text)
            for number, piece in enumerate(self.pieces)
        ]
        blank = [value_of[name].is_null() for name in self.columns]
        missing = pl.any_horizontal(blank) if self.is_address else pl.all_horizontal(blank)
        return pl.when(~missing).then(pl.concat_str(values, ignore_nulls=True).str.strip_chars())

    def _encoded(self, number: int, value: pl.Expr) -> pl.Expr:
        if not self.is_address or number == 0:
            return value
        in_query = any("?" in piece.text for piece in self.pieces[:number] if not piece.is_column)
        return value.map_batches(_quote_all if in_query else _quote_path, return_dtype=pl.String)


def parse(template: str, field: str) -> Template:
    """Read a template. One that the resource's own rules refuse raises ValueError."""
    pieces: list[Piece] = []
    for match in _PART.finditer(template):
        column, text = match.group(1), match.group(0)
        if column is None and text in {"{", "}"}:
            raise ValueError("a single brace: name a column as {column}, write a brace itself twice")
        if column is not None:
            pieces.append(Piece(column, is_column=True))
            continue
        plain = text[0] if text in {"{{", "}}"} else text
        if pieces and not pieces[-1].is_column:
            plain = pieces.pop().text + plain
        pieces.append(Piece(plain, is_column=False))
    return Template(tuple(pieces), is_address(field))


def is_address(field: str) -> bool:
    return field in ADDRESS_FIELDS or field.endswith((".url", "_url"))


def _quote_all(values: pl.Series) -> pl.Series:
    return _quoted(values, _UNRESERVED, "")


def _quote_path(values: pl.Series) -> pl.Series:
    return _quoted(values, _IN_PATH, "/")


def _quoted(values: pl.Series, harmless: str, safe: str) -> pl.Series:
    """Percent-encode where it changes anything; most values of a catalog need nothing."""
    affected = values.filter(~values.str.contains(harmless)).unique()
    if affected.is_empty():
        return values
    changed = [quote(each, safe=safe) for each in affected.to_list()]
    return values.replace(affected, pl.Series(changed, dtype=pl.String))
