"""The named peers, each as a program of its own: `python -m hack.bench.anchors NAME ARGUMENTS`."""

import csv
import gzip
import json
import sys
from pathlib import Path


def polars_read(path: str, out: str) -> None:
    """Polars: read the CSV as text and write Parquet. No mapping, no checks, no comparison."""
    import polars as pl

    pl.scan_csv(path, infer_schema=False).sink_parquet(out, compression="zstd")


def polars_compare(old: str, new: str) -> None:
    """Polars: compare two exports by a hash per row; count new, gone and changed."""
    import polars as pl

    def hashed(path: str) -> pl.LazyFrame:
        frame = pl.scan_csv(path, infer_schema=False)
        return frame.select("id", hash=pl.struct(pl.all()).hash())

    joined = hashed(old).join(hashed(new), on="id", how="full", suffix="_new", coalesce=True)
    counts = joined.select(
        new=pl.col("hash").is_null().sum(),
        gone=pl.col("hash_new").is_null().sum(),
        changed=(pl.col("hash") != pl.col("hash_new")).sum(),
    ).collect()
    print(counts)


def script_compare(old: str, new: str) -> None:
    """What most scripts do: csv.DictReader, a dict of rows, json.dumps of what changed."""
    csv.field_size_limit(1 << 24)
    with Path(old).open(newline="", encoding="utf-8") as file:
        before = {row["id"]: row for row in csv.DictReader(file)}
    changed = []
    with Path(new).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            known = before.pop(row["id"], None)
            if known != row:
                changed.append(json.dumps({"method": "UPDATE", "data": row}))
    print(len(changed), len(before))


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
    function.__name__: function for function in (polars_read, polars_compare, script_compare, isal_compress, expand)
}

if __name__ == "__main__":
    ANCHORS[sys.argv[1]](*sys.argv[2:])
