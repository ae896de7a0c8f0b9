"""What every encoder needs: files of rows, counts with samples, digests."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import BinaryIO, cast

import polars as pl

from controller.faults import Disposition, Fault
from controller.ports.preparing import Limits
from controller.preparing.packing import Packing
from controller.products.fields import ID
from controller.stores.local import LocalStore

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


def write_csv(
    store: LocalStore, key: str, blocks: Iterable[pl.DataFrame], fields: Sequence[str], limits: Limits, index: int
) -> Packing:
    """Write rows as packed CSV; they go through block by block. Blocks lack no field."""
    with store.creating(key) as path, path.open("wb") as file:
        with Packing(file, limits.upload_bytes_max) as packing:
            target = cast("BinaryIO", packing)  # Polars writes and flushes, nothing else
            pl.DataFrame(schema=dict.fromkeys(fields, pl.String)).write_csv(target)
            for block in blocks:
                block.select(fields).write_csv(target, include_header=False)
                if packing.too_large:
                    break
        if packing.too_large:
            message = f"the file of partition {index} is larger than Meta takes: use more shards"
            raise Fault("PayloadTooLarge", Disposition.STALLED, message)
    return packing
