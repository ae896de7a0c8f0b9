"""Fingerprints of accepted rows: enough to tell what changed without the rows themselves.

Rows stand in the order of the source. For each there are the hashes of its id, its group and its static fields, its
partition, which rules it broke, which table holds its text, and the text of its id and volatile values. Two indexes
find a row by its raw bytes and by its id; that an id is the one meant, and not another one with the same hash, is
checked against the text.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import polars as pl

from controller.products.fields import ID, VOLATILE
from controller.products.partition import NO_GROUP, PARTITION
from controller.products.raw import NOT_FOUND, Hashes, Index, InOrder, Places, hash_of
from controller.products.tables import NARROW, conform

RAW = "_raw"
"""Column with the hash of a row's raw bytes; null where the row must be parsed in every refresh."""
MASK = "_mask"
"""Column with the number of the set of rules that a row broke."""
PART = "_part"
"""Column with the number of the table that holds a row's text."""
SEPARATOR = "\x1f"
SLOT_SHIFT = np.uint64(52)
"""Hash id 1: the top 12 bits."""


@dataclass(frozen=True, slots=True)
class Prints:
    """Columns of equal length, and the indexes. An array may be mapped from a file."""

    ids: Hashes
    groups: Hashes
    static: Hashes
    partitions: npt.NDArray[np.uint16]
    masks: npt.NDArray[np.uint16]
    parts: npt.NDArray[np.uint16]
    starts: npt.NDArray[np.uint64]
    """Where a row's text starts; one more than there are rows."""
    text: npt.NDArray[np.uint8]
    raw_keys: Hashes
    raw_places: Places
    raw_starts: npt.NDArray[np.uint32]
    id_keys: Hashes
    id_places: Places
    id_starts: npt.NDArray[np.uint32]

    @property
    def rows(self) -> int:
        return int(self.ids.size)

    @property
    def by_raw(self) -> Index:
        return Index(self.raw_keys, self.raw_places, self.raw_starts)

    @property
    def by_id(self) -> Index:
        return Index(self.id_keys, self.id_places, self.id_starts)

    def arrays(self) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
        for each in fields(self):
            yield each.name, getattr(self, each.name)

    def texts(self, places: Places) -> list[str]:
        """Return id and volatile values of some rows, joined; an empty text is no value."""
        starts, stops = self.starts[places].tolist(), self.starts[places.astype(np.int64) + 1].tolist()
        text = self.text.data
        return [str(text[start:stop], "utf-8") for start, stop in zip(starts, stops, strict=True)]


class NotStorableError(Exception):
    """Rows whose fingerprints would not be exact."""


def values_of(frame: pl.DataFrame) -> pl.Series:
    """Join id and volatile values of each row into one text."""
    return frame.select(
        pl.concat_str([pl.col(name).fill_null("") for name in (ID, *VOLATILE)], separator=SEPARATOR)
    ).to_series()


def text_of(values: pl.Series) -> tuple[bytes, npt.NDArray[np.uint32]]:
    """Return the texts of rows back to back, and their lengths in bytes."""
    lengths = values.str.len_bytes().to_numpy().astype(np.uint32)
    text = "".join(values.to_list()).encode()
    if text.count(SEPARATOR.encode()) != len(VOLATILE) * values.len():
        raise NotStorableError
    return text, lengths


def prints_of(rows: pl.DataFrame) -> Prints:
    """Take the fingerprints of rows (NARROW, `_partition`, `_raw`, `_mask`, `_part`) with unique ids."""
    text, lengths = text_of(values_of(rows))
    columns = rows.select(
        pl.col("_group_hash").fill_null(NO_GROUP), "_static_hash", PARTITION, MASK, PART, raw=pl.col(RAW).fill_null(0)
    )
    ids = id_hashes(rows.get_column(ID))
    return assemble(
        ids=ids,
        groups=columns.get_column("_group_hash").to_numpy(),
        static=columns.get_column("_static_hash").to_numpy(),
        partitions=columns.get_column(PARTITION).to_numpy(),
        masks=columns.get_column(MASK).cast(pl.UInt16).to_numpy(),
        parts=columns.get_column(PART).cast(pl.UInt16).to_numpy(),
        raw=columns.get_column("raw").to_numpy(),
        lengths=lengths,
        text=np.frombuffer(text, np.uint8),
    )


def assemble(
    *,
    ids: Hashes,
    groups: Hashes,
    static: Hashes,
    partitions: npt.NDArray[np.uint16],
    masks: npt.NDArray[np.uint16],
    parts: npt.NDArray[np.uint16],
    raw: Hashes,
    lengths: npt.NDArray[np.uint32],
    text: npt.NDArray[np.uint8],
) -> Prints:
    """Add the indexes. `raw` is 0 where a row has no raw bytes of its own."""
    places = np.arange(ids.size, dtype=np.int32)
    with_raw = np.flatnonzero(raw).astype(np.int32)
    by_raw, by_id = Index.of(raw[with_raw], with_raw), Index.of(ids, places)
    if by_id.keys.size != ids.size:
        raise NotStorableError  # two ids with one hash
    starts = np.zeros(ids.size + 1, np.uint64)
    np.cumsum(lengths, out=starts[1:])
    return Prints(
        ids=ids,
        groups=groups,
        static=static,
        partitions=partitions,
        masks=masks,
        parts=parts,
        starts=starts,
        text=text,
        raw_keys=by_raw.keys,
        raw_places=by_raw.places,
        raw_starts=by_raw.starts,
        id_keys=by_id.keys,
        id_places=by_id.places,
        id_starts=by_id.starts,
    )


