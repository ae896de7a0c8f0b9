"""Sets of item ids as sorted 64-bit hashes: eight bytes an item.

Small sets go through Python's own, large ones through a column, which is ten times as fast for a million. The columns'
library is imported when it is first needed: most runs never do.
"""

import unicodedata
from array import array
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    import polars as pl

HASH_COLUMN_FROM = 2_000  # ids
COLUMN_FROM = 100_000  # keys; below this Python's sets are as fast


def item_key(rid: str) -> int:
    """64 bits for an item id; two of a million ids collide with a chance of 3 in 100 million."""
    return xxhash.xxh3_64_intdigest(rid.encode())


def canonical_id(rid: str) -> str:
    """Ids that differ only in surrounding space or Unicode form are one id to a reader."""
    stripped = rid.strip()
    return stripped if stripped.isascii() else unicodedata.normalize("NFC", stripped)


def keys_in_order(rids: Sequence[str]) -> "array[int]":
    """The key of each id."""
    if len(rids) < HASH_COLUMN_FROM:
        return array("Q", map(item_key, rids))
    return _array(_hashed(rids))


def _hashed(rids: Sequence[str]) -> "pl.Series":
    import polars as pl
    import polars_hash

    return pl.DataFrame({"rid": rids}).select(polars_hash.col("rid").nchash.xxh3_64())["rid"]


def keys_of(rids: Iterable[str]) -> "array[int]":
    return distinct(keys_in_order(list(rids)))[0]


def missing(rids: Sequence[str], kept: "array[int]") -> list[str]:
    """The ids whose keys are not among `kept`, in their order."""
    if len(rids) < HASH_COLUMN_FROM:
        there = frozenset(kept)
        return [rid for rid in rids if item_key(rid) not in there]
    gone = ~_hashed(rids).is_in(_column(kept).implode())
    return [rid for rid, lost in zip(rids, gone.to_list(), strict=True) if lost]


def _column(keys: "array[int]") -> "pl.Series":
    import polars as pl

    return pl.Series(keys.tolist(), dtype=pl.UInt64)


def _array(column: "pl.Series") -> "array[int]":
    return array("Q", column.to_list())


def distinct(keys: "array[int]") -> tuple["array[int]", "array[int]"]:
    """Each key once, and those that were there more than once; both sorted."""
    if len(keys) < COLUMN_FROM:
        unique = set(keys)
        if len(unique) == len(keys):
            return array("Q", sorted(unique)), array("Q")
        seen: set[int] = set()
        twice = {key for key in keys if key in seen or seen.add(key)}  # type: ignore[func-returns-value]
        return array("Q", sorted(unique)), array("Q", sorted(twice))
    column = _column(keys).sort()
    doubled = column.filter(column.is_duplicated()).unique()
    return _array(column.unique().sort()) if len(doubled) else _array(column), _array(doubled.sort())


def union(one: "array[int]", other: "array[int]") -> "array[int]":
    if not other:
        return one
    return distinct(array("Q", [*one, *other]))[0]


def without(keys: "array[int]", lost: "array[int]") -> "array[int]":
    if not lost:
        return keys
    gone = frozenset(lost)
    return array("Q", (key for key in keys if key not in gone))


def shared(one: "array[int]", other: "array[int]") -> int:
    """How many keys are in both."""
    few, many = sorted((one, other), key=len)
    if len(many) >= COLUMN_FROM:
        return int(_column(few).is_in(_column(many).implode()).sum())
    return len(frozenset(few).intersection(many))
