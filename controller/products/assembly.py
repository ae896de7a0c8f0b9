"""What happens to rows before fields are taken from them: nothing, a preset, or a SELECT.

An assembly is *row-local* when each row it yields depends on one row of the source alone. Only then may records that
did not change be skipped unread: in a group-wide one a changed parent changes its children. Columns that an assembly
adds carry the name of the field they are meant for behind a prefix, so that they never cover a column of the source.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import polars as pl
from typing_extensions import override

from controller.products.rules import RuleFinding

PREFIX = "preset:"

Frames = Iterable[pl.DataFrame]
Again = Callable[[], Frames]
"""Reads the source a second time, from its beginning."""


class Assembly(Protocol):
    """One way to turn the rows of a source into rows of items. For one read; it counts what it leaves out."""

    @property
    def row_local(self) -> bool: ...

    @property
    def columns(self) -> Sequence[str]:
        """Columns of the rows it yields."""
        ...

    def frames(self, blocks: Frames, again: Again) -> Iterator[pl.DataFrame]: ...

    def findings(self) -> list[RuleFinding]:
        """What was left out and why, once the frames are exhausted."""
        ...


class AsTheyAre:
    """Rows of the source are rows of items."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = tuple(columns)

    @property
    def row_local(self) -> bool:
        return True

    @property
    def columns(self) -> Sequence[str]:
        return self._columns

    def frames(self, blocks: Frames, again: Again) -> Iterator[pl.DataFrame]:  # noqa: ARG002 - the protocol's signature
        yield from blocks

    def findings(self) -> list[RuleFinding]:
        return []


class Left:
    """Counts rows that are left out on purpose, with the first of their names."""

    def __init__(self, rule: str, message: str, named_max: int) -> None:
        self._rule = rule
        self._message = message
        self._named_max = named_max
        self._count = 0
        self._samples: list[str] = []

    def add(self, names: pl.Series) -> None:
        self._count += names.len()
        missing = self._named_max - len(self._samples)
        self._samples += [each[:100] for each in names.drop_nulls().head(missing).to_list()]

    def findings(self) -> list[RuleFinding]:
        if not self._count:
            return []
        return [RuleFinding(self._rule, "Advice", self._count, self._message, tuple(self._samples))]

    @override
    def __repr__(self) -> str:
        return f"Left({self._rule}, {self._count})"


def conform(frame: pl.DataFrame, columns: Iterable[str]) -> pl.DataFrame:
    """Add columns that this block of the source happens not to have."""
    absent = [name for name in columns if name not in frame.columns]
    return frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent) if absent else frame
