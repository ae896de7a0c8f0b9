"""`python -m hack.bench [--full] [--items N …]`: ratios against named peers, and build/bench.json.

Every row is a whole process, started as by the operator, its outputs written. Ours and the peers take turns within one
run, because machines drift; a ratio is the median of the rounds. What ours finds is compared with what the generator
changed, and what the peers find as well. Ratios are what counts, seconds are this machine's. Processor time stands
beside them: on a machine that others use it is the steadier measure.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from controller.ports.preparing import Method
from hack.bench import anchors, data, overlays
from hack.bench.data import Truth
from hack.bench.measure import Measured, run
from hack.bench.starting import Alone, Forked, Start
from hack.bench.steps import Bench

ROOT = Path(__file__).parents[2]
ITEMS = 1_000_000
ITEMS_FULL = (1_000_000, 5_000_000, 10_000_000)
XML_ITEMS_MAX = 500_000
"""lxml needs 40 µs per item, and reading an item for the first time as much."""
DOCUMENT_ROUNDS = 2
SCRIPT_BYTES_PER_ITEM = 7_000
"""Memory that csv.DictReader and a dict need; without it, the script is left out."""
SCRIPT_ITEMS_MAX = 1_000_000
BYTES_PER_ITEM_ON_DISK = 5_000
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

    def run(self, name: str, *arguments: Path, checked: bool = True) -> Measured:
        command = [sys.executable, "-m", "hack.bench.anchors", name, *map(str, arguments)]
        return self._run(name, command, checked=checked)

    def csv_diff(self, old: Path, new: Path) -> Turn | None:
        try:
            crate = anchors.build_csv_diff(self._directory)
        except subprocess.CalledProcessError as error:
            print(f"   the crate csv-diff was not built ({error}); rows against it are left out")
            return None
        if crate is None:
            print(
                "   there is no cargo here; install Rust's cargo to have the rows against csv-diff, they are left out"
            )
            return None
        command = [str(crate), str(old), str(new)]
        return lambda: self._run("csv-diff", command, checked=True)

    def cat(self, path: Path) -> Measured:
        return self._run("cat", ["cat", str(path)], checked=False, log=Path("/dev/null"))

    def _run(self, name: str, command: list[str], *, checked: bool, log: Path | None = None) -> Measured:
        log = log or self._directory / f"{name}.log"
        measured = run(command, log=log)
        said = log.read_text().strip().rpartition("\n")[2] if checked else ""
        if checked and json.loads(said) != self._truth:
            raise RuntimeError(f"{name} found {said}, the truth is {self._truth}")
        return measured


class Table:
    def __init__(self, items: int) -> None:
        self.rows: list[Row] = []
        self._items = items

    def add(self, name: str, ours: Sequence[Measured], anchor: str, theirs: Sequence[Measured]) -> None:
        ratio = statistics.median(one.seconds / other.seconds for one, other in zip(ours, theirs, strict=True))
        cpu, peer_cpu = (statistics.median(each.cpu_seconds for each in some) for some in (ours, theirs))
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
            f"{name:24} {row.items:>10,} {row.seconds:>8.2f} s {cpu:>7.2f} cpu {megabytes:>6} MiB {row.ratio:>7.2f} × "
            f"{anchor} ({row.anchor_seconds:.2f} s, {peer_cpu:.2f} cpu, {peer} MiB; cpu {cpu / peer_cpu:.2f} ×)",
            flush=True,
        )


def measure(items: int, directory: Path, rounds: int, start: Start) -> list[Row]:
    print(f"── two exports of {items:,} items, {data.BYTES_PER_ROW} bytes a row", flush=True)
    first, later, truth = data.prepare(directory, items)
    peers = Peers(directory, truth)
    table = Table(items)
    bench = Bench(directory, start)
    csv_diff = peers.csv_diff(first, later)
    loaded = bench.refresh(first)
    table.add("first load", [loaded], "cat", [peers.cat(first)])
    if csv_diff is not None:
        table.add("first load", [loaded], "csv-diff", [csv_diff()])
    encoded, packed = bench.encode(Method.REPLACE_FEED)
    plain = directory / "replace.csv"
    peers.run("expand", bench.store.path(encoded.files[0].key), plain, checked=False)
    limit = peers.run("isal_compress", plain, directory / "replace.csv.gz", checked=False)
    plain.unlink()
    table.add("replace file", [packed], "ISA-L, the same bytes, 2 threads", [limit])
    table.add("acknowledge, all", [bench.acknowledge(Method.REPLACE_FEED, encoded)], "ISA-L, as above", [limit])
    if csv_diff is not None:
        table.add("changed configuration", [bench.other_configuration(later, truth)], "csv-diff", [csv_diff()])
    _incremental(bench, peers, table, (first, later), truth, rounds, csv_diff)
    shutil.rmtree(directory / "store")
    _overlaid(items, first, table, start)
    for path in (*directory.glob("*.csv"), *directory.glob("*.parquet")):
        path.unlink()
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
    looks, stages, alone = [], [], []
    theirs: dict[str, list[Measured]] = {name: [] for name in turns}
    for _ in range(rounds):
        looks.append(bench.quiet_look(first))
        stages.append(bench.changes(later, truth))
        with bench.started(Alone(bench.directory)):
            alone.append(bench.changes(later, truth))
        for name, turn in turns.items():
            theirs[name].append(turn())
    ours = [read + written for read, written in stages]
    for name, measured in theirs.items():
        table.add("refresh and batches", ours, name, measured)
    table.add("· as programs", [read + written for read, written in alone], "as above, forked", ours)
    if _script_fits(truth.rows):
        script = peers.run("sdk_script", first, later)
        table.add("refresh and batches", ours[-1:], "csv.DictReader, dict, SDK", [script])
    for name, stage in (("· quiet look", looks), ("· refresh", [one for one, _ in stages])):
        table.add(name, stage, "cat", theirs["cat"])
    table.add("· batches", [written for _, written in stages], "cat", theirs["cat"])
    table.add("acknowledge, batches", [bench.acknowledge_changes()], "cat", theirs["cat"][-1:])


def _overlaid(items: int, export: Path, table: Table, start: Start) -> None:
    """Change stock by an overlay, against reading everything."""
    directory = export.parent / "overlays"
    directory.mkdir()
    (directory / export.name).hardlink_to(export)
    full, changes = overlays.measure(items, directory, 1, start, directory / export.name)
    table.add("overlay and batches", changes, "the full refresh", [full])
    shutil.rmtree(directory)


def _script_fits(items: int) -> bool:
    if items <= SCRIPT_ITEMS_MAX * 1.1 and psutil.virtual_memory().available > items * SCRIPT_BYTES_PER_ITEM * 1.2:
        return True
    print(f"   the script of csv.DictReader and dict needs {items * SCRIPT_BYTES_PER_ITEM >> 30} GiB; it is left out")
    return False


def measure_xml(items: int, directory: Path, rounds: int, start: Start) -> list[Row]:
    print(f"── the same as RSS, {items:,} items", flush=True)
    directory.mkdir()
    first, later, truth = data.prepare(directory, items, ".xml")
    peers = Peers(directory, truth)
    table = Table(items)
    bench = Bench(directory, start)
    values = "lxml iterparse, values"
    table.add("XML: first load", [bench.refresh(first)], values, [peers.run("lxml_values", first, checked=False)])
    encoded, _ = bench.encode(Method.REPLACE_FEED)
    bench.acknowledge(Method.REPLACE_FEED, encoded)
    turns = {"lxml_values": values, "lxml_iterparse": "lxml iterparse, events alone"}
    ours: list[Measured] = []
    theirs: dict[str, list[Measured]] = {name: [] for name in turns}
    for _ in range(rounds):
        read, written = bench.changes(later, truth)
        ours.append(read + written)
        for name in turns:
            theirs[name].append(peers.run(name, later, checked=False))
    for name, shown in turns.items():
        table.add("XML: refresh and batches", ours, shown, theirs[name])
    return table.rows


def tell_growth(rows: Sequence[Row]) -> None:
    """Print how time and memory of each step grow with the number of items."""
    for name in dict.fromkeys(row.name for row in rows):
        sizes = {row.items: row for row in rows if row.name == name}
        smallest = min(sizes)
        for items, row in sizes.items():
            if items > smallest:
                base = sizes[smallest]
                linear = row.seconds / base.seconds * smallest / items
                print(
                    f"{name:24} {smallest:,} → {items:,}: {linear:.2f} × the time per item, "
                    f"{base.peak_pss_bytes >> 20} → {row.peak_pss_bytes >> 20} MiB"
                )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m hack.bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help=f"{', '.join(f'{each:,}' for each in ITEMS_FULL)} items")
    parser.add_argument("--items", type=int, nargs="*", help="other numbers of items")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    rows: list[Row] = []
    sizes = options.items or (ITEMS_FULL if options.full else (ITEMS,))
    for items in sizes:
        with tempfile.TemporaryDirectory(dir=build, prefix="bench-") as directory:
            free = shutil.disk_usage(directory).free
            if free < items * BYTES_PER_ITEM_ON_DISK:
                needed = items * BYTES_PER_ITEM_ON_DISK >> 30
                sys.exit(f"{items:,} items need {needed} GiB of disk, {free >> 30} are free")
            with Forked(Path(directory)) as start:
                rows += measure(items, Path(directory), options.rounds, start)
                if items == min(sizes):
                    fewer = min(items, XML_ITEMS_MAX), min(options.rounds, DOCUMENT_ROUNDS)
                    rows += measure_xml(fewer[0], Path(directory, "xml"), fewer[1], start)
    tell_growth(rows)
    (build / "bench.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    print(f"── {build / 'bench.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
