"""A world whose entry has overlays on the same volume."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from controller.api.v1alpha1.items import Overlay
from controller.ports.preparing import Limits, OverlayRequest, RefreshResult
from tests.unit.preparing.world import World

STOCK = {"name": "stock", "source": {"volume": {"name": "exports", "path": "stock.csv"}}}


def overlay(name: str, **changes: object) -> dict[str, object]:
    return {"name": name, "source": {"volume": {"name": "exports", "path": f"{name}.csv"}}, **changes}


def table(rows: Sequence[Mapping[str, str]]) -> bytes:
    names = list(dict.fromkeys(["id", *(name for row in rows for name in row)]))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


class OverlayWorld(World):
    """Overlays are read when a test says so."""

    def __init__(
        self, directory: Path, *overlays: Mapping[str, object], partitions: int = 1, rows_min: int = 1
    ) -> None:
        super().__init__(directory, partitions, overlays=list(overlays))
        self.limits = Limits(incremental_rows_min=rows_min)
        self.configurations = {each.name: "1" for each in self.entry.overlays}

    def say(self, name: str, rows: Sequence[Mapping[str, str]] | bytes) -> None:
        """Offer another version of an overlay."""
        path = self.directory / "exports" / f"{name}.csv"
        path.unlink(missing_ok=True)
        path.write_bytes(rows if isinstance(rows, bytes) else table(rows))

    def declare(self, *overlays: Mapping[str, object]) -> None:
        """Change the spec."""
        wanted = tuple(Overlay.model_validate(each) for each in overlays)
        self.entry = self.entry.model_copy(update={"overlays": wanted})
        self.configurations |= {each.name: self.configurations.get(each.name, "1") for each in wanted}

    def wanted(self, *names: str, accept: bool = False) -> tuple[OverlayRequest, ...]:
        return tuple(
            OverlayRequest(name=each, configuration_digest=self.configurations[each], accept_went_back=accept)
            for each in names or tuple(each.name for each in self.entry.overlays)
        )

    def look_at_all(self, **changes: object) -> RefreshResult:
        """Read the full source and every overlay."""
        self.now += timedelta(minutes=5)
        return self.refresh(overlays=self.wanted(), **changes)

    def look_at(self, *names: str, accept: bool = False) -> RefreshResult:
        """Read overlays alone."""
        self.now += timedelta(minutes=1)
        return self.refresh(read=False, overlays=self.wanted(*names, accept=accept))
