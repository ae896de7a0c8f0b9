"""Which rules a row broke, as one number: the number of a set in a book of the sets that occurred.

Most rows break the same few sets of rules, so that two bytes per row keep the findings of rows that are not read again.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from controller.products.prints import NotStorableError

SETS_MAX = 1 << 16
_BEFORE, _NUMBER = " before", " number"


@dataclass(slots=True)
class MaskBook:
    """Numbers sets of rule names in order of first appearance."""

    rules: tuple[str, ...] = ()
    numbers: dict[frozenset[str], int] = field(default_factory=dict)

    @classmethod
    def of(cls, sets: tuple[tuple[str, ...], ...]) -> "MaskBook":
        return cls(numbers={frozenset(each): number for number, each in enumerate(sets)})

    def sets(self) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(sorted(each)) for each in self.numbers)

    def number(self, flags: pl.DataFrame) -> pl.Series:
        """Return the number of each row's set; a column of `flags` is a rule, true where it is broken."""
        broken = (
            [name for name, any_row in zip(flags.columns, flags.select(pl.all().any()).row(0), strict=True) if any_row]
            if flags.width and flags.height
            else []
        )
        if not broken:
            return pl.Series(np.full(flags.height, self._of(frozenset()), np.uint16))
        flags = flags.select(broken)
        packed = np.packbits(flags.to_numpy(), axis=1)
        codes = np.zeros((packed.shape[0], -(-packed.shape[1] // 8) * 8), np.uint8)
        codes[:, : packed.shape[1]] = packed
        sets, inverse = _distinct(codes)
        names = np.array(flags.columns, dtype=object)
        numbers = [
            self._of(frozenset(names[np.unpackbits(each, count=flags.width).astype(bool)].tolist())) for each in sets
        ]
        return pl.Series(np.array(numbers, np.uint16)[inverse], dtype=pl.UInt16)

    def changed(self, masks: pl.Series, named: Collection[str], flags: pl.DataFrame) -> pl.Series:
        """Return the number of each row's set after the rules in `named` were judged anew (columns of `flags`)."""
        sets = list(self.numbers)
        pairs = flags.select(named).with_columns(masks.alias(_BEFORE))
        distinct = pairs.unique(maintain_order=True)
        numbers = []
        for row in distinct.iter_rows(named=True):
            before = sets[row.pop(_BEFORE)] - set(named)
            numbers.append(self._of(before | {name for name, broken in row.items() if broken}))
        known = distinct.with_columns(pl.Series(_NUMBER, numbers, dtype=pl.UInt16))
        found = pairs.join(known, on=pairs.columns, how="left", maintain_order="left")
        return found.get_column(_NUMBER).alias(masks.name)

    def _of(self, rules: frozenset[str]) -> int:
        number = self.numbers.setdefault(rules, len(self.numbers))
        if number >= SETS_MAX:
            raise NotStorableError
        return number


def _distinct(codes: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.intp]]:
    if codes.shape[1] == 8:
        words, inverse = np.unique(codes.view(np.uint64).ravel(), return_inverse=True)
        return words.view(np.uint8).reshape(-1, 8), inverse
    first, numbers = np.unique(codes[:, :8].copy().view(np.uint64).ravel(), return_inverse=True)
    rest, others = _distinct(codes[:, 8:].copy())
    pairs, inverse = np.unique(numbers.astype(np.int64) * len(rest) + others, return_inverse=True)
    left = first[pairs // len(rest)].view(np.uint8).reshape(-1, 8)
    return np.concatenate((left, rest[pairs % len(rest)]), axis=1), inverse
