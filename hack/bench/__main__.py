"""`python -m hack.bench [--full]`: a table of ratios against named peers, and build/bench.json.

Every row is a whole process, started as in production, its outputs written; the peer runs right before or after it in
the same run, because machines drift. Ratios are what counts, seconds are this machine's.
"""

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from controller.ports.preparing import Method
from hack.bench import data
from hack.bench.measure import Measured, run
from hack.bench.steps import Bench

ROOT = Path(__file__).parents[2]
ITEMS = 100_000
ITEMS_FULL = 1_000_000
BYTES_PER_ITEM_ON_DISK = 6_000
"""Both exports, the store and the peers' outputs, generously."""


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    items: int
    seconds: float
    peak_pss_bytes: int
    anchor: str
    anchor_seconds: float
    ratio: float


def _row(name: str, items: int, ours: Measured, anchor: str, theirs: Measured) -> Row:
    ratio = ours.seconds / theirs.seconds
    return Row(
        name, items, round(ours.seconds, 3), ours.peak_pss_bytes, anchor, round(theirs.seconds, 3), round(ratio, 3)
    )


def _anchor(directory: Path, name: str, *arguments: str) -> Measured:
    command = [sys.executable, "-m", "hack.bench.anchors", name, *arguments]
    return run(command, log=directory / f"{name}.log")


def measure(items: int, directory: Path) -> list[Row]:
    first, later = directory / "v1.csv", directory / "v2.csv"
    print(f"── writing two exports of {items:,} items", flush=True)
    data.write(first, items)
    data.write(later, items, version=2)
    bench = Bench(directory)
    rows: list[Row] = []

    def add(row: Row) -> None:
        rows.append(row)
        megabytes = row.peak_pss_bytes / (1 << 20)
        print(
            f"{row.name:32} {row.items:>10,} {row.seconds:>8.2f} s {megabytes:>7.0f} MiB"
            f"   {row.ratio:>6.2f} × {row.anchor} ({row.anchor_seconds:.2f} s)",
            flush=True,
        )

    reading = _anchor(directory, "polars_read", str(first), str(directory / "anchor.parquet"))
    add(_row("refresh, first load", items, bench.refresh(first), "Polars reading the same file", reading))
    encoded, seconds = bench.encode(Method.REPLACE_FEED)
    plain = directory / "replace.csv"
    _anchor(directory, "expand", str(bench.store.path(encoded.files[0].key)), str(plain))
    packing = _anchor(directory, "isal_compress", str(plain), str(directory / "replace.csv.gz"))
    add(_row("encode, replace file", items, seconds, "ISA-L packing the same bytes", packing))
    add(_row("acknowledge, replace file", items, bench.acknowledge(Method.REPLACE_FEED, encoded), "the same", packing))
    comparing = _anchor(directory, "polars_compare", str(first), str(later))
    add(_row("refresh, 2 % changed", items, bench.refresh(later), "Polars comparing both exports", comparing))
    encoded, seconds = bench.encode(Method.ITEMS_BATCH, calls_max=90)
    script = _anchor(directory, "script_compare", str(first), str(later))
    add(_row("encode, item batches", items, seconds, "csv and dict, both exports", script))
    add(_row("acknowledge, item batches", items, bench.acknowledge(Method.ITEMS_BATCH, encoded), "the same", script))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m hack.bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help=f"{ITEMS_FULL:,} items too")
    options = parser.parse_args()
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    sizes = [ITEMS, ITEMS_FULL] if options.full else [ITEMS]
    rows: list[Row] = []
    for items in sizes:
        with tempfile.TemporaryDirectory(dir=build, prefix="bench-") as directory:
            free = shutil.disk_usage(directory).free
            if free < items * BYTES_PER_ITEM_ON_DISK:
                sys.exit(
                    f"{items:,} items need {items * BYTES_PER_ITEM_ON_DISK >> 30} GiB of disk, {free >> 30} are free"
                )
            rows += measure(items, Path(directory))
    (build / "bench.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    print(f"── {build / 'bench.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
