"""`python -m hack.bench [--full] [--items N …]`: ratios against named peers, and build/bench.json.

Every row is a whole process, started as in production, its outputs written. Ours and the peers take turns within one
run, because machines drift; a ratio is the median of the rounds. What ours finds is compared with what the generator
changed, and what the peers find as well. Ratios are what counts, seconds are this machine's.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from controller.ports.preparing import Method
from hack.bench import anchors, data
from hack.bench.data import Truth
from hack.bench.measure import Measured, run
from hack.bench.steps import Bench

ROOT = Path(__file__).parents[2]
ITEMS = 1_000_000
ITEMS_FULL = (1_000_000, 5_000_000)
SCRIPT_ITEMS_MAX = 500_000
"""Beyond, csv and dict needs more memory and time than a benchmark should take."""
BYTES_PER_ITEM_ON_DISK = 8_000
"""Both exports, the store and the peers' outputs, generously."""
ROUNDS = 3
Turn = Callable[[], Measured]


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    items: int
    seconds: float
    peak_pss_bytes: int
    anchor: str
    anchor_seconds: float
    ratio: float


class Peers:
    """The programs that ours is compared with."""

    def __init__(self, directory: Path, truth: Truth) -> None:
        self._directory = directory
        self._truth = {"new": truth.new, "gone": truth.gone, "changed": truth.changed}
        self._crate = anchors.build_csv_diff(directory)

    def run(self, name: str, *arguments: Path, checked: bool = True) -> Measured:
        command = [sys.executable, "-m", "hack.bench.anchors", name, *map(str, arguments)]
        return self._run(name, command, checked=checked)

    def csv_diff(self, old: Path, new: Path) -> Turn | None:
        if self._crate is None:
            print("   (no Cargo here: csv-diff is left out)")
            return None
        command = [str(self._crate), str(old), str(new)]
        return lambda: self._run("csv-diff", command, checked=True)

    def cat(self, path: Path) -> Measured:
        return self._run("cat", ["cat", str(path)], checked=False, log=Path("/dev/null"))

    def _run(self, name: str, command: list[str], *, checked: bool, log: Path | None = None) -> Measured:
        log = log or self._directory / f"{name}.log"
        measured = run(command, log=log)
        if checked and json.loads(log.read_text()) != self._truth:
            raise RuntimeError(f"{name} found {log.read_text().strip()}, the truth is {self._truth}")
        return measured


class Table:
    def __init__(self, items: int) -> None:
        self.rows: list[Row] = []
        self._items = items

    def add(self, name: str, ours: list[Measured], anchor: str, theirs: list[Measured]) -> None:
        ratio = statistics.median(one.seconds / other.seconds for one, other in zip(ours, theirs, strict=True))
        row = Row(
            name=name,
            items=self._items,
            seconds=round(statistics.median(each.seconds for each in ours), 3),
            peak_pss_bytes=max(each.peak_pss_bytes for each in ours),
            anchor=anchor,
            anchor_seconds=round(statistics.median(each.seconds for each in theirs), 3),
            ratio=round(ratio, 3),
        )
        self.rows.append(row)
        megabytes, peer = row.peak_pss_bytes >> 20, max(each.peak_pss_bytes for each in theirs) >> 20
        print(
            f"{row.name:26} {row.items:>10,} {row.seconds:>8.2f} s {megabytes:>6} MiB   {row.ratio:>6.2f} × "
            f"{row.anchor} ({row.anchor_seconds:.2f} s, {peer} MiB)",
            flush=True,
        )


def measure(items: int, directory: Path, rounds: int) -> list[Row]:
    print(f"── two exports of {items:,} items", flush=True)
    first, later, truth = data.prepare(directory, items)
    peers = Peers(directory, truth)
    table = Table(items)
    bench = Bench(directory)
    csv_diff = peers.csv_diff(first, later)
    loaded = bench.refresh(first)
    if csv_diff is not None:
        table.add("first load", [loaded], "csv-diff", [csv_diff()])
    encoded, packed = bench.encode(Method.REPLACE_FEED)
    plain = directory / "replace.csv"
    peers.run("expand", bench.store.path(encoded.files[0].key), plain, checked=False)
    limit = peers.run("isal_compress", plain, directory / "replace.csv.gz", checked=False)
    plain.unlink()
    table.add("replace file", [packed], "ISA-L, the same bytes, 2 threads", [limit])
    table.add("acknowledge, all", [bench.acknowledge(Method.REPLACE_FEED, encoded)], "the same", [limit])
    _incremental(bench, peers, table, (first, later), truth, rounds, csv_diff)
    return table.rows


def _incremental(
    bench: Bench,
    peers: Peers,
    table: Table,
    exports: tuple[Path, Path],
    truth: Truth,
    rounds: int,
    csv_diff: Turn | None,
) -> None:
    """Refresh and batches, in turn with the peers."""
    first, later = exports
    snapshot = first.with_suffix(".parquet")
    peers.run("duckdb_snapshot", first, snapshot, checked=False)
    turns: dict[str, Turn] = {
        **({"csv-diff": csv_diff} if csv_diff is not None else {}),
        "DuckDB, 24-byte snapshot": lambda: peers.run("duckdb_compare", snapshot, later),
        "DuckDB, both files by hash": lambda: peers.run("duckdb_hash", first, later),
        "Polars, both files by hash": lambda: peers.run("polars_hash", first, later),
        "cat": lambda: peers.cat(later),
    }
    ours: list[Measured] = []
    theirs: dict[str, list[Measured]] = {name: [] for name in turns}
    for _ in range(rounds):
        ours.append(bench.changes(later, truth))
        for name, turn in turns.items():
            theirs[name].append(turn())
    for name, measured in theirs.items():
        table.add("refresh and batches", ours, name, measured)
    if truth.rows < SCRIPT_ITEMS_MAX:
        table.add("refresh and batches", ours[-1:], "csv and dict", [peers.run("script_compare", first, later)])
    table.add("acknowledge, batches", [bench.acknowledge_changes()], "cat", theirs["cat"][-1:])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m hack.bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help=f"{', '.join(f'{each:,}' for each in ITEMS_FULL)} items")
    parser.add_argument("--items", type=int, nargs="*", help="other numbers of items")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    rows: list[Row] = []
    for items in options.items or (ITEMS_FULL if options.full else (ITEMS,)):
        with tempfile.TemporaryDirectory(dir=build, prefix="bench-") as directory:
            free = shutil.disk_usage(directory).free
            if free < items * BYTES_PER_ITEM_ON_DISK:
                sys.exit(
                    f"{items:,} items need {items * BYTES_PER_ITEM_ON_DISK >> 30} GiB of disk, {free >> 30} are free"
                )
            rows += measure(items, Path(directory), options.rounds)
    (build / "bench.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    print(f"── {build / 'bench.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
