"""Hashes of records that end with their line, whatever `raw.hash_records` would say, at a third of its price.

The engine hashes lines without one Python object for each. What it leaves out of a line (a carriage return) and what
it cannot take (bytes that are no text) is seen by counting: unless every byte is accounted for, the answer is None.
"""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from controller.products.fingerprints import xxh3
from controller.products.raw import (
    CARRIED_BYTES_MAX,
    END_OF_LINE,
    JOINED_BYTES_MAX,
    Hashed,
    Hashes,
    UnsuitableError,
    hash_of,
)
from controller.products.splitting import Lines, Splitter

_RETURN = "\r"


def hash_lines(descriptor: int, size: int, splitter: Splitter, *, torn: bool) -> Hashed | None:
    """Hash all records as `raw.hash_records` does, or return None where that has to do it."""
    if not isinstance(splitter, Lines) or (splitter.head and not splitter.head.endswith(END_OF_LINE)):
        return None
    path = Path(f"/proc/self/fd/{descriptor}")
    head = splitter.head.count(END_OF_LINE)
    returns = splitter.head.endswith(_RETURN.encode() + END_OF_LINE)
    line = pl.col("line")
    whole = pl.concat_str(line, pl.lit(_RETURN)) if returns else line
    odd = pl.lit(value=False)
    if splitter.shape.delimiter:
        odd = line.str.count_matches('"', literal=True) % 2 == 1
    try:
        found = (
            pl.scan_lines(path, glob=False)
            .select(hash=xxh3(whole), size=line.str.len_bytes(), odd=odd)
            .collect(engine="streaming")
        )
    except pl.exceptions.PolarsError:
        return None
    sizes = found.get_column("size").to_numpy()
    if not sizes.size or sizes.max() > CARRIED_BYTES_MAX:
        return None
    stops = np.cumsum(sizes + np.uint32(len(END_OF_LINE) + returns), dtype=np.int64)
    unclosed = os.pread(descriptor, 1, size - 1) != END_OF_LINE
    if stops[-1] - unclosed != size:
        return None
    hashes = found.get_column("hash").to_numpy(writable=True)
    keeps = np.ones(hashes.size, bool)
    keeps[:head] = False
    odd_ones = found.get_column("odd").arg_true().to_numpy().astype(np.int64)
    _join(descriptor, odd_ones[odd_ones >= head], stops, hashes, keeps, torn=torn)
    at = np.flatnonzero(keeps)
    return Hashed(at + 1, hashes[at])


def _join(
    descriptor: int,
    odd: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
    hashes: Hashes,
    keeps: npt.NDArray[np.bool_],
    *,
    torn: bool,
) -> None:
    """Make one record of the lines from each that leaves a quote open to the one that closes it.

    `stops`: where each line ends, its end included.
    """
    if odd.size % 2:
        raise UnsuitableError
    opens, closes = odd[::2], odd[1::2]
    begins = np.where(opens > 0, stops[opens - 1], 0)
    ends = stops[closes] - len(END_OF_LINE)
    open_until, first_ends = stops[closes - 1] - len(END_OF_LINE), stops[opens] - len(END_OF_LINE)
    if ((open_until - begins > JOINED_BYTES_MAX) | (ends - first_ends > JOINED_BYTES_MAX)).any():
        raise UnsuitableError
    for first, last, begin, end in zip(opens.tolist(), closes.tolist(), begins.tolist(), ends.tolist(), strict=True):
        keeps[first + 1 : last + 1] = False
        hashes[first] = 0 if torn else hash_of(os.pread(descriptor, end - begin, begin))
