"""An inventory overlay beside a full export: what a change of stock costs, against reading everything.

The overlay has a row per item with availability and quantity; later 2 % of them say something else. Ours reads it, lays
the changes over the kept rows and writes the batches; the anchor is the first load of the same export, all its columns.
What is counted is processor time of the whole process tree, because that is what two sources compete for.
"""

import argparse
import csv
import io
import resource
import sys
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from controller.api.v1alpha1.items import ColumnMapping, ItemsEntry, Overlay, Source, VolumeSource
from controller.ports import preparing as documents
from hack.bench import data
from hack.bench.measure import Measured
from hack.bench.steps import GUARD, NOW, Bench

CHANGED = 0.02
FIRST_CHANGED = 2
"""Version of the overlay that follows the first."""
NAME = "stock"
_SPAN = float(1 << 64)
FIELDS = {"availability": "state", "quantity_to_sell_on_facebook": "units"}


def _processor_seconds() -> float:
    """User and system time of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True, slots=True)
class Cost:
    """What one refresh and its batches took."""

    processor_seconds: float
    seconds: float
    peak_pss_bytes: int
    items: int = 0
    """In the batches."""


def write(path: Path, count: int, version: int = 1) -> int:
    """Write the overlay of an export of so many items; return how many rows differ from version 1."""
    changed = 0
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["sku", *FIELDS.values()])
    with path.open("w", newline="", encoding="utf-8") as file:
        for number in range(1, count + 1):
            units = data.mixed(number) // 99_900 % 51
            if version > 1 and data.mixed(number * version ^ 0x5EED) / _SPAN < CHANGED:
                units += version
                changed += 1
            writer.writerow([data.item_id(number), "in stock" if units else "out of stock", units])
            if number % data.ROWS_PER_WRITE == 0:
                file.write(text.getvalue())
                text.seek(0)
                text.truncate()
        file.write(text.getvalue())
    return changed


class OverlayBench(Bench):
    """A catalog whose entry has one overlay."""

    def load(self, export: Path, overlay: Path) -> Cost:
        """Read everything."""
        before = _processor_seconds()
        measured = self._with_overlay(export, overlay, read=True)
        return Cost(_processor_seconds() - before, measured.seconds, measured.peak_pss_bytes)

    def change(self, export: Path, overlay: Path) -> Cost:
        """Read the overlay alone and write the batches."""
        before = _processor_seconds()
        read = self._with_overlay(export, overlay, read=False)
        encoded, written = self.encode(documents.Method.ITEMS_BATCH, calls_max=10_000)
        return Cost(
            _processor_seconds() - before,
            read.seconds + written.seconds,
            max(read.peak_pss_bytes, written.peak_pss_bytes),
            encoded.plan.update,
        )

    def _with_overlay(self, export: Path, overlay: Path, *, read: bool) -> Measured:
        self.sequence += 1
        columns = tuple(ColumnMapping(field=field, column=column) for field, column in FIELDS.items())
        entry = ItemsEntry(
            name="products",
            source=Source(volume=VolumeSource(name="bench", path=export.name)),
            overlays=(
                Overlay(
                    name=NAME,
                    source=Source(volume=VolumeSource(name="bench", path=overlay.name)),
                    id_column="sku",
                    columns=columns,
                ),
            ),
        )
        request = documents.RefreshRequest(
            store=self.store.url,
            prefix=f"bench/refresh-{self.sequence}",
            catalog_id="1",
            now=NOW + timedelta(hours=self.sequence),
            items=entry,
            configuration_digest="bench",
            sequence=self.sequence,
            read=read,
            interval=timedelta(minutes=5),
            layout_id=1,
            partitions=(self.partition,),
            previous=self.head,
            guard=GUARD,
            source_roots=(documents.SourceRoot(name="bench", directory=str(export.parent)),),
            overlays=(documents.OverlayRequest(name=NAME, configuration_digest="bench"),),
        )
        result, measured = self._step(f"refresh-{self.sequence}", request)
        assert isinstance(result, documents.RefreshResult)
        if result.head is None:
            raise RuntimeError(f"the overlay could not be applied: {result}")
        self.head = result.head
        return measured


def measure(items: int, directory: Path) -> float:
    """Return the share of a full refresh that a changed overlay costs."""
    export = directory / f"{items}-export.csv"
    data.write(export, items)
    overlay = directory / "stock.csv"
    write(overlay, items)
    bench = OverlayBench(directory)
    full = bench.load(export, overlay)
    _say("full refresh, with the overlay", items, full)
    encoded, _ = bench.encode(documents.Method.REPLACE_FEED)
    bench.acknowledge(documents.Method.REPLACE_FEED, encoded)
    ratio = 0.0
    for version in (2, 3):
        overlay.unlink()
        changed = write(overlay, items, version)
        cost = bench.change(export, overlay)
        if version == FIRST_CHANGED and cost.items != changed:
            raise RuntimeError(f"the batches say {cost.items} items, the overlay changed {changed}")
        ratio = cost.processor_seconds / full.processor_seconds
        _say(f"overlay changed, {cost.items:,} items in batches", items, cost)
        print(f"   ratio of processor time: {ratio:.2f} (target: one third)", flush=True)
    return ratio


def _say(what: str, items: int, cost: Cost) -> None:
    print(
        f"{what:44} {items:>10,} {cost.processor_seconds:>8.2f} s of processors {cost.seconds:>8.2f} s "
        f"{cost.peak_pss_bytes >> 20:>6} MiB",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m hack.bench.overlays", description="Measure overlays.")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path, help="where the files go; they are removed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="bench-") as directory:
        measure(options.items, Path(directory))
    return 0


if __name__ == "__main__":
    sys.exit(main())
