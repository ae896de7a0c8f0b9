"""Objects that are made of several: a document in JSON names the parts, their sizes and their digests.

    rows      the accepted rows of a read: tables of a base, later tables, fingerprints
    snapshot  what Meta acknowledged of one partition: a base and what changed since
    open      the rows that were not at rest when they were compared last
    sent      complete rows of a file, or kept ones: which rows, and the tables that hold their texts

A part is checked when it is read for the first time in a process: one that is missing, or is not what was written, is
a lost snapshot. Small states have no manifest; their keys name the table itself.

The operator's garbage collection reads `parts` of these documents without knowing more of them.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import xxhash

from controller.faults import Disposition, Fault
from controller.ports.preparing import RefreshHead
from controller.stores.local import LocalStore, lost, storage_fault

FORMAT = 2
SUFFIX = ".json"
PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """One object of several."""

    key: str
    bytes: int
    xxh3: str
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Settled:
    """How many rows of one partition are at rest, seen from one pair of rows and snapshot."""

    index: int
    snapshot: str | None
    payload: str | None
    rows: int
    kept: bool | None
    """Whether a complete row is kept of every one of them, of none, or (null) of some."""


@dataclass(frozen=True, slots=True)
class Open:
    """The rows of some partitions that are not at rest."""

    rows: str
    """Identity of the rows that they were compared with."""
    table: Part
    settled: tuple[Settled, ...]

    def of(self, index: int, rows: str, snapshot: str | None, payload: str | None) -> Settled | None:
        """Return what is at rest in a partition, if these are the states that were compared."""
        if rows != self.rows:
            return None
        found = next((each for each in self.settled if each.index == index), None)
        return found if found is not None and (found.snapshot, found.payload) == (snapshot, payload) else None


@dataclass(frozen=True, slots=True)
class BaseTable:
    index: int
    part: Part


@dataclass(frozen=True, slots=True)
class RowsManifest:
    """Accepted rows of a read."""

    identity: str
    """Of the rows: stays when only `open` is written anew."""
    guard: str
    """Digest of everything that must be the same for raw records to mean the same."""
    columns: tuple[str, ...]
    tables: tuple[BaseTable, ...]
    prints: Part
    later: tuple[Part, ...] = ()
    """Tables of rows that came later, in order; `_part` in the fingerprints counts from 1."""
    later_prints: Part | None = None
    masks: tuple[tuple[str, ...], ...] = ()
    """Sets of rules that rows broke, by number."""
    open: Open | None = None

    @property
    def parts(self) -> list[Part]:
        found = [each.part for each in self.tables] + [self.prints, *self.later]
        found += [self.later_prints] if self.later_prints else []
        return found + ([self.open.table] if self.open else [])


@dataclass(frozen=True, slots=True)
class SnapshotManifest:
    """What Meta acknowledged of one partition."""

    base: Part
    later: Part | None = None
    open: Open | None = None

    @property
    def parts(self) -> list[Part]:
        found = [self.base] + ([self.later] if self.later else [])
        return found + ([self.open.table] if self.open else [])


@dataclass(frozen=True, slots=True)
class SentManifest:
    """Complete rows that were sent or are kept, without a copy of their texts."""

    index: Part
    """One row per id; `_table` is the number of the table that holds its texts."""
    tables: tuple[Part, ...] = ()
    columns: tuple[str, ...] = ()
    """Of the file that said these rows."""

    @property
    def parts(self) -> list[Part]:
        return [self.index, *self.tables]


def part_of(store: LocalStore, key: str, rows: int = 0) -> Part:
    """Describe an object that was just written."""
    path = store.path(key)
    return Part(key, path.stat().st_size, digest_of(path), rows)


def digest_of(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def verified(store: LocalStore, part: Part) -> Part:
    """Return the part if the object is what was written."""
    path = store.path(part.key)
    try:
        if path.stat().st_size != part.bytes or digest_of(path) != part.xxh3:
            raise lost(f"{part.key} in the store is not what was written")
    except FileNotFoundError:
        raise lost(f"{part.key} is missing in the store") from None
    except OSError as error:
        raise storage_fault(error, "reading an object") from error
    return part


def is_manifest(key: str | None) -> bool:
    return key is not None and key.endswith(SUFFIX)


def manifest_key(prefix: str, kind: str, part: str) -> str:
    return f"{prefix}/{kind}-v{FORMAT}-{part}{SUFFIX}"


def write_manifest(store: LocalStore, key: str, manifest: RowsManifest | SnapshotManifest | SentManifest) -> str:
    document = asdict(manifest) | {"format": FORMAT, "parts": [each.key for each in manifest.parts]}
    store.write(key, json.dumps(document, separators=(",", ":"), sort_keys=True).encode())
    return key


def manifest_of(store: LocalStore, head: RefreshHead | None) -> RowsManifest | None:
    """Return the manifest behind the rows of a refresh, or None where they are kept as plain tables."""
    keys = {each.desired for each in head.partitions} if head is not None else set()
    if len(keys) != 1:
        return None
    (key,) = keys
    return read_rows_manifest(store, key) if is_manifest(key) else None


def read_rows_manifest(store: LocalStore, key: str) -> RowsManifest:
    document = _document(store, key)
    try:
        return RowsManifest(
            identity=document["identity"],
            guard=document["guard"],
            columns=tuple(document["columns"]),
            tables=tuple(BaseTable(each["index"], Part(**each["part"])) for each in document["tables"]),
            prints=Part(**document["prints"]),
            later=_parts(document["later"]),
            later_prints=_part(document["later_prints"]),
            masks=tuple(tuple(each) for each in document["masks"]),
            open=_open(document["open"]),
        )
    except (KeyError, TypeError) as error:
        raise lost(f"{key} in the store cannot be read") from error


def read_snapshot_manifest(store: LocalStore, key: str) -> SnapshotManifest:
    document = _document(store, key)
    try:
        return SnapshotManifest(Part(**document["base"]), _part(document["later"]), _open(document["open"]))
    except (KeyError, TypeError) as error:
        raise lost(f"{key} in the store cannot be read") from error


def read_sent_manifest(store: LocalStore, key: str) -> SentManifest:
    document = _document(store, key)
    try:
        return SentManifest(Part(**document["index"]), _parts(document["tables"]), tuple(document["columns"]))
    except (KeyError, TypeError) as error:
        raise lost(f"{key} in the store cannot be read") from error


def _document(store: LocalStore, key: str) -> dict[str, Any]:
    content = store.read(key)
    if content is None:
        raise lost(f"{key} is missing in the store")
    try:
        document = json.loads(content)
        version = int(document["format"])
    except (ValueError, KeyError, TypeError):
        raise lost(f"{key} in the store cannot be read") from None
    if version > FORMAT:
        message = f"{key} was written in format {version}, this release reads up to {FORMAT}: upgrade"
        raise Fault("SnapshotTooNew", Disposition.STALLED, message)
    return dict(document)


def _part(document: dict[str, Any] | None) -> Part | None:
    return Part(**document) if document is not None else None


def _parts(documents: Iterable[dict[str, Any]]) -> tuple[Part, ...]:
    return tuple(Part(**each) for each in documents)


def _open(document: dict[str, Any] | None) -> Open | None:
    if document is None:
        return None
    settled = tuple(Settled(**each) for each in document["settled"])
    return Open(document["rows"], Part(**document["table"]), settled)
