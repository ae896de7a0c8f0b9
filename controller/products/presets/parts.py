"""What the presets share: values from the first column that has one, plain text from HTML, options of variants."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import polars as pl

from controller.faults import Disposition, Fault
from controller.products.assembly import PREFIX, Again, Frames, Left
from controller.products.rules import RuleFinding

IMAGES_MAX = 20
COLOR_WORDS = ("color", "colour", "farbe", "couleur", "colore", "kleur", "cor")
SIZE_WORDS = ("size", "größe", "groesse", "grösse", "taille", "talla", "taglia", "maat", "shoe size", "schuhgröße")
MATERIAL_WORDS = ("material", "matière", "materiale", "fabric", "stoff")
PATTERN_WORDS = ("pattern", "muster", "motif", "fantasia")
_WORDS = {"color": COLOR_WORDS, "size": SIZE_WORDS, "material": MATERIAL_WORDS, "pattern": PATTERN_WORDS}
_ENTITIES = {
    "&nbsp;": " ",
    "&lt;": "<",
    "&gt;": ">",
    "&quot;": '"',
    "&#34;": '"',
    "&#39;": "'",
    "&#039;": "'",
    "&apos;": "'",
    "&ndash;": "–",
    "&mdash;": "—",
    "&rsquo;": "’",
    "&auml;": "ä",
    "&ouml;": "ö",
    "&uuml;": "ü",
    "&Auml;": "Ä",
    "&Ouml;": "Ö",
    "&Uuml;": "Ü",
    "&szlig;": "ß",
    "&eacute;": "é",
    "&egrave;": "è",
    "&agrave;": "à",
    "&amp;": "&",
}
"""Character references that editors of shops write; & last, so that nothing is decoded twice."""

Pair = tuple[pl.Expr, pl.Expr]
"""Name and value of an option."""


class Export(ABC):
    """One read of an export: its columns, the fields that the preset adds to them, and what it leaves out."""

    ROW_LOCAL: ClassVar[bool]

    def __init__(self, available: Sequence[str], fields: Mapping[str, pl.Expr], left: Left | None = None) -> None:
        self._available = tuple(available)
        self._fields = fields
        self._left = left

    @property
    def row_local(self) -> bool:
        return self.ROW_LOCAL

    @property
    def columns(self) -> Sequence[str]:
        return (*self._available, *(PREFIX + name for name in self._fields))

    @abstractmethod
    def frames(self, blocks: Frames, again: Again) -> Iterator[pl.DataFrame]: ...

    def findings(self) -> list[RuleFinding]:
        return self._left.findings() if self._left is not None else []

    def _leave_out(self, names: pl.Series) -> None:
        if self._left is not None:
            self._left.add(names)


def must_have(available: Collection[str], names: Iterable[str], preset: str) -> None:
    """Refuse a source that certainly is no such export."""
    absent = [name for name in names if name not in available]
    if absent:
        shown = ", ".join(map(repr, list(available)[:5]))
        raise Fault(
            "MappingInvalid",
            Disposition.STALLED,
            f"mapping.preset: {preset}: the source has no column {absent[0]!r}, which every such export has; "
            f"it has {shown} … — is it another export?",
        )


def value(name: str) -> pl.Expr:
    """Trimmed value of a column, null where blank."""
    trimmed = pl.col(name).str.strip_chars()
    return pl.when(trimmed != "").then(trimmed)


def first(available: Collection[str], *names: str) -> pl.Expr:
    """Value of the first of these columns that has one; null where none does."""
    present = [value(name) for name in names if name in available]
    return pl.coalesce(present) if present else pl.lit(None, dtype=pl.String)


def has(available: Collection[str], *names: str) -> bool:
    return any(name in available for name in names)


def named(fields: Mapping[str, pl.Expr]) -> list[pl.Expr]:
    return [expression.alias(PREFIX + name) for name, expression in fields.items()]


def plain_text(html: pl.Expr) -> pl.Expr:
    """Text without tags and character references, in one line."""
    text = html.str.replace_all(r"(?is)<(script|style)\b.*?</(script|style)>", " ").str.replace_all(r"<[^>]*>", " ")
    text = text.str.replace_many(_ENTITIES)
    return text.str.replace_all(r"\s+", " ").str.strip_chars()


def rich_text(html: pl.Expr) -> pl.Expr:
    """The HTML itself, where it is HTML."""
    return pl.when(html.str.contains(r"<[A-Za-z]")).then(html)


def options(pairs: Sequence[Pair]) -> dict[str, pl.Expr]:
    """Fields of a variant from the names and values of its options."""
    lowered = [(name.str.to_lowercase().str.strip_chars(), name, text) for name, text in pairs]
    fields = {
        field: pl.coalesce([pl.when(low.is_in(words)).then(text) for low, _, text in lowered])
        for field, words in _WORDS.items()
    }
    known = [word for words in _WORDS.values() for word in words]
    others = [
        pl.when(~low.is_in(known) & text.is_not_null()).then(pl.concat_str(_part(name), pl.lit(":"), _part(text)))
        for low, name, text in lowered
    ]
    joined = pl.concat_str(others, separator=",", ignore_nulls=True)
    fields["additional_variant_attribute"] = pl.when(joined != "").then(joined)
    return fields


def additional_images(images: pl.Expr) -> pl.Expr:
    """All images of a list but the first, as Meta separates them."""
    joined = images.list.slice(1, IMAGES_MAX).list.join(",")
    return pl.when(joined != "").then(joined)


def _part(text: pl.Expr) -> pl.Expr:
    """Meta: additional_variant_attribute, no comma and no colon inside a part."""
    return text.str.replace_all("[,:]", " ").str.strip_chars()
