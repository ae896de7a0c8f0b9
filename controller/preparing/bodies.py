"""What every encoder needs: counts with samples, digests."""

import hashlib
from collections.abc import Iterable

import polars as pl

from controller.products.fields import ID

SAMPLES_MAX = 10


class Tally:
    """Counts ids, and remembers the first ones."""

    def __init__(self) -> None:
        self.count = 0
        self.sample: tuple[str, ...] = ()

    @classmethod
    def of(cls, ids: pl.DataFrame) -> "Tally":
        tally = cls()
        tally.add(ids)
        return tally

    def add(self, ids: pl.DataFrame) -> None:
        first = ids.bottom_k(SAMPLES_MAX, by=ID).get_column(ID).to_list()
        self.count += ids.height
        self.sample = tuple(sorted([*self.sample, *first])[:SAMPLES_MAX])


def digest_of(digests: Iterable[str]) -> str:
    return "sha256:" + hashlib.sha256("\n".join(digests).encode()).hexdigest()
