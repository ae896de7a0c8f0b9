"""Tables in the store: names that carry kind and version, Parquet behind them.

A table that a head names and that is missing or unreadable is a lost snapshot, never an empty one. A newer version
than this release knows is refused by name, before a byte is read.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, TypedDict

import polars as pl

from controller.faults import Disposition, Fault
from controller.products.tables import VERSION, Kind, conform
from controller.stores.local import LocalStore, lost, storage_fault

ROW_GROUP_ROWS = 50_000
EAGER_ROWS_MAX = 20_000
"""So few are put together in memory: starting the streaming engine would take longer than all the rest."""
PROBE_BYTES = 1 << 16
_NAME = re.compile(r"(?P<kind>[a-z]+)-v(?P<version>\d+)(-[^/]*)?\.parquet")


def table_key(prefix: str, kind: Kind, part: str) -> str:
    """Name a table, e.g. <prefix>/snapshot-v1-003.parquet."""
    return f"{prefix}/{kind.value}-v{VERSION}-{part}.parquet"


class _Options(TypedDict):
    compression: Literal["snappy"]
    row_group_size: int
    statistics: bool


OPTIONS: _Options = {
    "compression": "snappy",
    "row_group_size": ROW_GROUP_ROWS,
    "statistics": False,
}
"""How every table is written. Snappy: a third less time than zstd at level 1, 1.45 times its size; LZ4 is larger."""


def in_groups_of(rows: int) -> _Options:
    """Options for row groups of at most so many rows."""
    return {**OPTIONS, "row_group_size": min(rows, ROW_GROUP_ROWS)}


def write_table(store: LocalStore, key: str, frame: pl.DataFrame, metadata: dict[str, str] | None = None) -> str:
    with store.creating(key) as path, writing(path):
        frame.write_parquet(path, metadata=metadata, **OPTIONS)
    return key


def sink_table(store: LocalStore, key: str, rows: pl.LazyFrame, rows_expected: int) -> str:
    """Write rows that may not fit into memory several times over."""
    if rows_expected <= EAGER_ROWS_MAX:
        return write_table(store, key, rows.collect())
    with store.creating(key) as path, writing(path):
        rows.sink_parquet(path, maintain_order=True, **OPTIONS)
    return key


def scan_table(store: LocalStore, key: str) -> pl.LazyFrame:
    """Open a table; its schema is read at once."""
    table = pl.scan_parquet(existing(store, key), glob=False)
    try:
        table.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(key, error) from error
    return table


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Take a table that cannot be read, while it is used, for a lost one."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        raise lost("a table in the store cannot be read") from error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let the disk itself say that it is full: Polars' writer reports that as one of several vague errors."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        with (path / "probe" if path.is_dir() else path).open("ab") as file:
            file.write(bytes(PROBE_BYTES))
        raise OSError(str(error)) from error


def read_table(store: LocalStore, key: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Read a table, or these of its columns."""
    path = existing(store, key)
    try:
        return pl.read_parquet(path, columns=None if columns is None else list(columns), glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(key, error) from error


def columns_of(store: LocalStore, key: str) -> frozenset[str]:
    path = existing(store, key)
    try:
        return frozenset(pl.read_parquet_schema(path))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(key, error) from error


def rows_in(store: LocalStore, key: str) -> int:
    return int(scan_table(store, key).select(pl.len()).collect().item())


def read_metadata(store: LocalStore, key: str) -> dict[str, str]:
    path = existing(store, key)
    try:
        return pl.read_parquet_metadata(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(key, error) from error


def read_or_empty(store: LocalStore, key: str | None, schema: pl.Schema) -> pl.DataFrame:
    """Read the columns of a schema; a key of None is a table that never was."""
    if key is None:
        return pl.DataFrame(schema=schema)
    return conform(read_table(store, key, list(schema)), schema)


def scan_or_empty(store: LocalStore, key: str | None, schema: pl.Schema) -> pl.LazyFrame:
    """Do as `read_or_empty` does, not yet read."""
    if key is None:
        return pl.LazyFrame(schema=schema)
    table = scan_table(store, key)
    present = table.collect_schema()
    return table.select(
        (pl.col(name) if name in present else pl.lit(None)).cast(dtype).alias(name) for name, dtype in schema.items()
    )


def existing(store: LocalStore, key: str) -> Path:
    """Return the path of a table that this release can read."""
    name = _NAME.fullmatch(key.rsplit("/", 1)[-1])
    if name is None:
        raise lost(f"{key} is not the name of a table")
    if int(name["version"]) > VERSION:
        raise Fault(
            "SnapshotTooNew",
            Disposition.STALLED,
            f"{name['kind']} was written in format {name['version']}, this release reads up to {VERSION}: upgrade",
        )
    path = store.path(key)
    if not path.is_file():
        raise lost(f"{key} is missing in the store")
    return path


def _unreadable(key: str, error: Exception) -> Fault:
    if isinstance(error, OSError) and error.errno is not None:
        return storage_fault(error, "reading a table")
    return lost(f"{key} in the store cannot be read")
