"""Overlays: files with newer values of some fields, laid over the rows of the full source.

An overlay's table holds, per id, the last value that each field ever had in any read: null where it never had one,
an empty text where the overlay says that there is none. Precedence is declared, not timed: of several overlays the
last listed one that has a value for an id and field wins, and each wins over the full source. What an overlay says of
ids that the full source does not have stays in its table and makes no item.

Rows are found by the hash of their id, and told from others by a second one: 128 bits together.
"""

import copy
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from controller.products.advice import Rule
from controller.products.fields import ID, in_order
from controller.products.fingerprints import xxh3
from controller.products.raw import Hashes, Index, Places
from controller.products.rules import NAMED_MAX, REJECTED, RuleFinding

ROOTS_MAX = 3
"""A rule about more fields than this is about the row, and no single value is to blame."""
_BEFORE = " before"
_CLEARED = ""
_SALT = "\x1f"


@dataclass(frozen=True, slots=True)
class Gathered:
    """An overlay's next table, and what a read changed in it."""

    table: pl.DataFrame
    changed: pl.DataFrame
    """Ids of which the overlay says something else than before."""
    repeated: int
    """Rows whose id came again further down."""
    sample_repeated: tuple[str, ...]


def gather(before: pl.DataFrame, read: pl.DataFrame, fields: Sequence[str], *, clears: bool) -> Gathered:
    """Follow a read (`id` and `fields`, null where a cell is empty). `clears`: an empty cell ends a value.

    Of rows with one id, the last one that has a value counts, field by field.
    """
    rows, repeated = _one_per_id(read.filter(pl.col(ID).is_not_null()).select(ID, *fields), fields)
    if clears:
        rows = rows.with_columns(pl.col(fields).fill_null(_CLEARED))
    said = rows.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in fields))
    if not before.height:
        return Gathered(said, said.select(ID), repeated.len(), _first(repeated))
    joined = said.join(before, on=ID, how="left", suffix=_BEFORE, maintain_order="left", coalesce=True)
    differs = pl.any_horizontal(
        pl.col(name).is_not_null() & pl.col(name).ne_missing(pl.col(name + _BEFORE)) for name in fields
    )
    following = joined.filter(differs).select(
        ID, *(pl.coalesce(pl.col(name), pl.col(name + _BEFORE)).alias(name) for name in fields)
    )
    kept = before.select(ID, *fields).join(following.select(ID), on=ID, how="anti", maintain_order="left")
    return Gathered(pl.concat([kept, following]), following.select(ID), repeated.len(), _first(repeated))


def _first(ids: pl.Series) -> tuple[str, ...]:
    return tuple(each[:100] for each in ids.unique(maintain_order=True).head(NAMED_MAX).to_list())


def _one_per_id(rows: pl.DataFrame, fields: Sequence[str]) -> tuple[pl.DataFrame, pl.Series]:
    ids = rows.get_column(ID)
    if np.unique(hashes_of(ids)).size == ids.len():
        return rows, ids.clear()
    repeated = ids.filter(~ids.is_first_distinct())
    last = rows.group_by(ID, maintain_order=True).agg(pl.col(name).drop_nulls().last() for name in fields)
    return last, repeated


class Layer:
    """One overlay, ready to be laid over rows: per id two hashes, and per field the number of a value."""

    def __init__(self, name: str, fields: Sequence[str], table: pl.DataFrame) -> None:
        self.name = name
        self.fields = tuple(fields)
        self._values = table.select(pl.col(self.fields).cast(pl.Categorical))
        ids = table.get_column(ID)
        hashes = hashes_of(ids)
        self._index = Index.of(hashes, np.arange(hashes.size, dtype=np.int32))
        self._checks = hashes_of(ids, salt=_SALT)
        self._ambiguous = _unfound(ids, self._index)

    def only(self, fields: Collection[str]) -> "Layer":
        """The same overlay as if it had no other fields."""
        found = copy.copy(self)
        found.fields = tuple(name for name in self.fields if name in fields)
        return found

    def places(self, ids: pl.Series) -> Places:
        """Place of each id in the table, or -1."""
        found = self._index.find(hashes_of(ids))
        hits = np.flatnonzero(found >= 0)
        other = self._checks[found[hits]] != hashes_of(ids.gather(hits), salt=_SALT)
        found[hits[other]] = -1
        for number, each in enumerate(ids.to_list()) if self._ambiguous else ():
            found[number] = self._ambiguous.get(each, found[number])
        return found

    def values(self, ids: pl.Series) -> pl.DataFrame | None:
        """What the overlay says of each id, or None where it says nothing of any."""
        found = self.places(ids)
        if not (found >= 0).any():
            return None
        at = pl.Series(found, dtype=pl.Int32)
        return self._values.select(pl.col(self.fields).gather(at.set(at < 0, None)).cast(pl.String))


