"""One version of a source onto the disk, whatever kind of source it is: unpacked, checked, in UTF-8."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from controller.api.v1alpha1.items import Compression, FileFormat, FileType, ItemsEntry
from controller.ports.preparing import SourceCredentials, SourceRoot
from controller.ports.sources import Version
from controller.sources import checksums, handed_in, unpacking, volume
from controller.sources.direct import Direct
from controller.sources.spool import Spool

if TYPE_CHECKING:  # a file on a volume needs no HTTP
    from controller.sources.http import HTTPReader

QUERY_RESULT = FileFormat(type=FileType.CSV, delimiter=",", encoding="utf-8", compression=Compression.NONE)
"""What `sources.sql` writes, whatever `format` says."""


def format_of(entry: ItemsEntry) -> FileFormat:
    return QUERY_RESULT if entry.source.sql is not None else entry.format


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a read may use besides its source."""

    open_http: Callable[[], "HTTPReader"]
    allowed_networks: Sequence[str]
    roots: Sequence[SourceRoot]
    scratch: Path
    """Where a zip waits for its directory."""
    rows_max: int


def fetch(entry: ItemsEntry, credentials: SourceCredentials, around: Surroundings, spooled: Spool) -> Version:
    """Fill the spool and return which version was delivered."""
    version = _filled(entry, credentials, around, spooled)
    spooled.settle(format_of(entry))
    return version


@contextlib.contextmanager
def in_place(entry: ItemsEntry, roots: Sequence[SourceRoot], bytes_max: int, scratch: Path) -> Iterator[Direct | None]:
    """Open a file on a volume that can be read where it is, or yield None."""
    named = entry.source.volume
    if named is None or entry.evidence.checksum_url is not None:
        yield None
        return
    path = volume.locate(named.name, named.path, roots)
    with Direct(path, volume.version(path), scratch) as direct:
        if not direct.serves(entry.format):
            yield None
            return
        direct.take(bytes_max)
        yield direct


def _filled(entry: ItemsEntry, credentials: SourceCredentials, around: Surroundings, spooled: Spool) -> Version:
    source = entry.source
    url = entry.evidence.checksum_url
    checksum = checksums.fetch(url, source, credentials, around.open_http()) if url is not None else None

    def fill(pieces: Iterable[bytes]) -> None:
        checked = checksum.checked(pieces) if checksum is not None else pieces
        spooled.fill(unpacking.unpacked(checked, format_of(entry).compression, around.scratch))

    if source.volume is not None:
        path = volume.locate(source.volume.name, source.volume.path, around.roots)
        etag = volume.version(path)
        fill(volume.read(path))
        return Version(etag, None)
    if source.config_map is not None:
        fill([handed_in.content(credentials.content)])
        return Version(handed_in.version(credentials.content), None)
    if source.sql is not None:
        from controller.sources import sql  # a client library that no other source needs

        fill(sql.rows(credentials.dsn or "", source.sql.query, around.allowed_networks, around.rows_max))
        return Version(None, None)
    with around.open_http().open(source, credentials) as delivery:
        fill(unpacking.gunzipped(delivery.pieces) if delivery.gzip else delivery.pieces)
        return Version(delivery.etag, delivery.last_modified)
