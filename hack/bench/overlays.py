"""An inventory overlay beside a full export: what a change of stock costs, against reading everything.

The overlay has a row per item with availability and quantity; later 2 % of them say something else. Ours reads it, lays
the changes over the kept rows and writes the batches; the anchor is the first load of the same export, all its columns.
What is counted is processor time of the whole process tree, because that is what two sources compete for.
"""

import argparse
import csv
import io
import sys
import tempfile
from pathlib import Path

from controller.api.v1alpha1.items import ColumnMapping, ItemsEntry, Overlay, Source, VolumeSource
from controller.ports import preparing as documents
from hack.bench import data
from hack.bench.measure import Measured
from hack.bench.starting import Forked, Start
from hack.bench.steps import Bench

CHANGED = 0.02
ROUNDS = 2
FIRST_CHANGED = 2
"""Version of the overlay that follows the first."""
NAME = "stock"
_SPAN = float(1 << 64)
FIELDS = {"availability": "state", "quantity_to_sell_on_facebook": "units"}


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

    def load(self, export: Path, overlay: Path) -> Measured:
        """Read everything."""
        return self._with_overlay(export, overlay, read=True)

    def change(self, export: Path, overlay: Path) -> tuple[int, Measured]:
        """Read the overlay alone and write the batches; return how many items are in them."""
        read = self._with_overlay(export, overlay, read=False)
        encoded, written = self.encode(documents.Method.ITEMS_BATCH, calls_max=10_000)
        return encoded.plan.update, read + written

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
        asked = (documents.OverlayRequest(name=NAME, configuration_digest="bench"),)
        request = self._request(entry, export.parent, read=read, overlays=asked)
        result, measured = self._step(f"refresh-{self.sequence}", request)
        assert isinstance(result, documents.RefreshResult)
        if result.head is None:
            raise RuntimeError(f"the overlay could not be applied: {result}")
        self.head = result.head
        return measured


def measure(
    items: int, directory: Path, rounds: int, start: Start, export: Path | None = None
) -> tuple[Measured, list[Measured]]:
    """Return what a full refresh costs, and what each change of the overlay. `export`, if there is one, lies here."""
    if export is None:
        export = directory / f"{items}-export.csv"
        data.write(export, items)
    overlay = directory / "stock.csv"
    write(overlay, items)
    bench = OverlayBench(directory, start)
    full = bench.load(export, overlay)
    encoded, _ = bench.encode(documents.Method.REPLACE_FEED)
    bench.acknowledge(documents.Method.REPLACE_FEED, encoded)
    found = []
    for version in range(FIRST_CHANGED, FIRST_CHANGED + rounds):
        overlay.unlink()
        changed = write(overlay, items, version)
        said, measured = bench.change(export, overlay)
        if version == FIRST_CHANGED and said != changed:
            raise RuntimeError(f"the batches say {said} items, the overlay changed {changed}")
        found.append(measured)
    return full, found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m hack.bench.overlays", description="Measure overlays.")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path, help="where the files go; they are removed")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=options.directory, prefix="bench-") as directory,
        Forked(Path(directory)) as start,
    ):
        full, changes = measure(options.items, Path(directory), ROUNDS, start)
    for name, each in (("full refresh", full), *(("overlay changed", change) for change in changes)):
        ratio, megabytes = each.cpu_seconds / full.cpu_seconds, each.peak_pss_bytes >> 20
        print(f"{name:16} {each.cpu_seconds:>7.2f} cpu ({ratio:.2f} ×) {each.seconds:>7.2f} s {megabytes:>6} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
