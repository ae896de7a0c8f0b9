"""The product's own steps as whole processes, from the request to the result."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from controller.api.v1alpha1.items import ItemsEntry, Source, VolumeSource
from controller.ports import preparing as documents
from controller.stores.local import LocalStore
from hack.bench.data import Truth
from hack.bench.measure import Measured
from hack.bench.starting import Start

NOW = datetime(2026, 1, 5, tzinfo=UTC)
GUARD = documents.GuardPolicy(
    max_delete_percent=50, always_allow=100, max_out_of_stock_percent=50, grace=timedelta(days=90)
)
CONFIGURATION = "bench"
"""Stands for a digest of the configuration."""


class Bench:
    """One store and one catalog with a single partition."""

    def __init__(self, directory: Path, start: Start) -> None:
        self.directory = directory
        self.start = start
        self.sequence = 0
        self.store = LocalStore(self.directory / "store")
        self.store.claim_identity("bench")
        self.partition = documents.Partition(index=0, slot_from=0, slot_to=4095)
        self.head: documents.RefreshHead | None = None
        self._round = 0
        self._last: documents.RefreshHead | None = None
        self._changed: documents.EncodeResult | None = None

    @contextlib.contextmanager
    def started(self, start: Start) -> Iterator[None]:
        """Start steps in another way for a while."""
        usual, self.start = self.start, start
        try:
            yield
        finally:
            self.start = usual

    def _step(self, name: str, request: documents.Request) -> tuple[documents.Result, Measured]:
        result, measured = self.start(name, request)
        if result.step == "Failed":
            raise RuntimeError(f"{name}: {result.reason}: {result.message}")
        return result, measured

    def refresh(self, export: Path) -> Measured:
        self.sequence += 1
        result, measured = self._refreshed(export)
        self.head = result.head
        return measured

    def quiet_look(self, export: Path) -> Measured:
        """Look at an export that stood still. It leaves everything as it is."""
        sequence, self.sequence = self.sequence, 1_000 + self._round
        result, measured = self._refreshed(export)
        self.sequence = sequence
        (owed,) = result.pending
        if (owed.creations, owed.volatile, owed.static) != (0, 0, 0):
            raise RuntimeError(f"nothing changed, but the refresh found {owed}")
        return measured

    def changes(self, export: Path, truth: Truth) -> tuple[Measured, Measured]:
        """Refresh and batches from the state after the last acknowledgement, checked against what was changed."""
        self._round += 1
        before = self.head
        self.sequence = self._round + 1
        result, read = self._refreshed(export)
        _must_be(truth, result)
        self.head = result.head
        self._changed, written = self.encode(documents.Method.ITEMS_BATCH, calls_max=10_000)
        if self._changed.plan.update != truth.volatile:
            raise RuntimeError(f"the batches say {self._changed.plan.update} items, the truth is {truth.volatile}")
        self._last, self.head = self.head, before
        return read, written

    def other_configuration(self, export: Path, truth: Truth) -> Measured:
        """Read and compare everything, as after a change of the configuration. It leaves everything as it is."""
        sequence, self.sequence = self.sequence, 2_000 + self._round
        result, measured = self._refreshed(export, configuration="another")
        self.sequence = sequence
        _must_be(truth, result)
        return measured

    def acknowledge_changes(self) -> Measured:
        """Acknowledge the batches of the last round."""
        assert self._changed is not None
        self.head = self._last
        return self.acknowledge(documents.Method.ITEMS_BATCH, self._changed)

    def _refreshed(self, export: Path, configuration: str = CONFIGURATION) -> tuple[documents.RefreshResult, Measured]:
        entry = ItemsEntry(name="products", source=Source(volume=VolumeSource(name="bench", path=export.name)))
        request = self._request(entry, export.parent).model_copy(update={"configuration_digest": configuration})
        result, measured = self._step(f"refresh-{self.sequence}", request)
        assert isinstance(result, documents.RefreshResult)
        if result.refused is not None:
            raise RuntimeError(f"the export was refused: {result.refused.message}")
        return result, measured

    def _request(
        self,
        entry: ItemsEntry,
        directory: Path,
        *,
        read: bool = True,
        overlays: tuple[documents.OverlayRequest, ...] = (),
    ) -> documents.RefreshRequest:
        """The next look at the sources of an entry, which lie in a directory."""
        return documents.RefreshRequest(
            store=self.store.url,
            prefix=f"bench/refresh-{self.sequence}",
            catalog_id="1",
            now=NOW + timedelta(hours=self.sequence),
            items=entry,
            configuration_digest=CONFIGURATION,
            sequence=self.sequence,
            read=read,
            interval=timedelta(minutes=5),
            layout_id=1,
            partitions=(self.partition,),
            previous=self.head,
            guard=GUARD,
            source_roots=(documents.SourceRoot(name="bench", directory=str(directory)),),
            overlays=overlays,
        )

    def encode(self, method: documents.Method, calls_max: int = 1) -> tuple[documents.EncodeResult, Measured]:
        assert self.head is not None
        request = documents.EncodeRequest(
            store=self.store.url,
            prefix=f"bench/encode-{method}-{self.sequence}",
            catalog_id="1",
            now=NOW + timedelta(hours=self.sequence),
            method=method,
            partitions=(self.partition,),
            refresh=self.head,
            guard=GUARD,
            update_only=method is documents.Method.REPLACE_FEED,
            calls_max=calls_max,
        )
        result, measured = self._step(f"encode-{method}-{self.sequence}", request)
        assert isinstance(result, documents.EncodeResult)
        return result, measured

    def acknowledge(self, method: documents.Method, encoded: documents.EncodeResult) -> Measured:
        assert self.head is not None
        request = documents.AcknowledgeRequest(
            store=self.store.url,
            prefix=f"bench/acknowledge-{method}-{self.sequence}",
            catalog_id="1",
            now=NOW + timedelta(hours=self.sequence),
            method=method,
            update_only=encoded.update_only,
            partitions=(self.partition,),
            receipts=tuple(documents.Receipt(sent=file.sent, fate=documents.Fate.APPLIED) for file in encoded.files),
            deletes=encoded.deletes,
            refresh=self.head,
            guard=GUARD,
        )
        result, measured = self._step(f"acknowledge-{method}-{self.sequence}", request)
        assert isinstance(result, documents.AcknowledgeResult)
        self.partition = result.partitions[0]
        return measured


def _must_be(truth: Truth, result: documents.RefreshResult) -> None:
    """Check what a refresh found against what was changed."""
    (owed,) = result.pending
    found = (owed.creations, result.watching, owed.volatile, owed.static)
    if found != (truth.new, truth.gone, truth.volatile, truth.text):
        raise RuntimeError(f"refresh found {found}, the truth is {truth}")
