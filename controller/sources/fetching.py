"""One version of a source onto the disk, whatever kind of source it is: unpacked, checked, in UTF-8."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from controller.api.v1alpha1.items import ItemsEntry
from controller.ports.preparing import SourceCredentials, SourceRoot
from controller.ports.sources import Version
from controller.sources import checksums, unpacking, volume
from controller.sources.direct import Direct
from controller.sources.spool import Spool

if TYPE_CHECKING:  # a file on a volume needs no HTTP
    from controller.sources.http import HTTPReader


def fetch(
    entry: ItemsEntry,
    credentials: SourceCredentials,
    reader: "HTTPReader",
    roots: Sequence[SourceRoot],
    spooled: Spool,
    scratch: Path,
) -> Version:
    """Fill the spool and return which version was delivered."""
    version = _filled(entry, credentials, reader, roots, spooled, scratch)
    spooled.settle(entry.format)
    return version


@contextlib.contextmanager
def in_place(entry: ItemsEntry, roots: Sequence[SourceRoot], bytes_max: int) -> Iterator[Direct | None]:
    """Open a file on a volume that can be read where it is, or yield None."""
    named = entry.source.volume
    if named is None or entry.evidence.checksum_url is not None:
        yield None
        return
    path = volume.locate(named.name, named.path, roots)
    with Direct(path, volume.version(path)) as direct:
        if not direct.serves(entry.format):
            yield None
            return
        direct.take(bytes_max)
        yield direct


def _filled(
    entry: ItemsEntry,
    credentials: SourceCredentials,
    reader: "HTTPReader",
    roots: Sequence[SourceRoot],
    spooled: Spool,
    scratch: Path,
) -> Version:
    source = entry.source
    url = entry.evidence.checksum_url
    checksum = checksums.fetch(url, source, credentials, reader) if url is not None else None

    def fill(pieces: Iterable[bytes]) -> None:
        checked = checksum.checked(pieces) if checksum is not None else pieces
        spooled.fill(unpacking.unpacked(checked, entry.format.compression, scratch))

    if source.volume is not None:
        path = volume.locate(source.volume.name, source.volume.path, roots)
        etag = volume.version(path)
        fill(volume.read(path))
        return Version(etag, None)
    with reader.open(source, credentials) as delivery:
        fill(unpacking.gunzipped(delivery.pieces) if delivery.gzip else delivery.pieces)
        return Version(delivery.etag, delivery.last_modified)
