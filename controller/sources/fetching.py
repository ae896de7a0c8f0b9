"""One version of a source onto the disk, whatever kind of source it is: unpacked, checked, in UTF-8."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from controller.api.v1alpha1.items import ItemsEntry
from controller.ports.preparing import SourceCredentials, SourceRoot
from controller.ports.sources import Version
from controller.sources import checksums, unpacking, volume
from controller.sources.http import HTTPReader
from controller.sources.spool import Spool


def fetch(
    entry: ItemsEntry,
    credentials: SourceCredentials,
    reader: HTTPReader,
    roots: Sequence[SourceRoot],
    spooled: Spool,
    scratch: Path,
) -> Version:
    """Fill the spool and return which version was delivered."""
    version = _filled(entry, credentials, reader, roots, spooled, scratch)
    spooled.settle(entry.format)
    return version


def _filled(
    entry: ItemsEntry,
    credentials: SourceCredentials,
    reader: HTTPReader,
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