def id_hashes(ids: pl.Series) -> Hashes:
    return np.fromiter(map(hash_of, map(str.encode, ids.to_list())), np.uint64, ids.len())


def ids_in(texts: list[str]) -> pl.Series:
    """Return the ids of rows from their texts."""
    return pl.Series(ID, [text.partition(SEPARATOR)[0] for text in texts], dtype=pl.String)


def _values_in(texts: list[str]) -> pl.DataFrame:
    """Return id and volatile values of rows from their texts."""
    joined = pl.Series(texts, dtype=pl.String)
    parts = joined.str.split_exact(SEPARATOR, len(VOLATILE)).struct.unnest()
    named = zip(parts.columns, (ID, *VOLATILE), strict=True)
    return parts.select(pl.when(pl.col(part) != "").then(part).alias(name) for part, name in named)


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a read: those of its base that still stand, and those that came later.

    A place below `base.rows` is one of the base, another one of the delta. `dead` places of the base are gone or were
    replaced; the delta has none.
    """

    base: Prints
    delta: Prints | None
    dead: npt.NDArray[np.uint32]

    @property
    def size(self) -> int:
        return self.base.rows + (self.delta.rows if self.delta is not None else 0)

    @property
    def alive(self) -> npt.NDArray[np.bool_]:
        found = np.ones(self.size, dtype=bool)
        found[self.dead] = False
        return found

    def known(self) -> "Known":
        """Find rows by their raw bytes."""
        mask = np.zeros(self.base.rows, dtype=bool)
        mask[self.dead] = True
        return Known(
            InOrder.of(self.base.by_raw, self.base.rows), mask, self.delta.by_raw if self.delta is not None else None
        )

    def find(self, ids: pl.Series) -> Places:
        """Return the place of each id, or -1."""
        hashes = id_hashes(ids)
        found = self.base.by_id.find(hashes)
        if self.dead.size:
            found[np.isin(found, self.dead)] = NOT_FOUND
        if self.delta is not None:
            later = self.delta.by_id.find(hashes)
            found = np.where(later >= 0, later + self.base.rows, found).astype(np.int32)
        at = np.flatnonzero(found >= 0)
        other = self.item_ids(found[at]).ne_missing(ids.gather(at))
        found[at[other.to_numpy()]] = NOT_FOUND
        return found

    def item_ids(self, places: Places) -> pl.Series:
        return ids_in(self._texts(places))

    def _texts(self, places: Places) -> list[str]:
        if self.delta is None:
            return self.base.texts(places)
        edge = self.base.rows
        low = places < edge
        first, second = iter(self.base.texts(places[low])), iter(self.delta.texts(places[~low] - edge))
        return [next(first) if each else next(second) for each in low.tolist()]

    def column(self, name: str) -> npt.NDArray[np.generic]:
        """One of the arrays, over both."""
        first: npt.NDArray[np.generic] = getattr(self.base, name)
        return first if self.delta is None else np.concatenate((first, getattr(self.delta, name)))

    def take(self, name: str, places: Places) -> npt.NDArray[np.generic]:
        """Some values of one of the arrays."""
        first: npt.NDArray[np.generic] = getattr(self.base, name)
        if self.delta is None:
            return first[places]
        second: npt.NDArray[np.generic] = getattr(self.delta, name)
        edge = self.base.rows
        low = places < edge
        found = np.empty(places.size, first.dtype)
        found[low] = first[places[low]]
        found[~low] = second[places[~low] - edge]
        return found

    def raw(self, places: Places) -> Hashes:
        """Hashes of the raw records of some rows, 0 where a row has none of its own."""
        found = np.zeros(self.size, np.uint64)
        found[self.base.raw_places] = self.base.raw_keys
        if self.delta is not None:
            found[self.delta.raw_places.astype(np.int64) + self.base.rows] = self.delta.raw_keys
        return found[places]

    def narrow(self, places: Places) -> pl.DataFrame:
        """Return some rows as `NARROW` with `_partition`, `_mask` and `_part`."""
        groups = self.take("groups", places).astype(np.uint64)
        ids = self.take("ids", places).astype(np.uint64)
        slots = (np.where(groups != NO_GROUP, groups, ids) >> SLOT_SHIFT).astype(np.uint16)
        frame = _values_in(self._texts(places)).with_columns(
            pl.Series("_group_hash", groups, dtype=pl.UInt64).replace({NO_GROUP: None}),
            pl.Series("_static_hash", self.take("static", places), dtype=pl.UInt64),
            pl.Series("_slot", slots, dtype=pl.UInt16),
        )
        return conform(frame, NARROW).with_columns(
            pl.Series(PARTITION, self.take("partitions", places), dtype=pl.UInt16),
            pl.Series(MASK, self.take("masks", places), dtype=pl.UInt16),
            pl.Series(PART, self.take("parts", places), dtype=pl.UInt16),
        )


@dataclass(frozen=True, slots=True)
class Known:
    """Finds the places of raw records that still stand."""

    base: InOrder
    dead: npt.NDArray[np.bool_]
    delta: Index | None

    def find(self, hashes: Hashes) -> Places:
        found = self.base.find(hashes)
        missing = np.flatnonzero(found < 0)
        if self.delta is not None or self.dead.any():
            gone = np.flatnonzero((found >= 0) & self.dead[found])
            found[gone] = NOT_FOUND
            missing = np.concatenate((missing, gone))
        if self.delta is not None and missing.size:
            later = self.delta.find(hashes[missing])
            found[missing] = np.where(later >= 0, later + self.dead.size, NOT_FOUND)
        return found
