"""What is known of every row of a read, in a few bytes each on the disk, until it is known which rows are accepted.

Of a row that may be accepted there are the hashes of its id, its group and its static fields, its line, its number in
the read, which rules it broke, and the text of its id and volatile values: what fingerprints are made of. Rows that
are not accepted stay in memory, with what they broke. As long as there are few rows, their narrow columns stay in
memory as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from controller.preparing.spill import ORDER
from controller.products import rules
from controller.products.fields import ID, VOLATILE
from controller.products.fingerprints import xxh3
from controller.products.partition import NO_GROUP
from controller.products.prints import MASK, SEPARATOR, values_of
from controller.products.raw import Hashes, among
from controller.products.records import LINE
from controller.products.rules import REJECTED
from controller.products.tables import NARROW, conform
from controller.products.tables import REJECTED as REJECTED_SCHEMA

Array = npt.NDArray[np.generic]
Positions = npt.NDArray[np.int64]
COLUMNS = {
    "ids": np.uint64,
    "groups": np.uint64,
    "static": np.uint64,
    "masks": np.uint16,
    "lines": np.uint64,
    "orders": np.uint32,
    "lengths": np.uint32,
}
_NAMED = (ID, LINE, REJECTED, ORDER)
TEXT_BYTES = 1 << 20
NO_LINE = 0
"""Stands for the line of a row that was made from several."""


class Gathering:
    """Takes the narrow columns of checked rows. Use as a context manager; the files go with it."""

    def __init__(self, scratch: Path, *, lenient: bool, narrow_rows_max: int) -> None:
        """`lenient`: rows that break a rule are accepted as long as they have an id."""
        self._lenient = lenient
        self._narrow_rows_max = narrow_rows_max
        self._narrow: list[pl.DataFrame] = []
        self._files: dict[str, IO[bytes]] = {name: TemporaryFile(dir=scratch) for name in (*COLUMNS, "text")}  # noqa: SIM115 - closed by __exit__
        self._others: list[pl.DataFrame] = []
        self._doubtful: list[pl.DataFrame] = []
        self._exact = True
        self.rows = 0
        """Of all rows."""
        self.fit = 0
        """Of the rows that may be accepted."""
        self.unnamed = False
        """A row has no id."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows (NARROW, `_line`, `_rejected`, `_order`, `_mask`)."""
        self.rows += rows.height
        self.unnamed |= bool(rows.get_column(ID).null_count())
        refused = self.refused(rows)
        fit = rows
        if refused.any():
            self._others.append(rows.filter(refused).select(_NAMED))
            fit = rows.filter(~refused)
        if self._lenient:
            self._doubtful.append(fit.filter(pl.col(REJECTED).is_not_null()).select(ORDER, REJECTED))
        self.fit += fit.height
        if self.fit <= self._narrow_rows_max:
            self._narrow.append(fit.select(*NARROW, ORDER))
        else:
            self._narrow.clear()
        self._put(fit)

    def refused(self, rows: pl.DataFrame) -> pl.Series:
        unnamed = rows.get_column(ID).is_null()
        return unnamed if self._lenient else unnamed | rows.get_column(REJECTED).is_not_null()

    def _put(self, rows: pl.DataFrame) -> None:
        columns = rows.select(
            ids=xxh3(pl.col(ID)),
            groups=pl.col("_group_hash").fill_null(NO_GROUP),
            static="_static_hash",
            masks=MASK,
            lines=pl.col(LINE).fill_null(NO_LINE),
            orders=ORDER,
        )
        values = values_of(rows)
        lengths = values.str.len_bytes()
        for name, dtype in COLUMNS.items():
            found = (lengths if name == "lengths" else columns.get_column(name)).to_numpy()
            self._files[name].write(np.ascontiguousarray(found.astype(dtype, copy=False)).data)
        joined = values.to_frame("text").select(pl.col("text").str.join("")).item().encode() if rows.height else b""
        self._exact &= joined.count(SEPARATOR.encode()) == len(VOLATILE) * rows.height
        self._files["text"].write(joined)

    def separated(self) -> "Separated":
        """Tell accepted from other rows, once all are there."""
        for file in self._files.values():
            file.flush()
        others = pl.concat(self._others) if self._others else _nothing()
        self._others = [others]
        candidates, places = self._candidates(others)
        twice = rules.duplicates(candidates)
        dead = places.filter(places.get_column(ORDER).is_in(twice.get_column(ORDER).implode())).get_column("at")
        contended = places.filter(places.get_column(ID).is_in(twice.get_column(ID).implode())).get_column("at")
        rejected = others.join(twice, on=ORDER, how="anti", maintain_order="left").select(ID, line=LINE, rules=REJECTED)
        repeated = twice.select(ID, line=LINE, rules=pl.lit("id-duplicate"), kept_line="_kept_line")
        hashes = places.select(key=xxh3(pl.col(ID)), id=ID).unique()
        return Separated(
            twice=twice,
            rejected=conform(pl.concat([rejected, repeated], how="diagonal"), REJECTED_SCHEMA).sort("line"),
            dead=np.sort(dead.to_numpy().astype(np.int64)),
            contended=contended.to_numpy().astype(np.int64),
            one_hash=hashes.filter(hashes.get_column("key").is_duplicated()).get_column(ID),
            accepted=self.fit - dead.len(),
            exact=self._exact,
        )

    def column(self, name: str) -> Array:
        """Return a column of all rows that may be accepted."""
        file = self._files[name]
        file.seek(0)
        return np.fromfile(file, COLUMNS[name])

    def hashes(self, name: str) -> Hashes:
        return self.column(name).view(np.uint64)

    def text(self, dead: Positions) -> Iterator[bytes]:
        """Yield the texts of the rows that may be accepted, back to back, without those of some."""
        lengths = self.column("lengths").astype(np.int64)
        stops = np.cumsum(lengths)
        size = int(stops[-1]) if stops.size else 0
        ends = stops[dead].tolist()
        begins = (stops[dead] - lengths[dead]).tolist()
        del lengths, stops
        for begin, end in zip([0, *ends], [*begins, size], strict=True):
            yield from self._span(begin, end)

    def _span(self, begin: int, end: int) -> Iterator[bytes]:
        file = self._files["text"]
        file.seek(begin)
        while begin < end:
            piece = file.read(min(TEXT_BYTES, end - begin))
            begin += len(piece)
            yield piece

    def narrow(self) -> pl.DataFrame | None:
        """Narrow columns of all rows that may be accepted, or None where they are many."""
        if self.fit > self._narrow_rows_max:
            return None
        return pl.concat(self._narrow) if self._narrow else pl.DataFrame(schema={**NARROW, ORDER: pl.UInt32})

    def _candidates(self, others: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the rows whose id has a hash that comes more than once, and where the fit ones of them stand."""
        hashes = self.hashes("ids")
        known = others.drop_nulls(ID)
        more = known.select(xxh3(pl.col(ID))).to_series().to_numpy()
        several = _several(np.concatenate((hashes, more)))
        at = np.flatnonzero(among(hashes, several))
        places = pl.DataFrame(
            {
                ID: pl.Series(self._ids(at), dtype=pl.String),
                LINE: pl.Series(self.column("lines")[at], dtype=pl.UInt64).replace({NO_LINE: None}),
                ORDER: self.column("orders")[at],
                "at": at,
            }
        )
        doubtful = (
            pl.concat(self._doubtful)
            if self._doubtful
            else pl.DataFrame(schema={ORDER: pl.UInt32, REJECTED: pl.String})
        )
        fit = places.join(doubtful, on=ORDER, how="left", maintain_order="left").select(_NAMED)
        refused = known.filter(pl.Series(among(more, several)))
        return pl.concat([fit, refused]), places

    def _ids(self, at: Positions) -> list[str]:
        """Ids of some rows."""
        if not at.size:
            return []
        lengths = self.column("lengths").astype(np.int64)
        stops = np.cumsum(lengths)
        file = self._files["text"]
        found = []
        for stop, length in zip(stops[at].tolist(), lengths[at].tolist(), strict=True):
            file.seek(stop - length)
            found.append(file.read(length).decode().split(SEPARATOR)[0])
        return found


@dataclass(frozen=True, slots=True)
class Separated:
    """Which rows are accepted. Positions count the rows that may be accepted, in their order."""

    twice: pl.DataFrame
    """As `rules.duplicates` gives them."""
    rejected: pl.DataFrame
    dead: Positions
    """Rows that are not accepted, because another one has their id."""
    contended: Positions
    """Accepted or not: rows whose id came more than once."""
    one_hash: pl.Series
    """Ids that share their hash with another one."""
    accepted: int
    exact: bool
    """No value has what separates the texts."""


def _several(hashes: Hashes) -> Hashes:
    """Return hashes that come more than once."""
    hashes.sort()
    return np.unique(hashes[1:][hashes[1:] == hashes[:-1]])


def _nothing() -> pl.DataFrame:
    return pl.DataFrame(schema={ID: pl.String, LINE: pl.UInt64, REJECTED: pl.String, ORDER: pl.UInt32})