def hashes_of(ids: pl.Series, salt: str = "") -> Hashes:
    """Hash ids; one that is missing finds nothing, for no known hash belongs to it with both salts."""
    text = pl.col(ID) + pl.lit(salt) if salt else pl.col(ID)
    return ids.to_frame(ID).select(xxh3(text).fill_null(0)).to_series().to_numpy()


def _unfound(ids: pl.Series, index: Index) -> dict[str, int]:
    """Places of ids that share their hash with another one; the index finds none of them."""
    if index.keys.size == ids.len():
        return {}
    alone = np.zeros(ids.len(), bool)
    alone[index.places] = True
    places = np.flatnonzero(~alone)
    return dict(zip(ids.gather(places).to_list(), places.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Blame:
    """Values of an overlay for which rows are rejected."""

    overlay: str
    rule: str
    count: int
    sample_ids: tuple[str, ...]


@dataclass(slots=True)
class Overlaid:
    """All overlays of an entry, in order of precedence, and what they were seen to break."""

    layers: tuple[Layer, ...] = ()
    blames: list[Blame] = field(default_factory=list)

    @property
    def fields(self) -> list[str]:
        return in_order({name for layer in self.layers for name in layer.fields})

    def only(self, fields: Collection[str]) -> "Overlaid":
        """The same overlays as if they had no other fields."""
        layers = [layer.only(fields) for layer in self.layers]
        return Overlaid(tuple(layer for layer in layers if layer.fields))

    def onto(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Replace values of mapped, normalised rows by those of the overlays. A field that no row has is added."""
        ids = rows.get_column(ID)
        for layer in self.layers:
            said = layer.values(ids)
            if said is None:
                continue
            values = said.rename({name: name + _BEFORE for name in layer.fields})
            absent = [pl.lit(None, dtype=pl.String).alias(name) for name in layer.fields if name not in rows.columns]
            rows = pl.concat([rows.with_columns(absent), values], how="horizontal")
            rows = rows.with_columns(_laid(name) for name in layer.fields).drop(values.columns)
        return rows

    def judge(self, checked: pl.DataFrame, flags: pl.DataFrame, named: Sequence[Rule]) -> None:
        """Remember rejected rows whose broken rule is about a field that an overlay gave."""
        rejected = checked.get_column(REJECTED).is_not_null()
        if not self.layers or not rejected.any():
            return
        broken = flags.filter(rejected)
        ids = checked.get_column(ID).filter(rejected)
        self.blames += blamed(self.layers, ids, broken, named)


def blamed(layers: Sequence[Layer], ids: pl.Series, broken: pl.DataFrame, named: Sequence[Rule]) -> Iterable[Blame]:
    """Find who gave the values that break rules. `broken`: one column per rule, one row per id."""
    errors = [
        (rule.name, roots)
        for rule in named
        if rule.level == "Error"
        and broken[rule.name].any()
        and len(roots := rule.broken.meta.root_names()) <= ROOTS_MAX
    ]
    given = {layer.name: layer.values(ids) for layer in layers}
    for number, layer in enumerate(layers):
        said = given[layer.name]
        if said is None:
            continue
        for rule, roots in errors:
            hit = broken[rule]
            for name in sorted(set(roots) & set(layer.fields)):
                later = [given[each.name] for each in layers[number + 1 :] if name in each.fields]
                wins = said[name].is_not_null()
                for other in later:
                    wins = wins if other is None else wins & other[name].is_null()
                guilty = ids.filter(hit & wins).drop_nulls()
                if guilty.len():
                    yield Blame(layer.name, rule, guilty.len(), tuple(guilty.head(NAMED_MAX).to_list()))


def _laid(name: str) -> pl.Expr:
    said = pl.col(name + _BEFORE)
    return pl.when(said.is_null()).then(pl.col(name)).when(said != _CLEARED).then(said).alias(name)


def findings(blames: Iterable[Blame]) -> list[RuleFinding]:
    """Say which overlays break rows; one finding per overlay."""
    by_overlay: dict[str, list[Blame]] = {}
    for each in blames:
        by_overlay.setdefault(each.overlay, []).append(each)
    found = []
    for overlay, all_of_it in by_overlay.items():
        rules = ", ".join(sorted({each.rule for each in all_of_it}))
        samples = tuple(dict.fromkeys(name[:100] for each in all_of_it for name in each.sample_ids))[:NAMED_MAX]
        message = f"overlay {overlay} gives values that our checks reject ({rules}): mend them there"
        count = sum(each.count for each in all_of_it)
        found.append(RuleFinding(f"overlay-{overlay}", "Error", count, message, samples))
    return found
