"""The named peers, each as a program of its own: `python -m hack.bench.anchors NAME ARGUMENTS`.

Those that compare print {"new": …, "gone": …, "changed": …}, which the benchmark checks: a fast wrong answer fails.
"""

# ruff: noqa: S608 - the queries are made of our own paths

import csv
import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from hack.bench.data import COLUMNS

if TYPE_CHECKING:
    from lxml import etree

VOLATILE = ("price", "sale_price", "availability", "quantity_to_sell_on_facebook")
CRATE = Path(__file__).parent / "csv_diff"
REQUESTS_PER_BATCH = 5_000
"""Meta: items_batch takes so many requests in a call."""


def build_csv_diff(directory: Path) -> Path | None:
    """Build the program around the pinned crate, or return None where there is no Cargo."""
    if shutil.which("cargo") is None:
        return None
    source = directory / "csv_diff"
    shutil.copytree(CRATE, source, dirs_exist_ok=True, ignore=shutil.ignore_patterns("target", "Cargo.lock"))
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=source, check=True)
    return source / "target" / "release" / "csv-diff-anchor"


def polars_hash(old: str, new: str) -> None:
    """Polars: compare two exports by a hash per row."""
    import polars as pl

    def hashed(path: str) -> pl.LazyFrame:
        frame = pl.scan_csv(path, infer_schema=False)
        return frame.select("id", hash=pl.struct(pl.all()).hash())

    joined = hashed(old).join(hashed(new), on="id", how="full", suffix="_new", coalesce=True)
    counts = joined.select(
        new=pl.col("hash").is_null().sum(),
        gone=pl.col("hash_new").is_null().sum(),
        changed=(pl.col("hash") != pl.col("hash_new")).sum(),
    ).collect(engine="streaming")
    print(json.dumps(counts.row(0, named=True)))


def _csv_in_sql(path: str) -> str:
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in COLUMNS)
    return (
        f"read_csv('{path}', header = true, auto_detect = false, quote = '\"', escape = '\"', columns = {{{columns}}})"
    )


def duckdb_hash(old: str, new: str) -> None:
    """DuckDB: compare two exports by a hash per row."""
    import duckdb

    def hashed(path: str) -> str:
        return f"(SELECT id, hash({', '.join(COLUMNS)}) AS h FROM {_csv_in_sql(path)})"

    _print_counts(
        duckdb.connect()
        .execute(
            "SELECT count(*) FILTER (a.id IS NULL), count(*) FILTER (b.id IS NULL), count(*) FILTER (a.h <> b.h) "
            f"FROM {hashed(old)} a FULL OUTER JOIN {hashed(new)} b USING (id)"
        )
        .fetchone()
    )


def _prints_in_sql(path: str) -> str:
    static = ", ".join(name for name in COLUMNS if name not in VOLATILE and name != "id")
    return f"SELECT hash(id) AS i, hash({', '.join(VOLATILE)}) AS v, hash({static}) AS s FROM {_csv_in_sql(path)}"


def duckdb_snapshot(path: str, out: str) -> None:
    """Make the snapshot of 24 bytes a row that `duckdb_compare` compares with."""
    import duckdb

    duckdb.connect().execute(f"COPY ({_prints_in_sql(path)}) TO '{out}' (FORMAT parquet, COMPRESSION uncompressed)")


def duckdb_compare(snapshot: str, new: str) -> None:
    """DuckDB: compare an export with a snapshot of 24 bytes a row; counts only."""
    import duckdb

    _print_counts(
        duckdb.connect()
        .execute(
            "SELECT count(*) FILTER (a.i IS NULL), count(*) FILTER (b.i IS NULL), "
            "count(*) FILTER (a.v <> b.v OR a.s <> b.s) "
            f"FROM '{snapshot}' a FULL OUTER JOIN ({_prints_in_sql(new)}) b USING (i)"
        )
        .fetchone()
    )


def _print_counts(found: tuple[int, ...] | None) -> None:
    assert found is not None
    print(json.dumps(dict(zip(("new", "gone", "changed"), found, strict=True))))


def sdk_script(old: str, new: str) -> None:
    """What most scripts do: csv.DictReader, a dict of rows, and requests of the official SDK in chunks, unsent."""
    from facebook_business.adobjects.productcatalog import ProductCatalog
    from facebook_business.api import FacebookAdsApi

    catalog = ProductCatalog("1", api=FacebookAdsApi.init(access_token="none"))
    csv.field_size_limit(1 << 24)
    with Path(old).open(newline="", encoding="utf-8") as file:
        before = {row["id"]: row for row in csv.DictReader(file)}
    requests: list[dict[str, object]] = []
    found = {"new": 0, "gone": 0, "changed": 0}
    with Path(new).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            known = before.pop(row["id"], None)
            if known == row:
                continue
            found["new" if known is None else "changed"] += 1
            requests.append({"method": "UPDATE" if known else "CREATE", "data": row})
    found["gone"] = len(before)
    requests += [{"method": "DELETE", "data": {"id": each}} for each in before]
    for start in range(0, len(requests), REQUESTS_PER_BATCH):
        params = {"item_type": "PRODUCT_ITEM", "requests": requests[start : start + REQUESTS_PER_BATCH]}
        pending = catalog.create_items_batch(params=params, pending=True)
        body = {name: value if isinstance(value, str) else json.dumps(value) for name, value in pending._params.items()}  # noqa: SLF001 - what the SDK would send
        urlencode(body)
    print(json.dumps(found))


def lxml_values(path: str) -> None:
    """Read every item with lxml's iterparse, as a comparison needs them: a dict of its values."""
    count = 0
    for item in _items(path):
        row = {child.tag: child.text for child in item}
        count += len(row) > 0
    print(count)


def lxml_iterparse(path: str) -> None:
    """Run iterparse of lxml over a file, and take nothing from it."""
    print(sum(1 for _ in _items(path)))


def _items(path: str) -> "Iterator[etree._Element]":
    from lxml import etree

    for _, item in etree.iterparse(path, tag="item"):
        yield item
        item.clear()
        while item.getprevious() is not None:
            del item.getparent()[0]


def isal_compress(path: str, out: str) -> None:
    """ISA-L, level 2, two threads: the compression limit for the same bytes."""
    from isal import igzip_threaded

    with (
        Path(path).open("rb") as source,
        igzip_threaded.open(  # type: ignore[no-untyped-call]  # published without types
            out, "wb", compresslevel=2, threads=2
        ) as target,
    ):
        while piece := source.read(1 << 20):
            target.write(piece)


def expand(path: str, out: str) -> None:
    """Undo the compression of a file: input for `isal_compress`."""
    with gzip.open(path, "rb") as source, Path(out).open("wb") as target:
        while piece := source.read(1 << 20):
            target.write(piece)


ANCHORS = {
    function.__name__: function
    for function in (
        *(polars_hash, duckdb_hash, duckdb_snapshot, duckdb_compare, sdk_script),
        *(lxml_values, lxml_iterparse, isal_compress, expand),
    )
}

if __name__ == "__main__":
    ANCHORS[sys.argv[1]](*sys.argv[2:])
