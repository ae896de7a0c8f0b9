"""The tables of overlays, and which rows of a read say something that the table does not have yet.

Beside the values there is a hash per id: of what the overlay said of it in its last read, the id included. A row that
says the same again changes nothing, so of a large overlay only what changed is gathered, and the table is written from
the one before in one pass.
"""

import json
from collections.abc import Sequence

import numpy as np
import polars as pl

from controller.faults import Fault
from controller.ports.preparing import OverlayHead, RuleCount
from controller.preparing.objects import existing, read_table, scan_table, sink_table
from controller.products.fields import ID
from controller.products.fingerprints import xxh3
from controller.products.overlays import Gathered, gather, hashes_of
from controller.products.raw import Hashes
from controller.stores.local import LocalStore

SAID = "_said"
"""Hash of a row of the last read; null where the overlay had several rows of the id."""
_NOTHING = "\x00"
_END = "\x1f"


def has_table(store: LocalStore, head: OverlayHead) -> bool:
    """Tell whether its tables are still there. An overlay of which one was lost is read as if for the first time."""
    try:
        for key in (head.table, head.localized):
            if key is not None:
                existing(store, key)
    except Fault as fault:
        if fault.reason != "SnapshotLost":
            raise
        return False
    return True


class Sieve:
    """Holds back rows that say what they said in the last read. For one read. Takes 16 bytes per row."""

    def __init__(self, store: LocalStore, known: OverlayHead | None) -> None:
        self._said: Hashes = np.empty(0, np.uint64)
        self._met: list[Hashes] = []
        if known is not None:
            self._said = read_table(store, known.table, [SAID]).get_column(SAID).drop_nulls().sort().to_numpy()

    def passed(self, rows: pl.DataFrame, fields: Sequence[str]) -> pl.DataFrame:
        """Return the rows that have an id and say something new, with `_said`."""
        named = rows.filter(pl.col(ID).is_not_null())
        self._met.append(hashes_of(named.get_column(ID)))
        told = [pl.col(ID), *(pl.col(name).fill_null(_NOTHING) for name in fields)]
        named = named.with_columns(xxh3(pl.concat_str(told, separator=_END)).alias(SAID))
        if not self._said.size:
            return named
        said = np.sort(named.get_column(SAID).to_numpy())  # in order, so that neighbours are looked for in one place
        places = np.minimum(np.searchsorted(self._said, said), self._said.size - 1)
        fresh = pl.Series(SAID, said[self._said[places] != said], dtype=pl.UInt64)
        return named.filter(pl.col(SAID).is_in(fresh.implode()))

    @property
    def repeated(self) -> bool:
        """Whether an id came twice: then rows can only be understood together."""
        met = np.concatenate(self._met) if self._met else np.empty(0, np.uint64)
        self._met = [met]
        met.sort()
        return bool((met[1:] == met[:-1]).any())


def follow(
    store: LocalStore,
    key: str,
    known: OverlayHead | None,
    rows: pl.DataFrame,
    fields: Sequence[str],
    *,
    clears: bool,
    repeated: bool,
) -> tuple[Gathered, int]:
    """Write the table that follows a read, and count its ids. `rows` as a sieve passed them, or all of them."""
    before = pl.DataFrame(schema=dict.fromkeys((ID, *fields), pl.String))
    if known is not None:
        mine = scan_table(store, known.table).join(rows.lazy().select(ID), on=ID, how="semi", maintain_order="left")
        before = mine.select(ID, *fields).collect(engine="streaming")
    gathered = gather(before, rows.select(ID, *fields), fields, clears=clears)
    said = pl.lit(None, dtype=pl.UInt64).alias(SAID)
    table = gathered.table
    if repeated:
        table = table.with_columns(said)
    else:
        table = table.join(rows.select(ID, SAID), on=ID, how="left", maintain_order="left")
    following, count = table.lazy(), table.height
    if known is not None:
        others = scan_table(store, known.table).join(following.select(ID), on=ID, how="anti", maintain_order="left")
        following = pl.concat([others.select(table.columns), following])
        count += known.ids - before.height
    sink_table(store, key, following, count)
    return gathered, count


def write_remarks(store: LocalStore, table: str, said: Sequence[RuleCount]) -> None:
    """Keep what is to be said of the rows of an overlay beside its table."""
    store.write(_beside(table), json.dumps([each.model_dump() for each in said]).encode())


def read_remarks(store: LocalStore, table: str) -> list[RuleCount]:
    content = store.read(_beside(table))
    return [RuleCount.model_validate(each) for each in json.loads(content)] if content is not None else []


def _beside(table: str) -> str:
    return table.removesuffix(".parquet") + "-remarks.json"
