"""Checksums beside a file: `evidence.checksumURL`, fetched under the same address rules as the source itself.

Read are a bare digest, and lines as `sha256sum` and `md5sum` write them. Credentials of the source go along only to
the source's own origin.
"""

import hashlib
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from controller.api.v1alpha1.items import HTTPSource, Source
from controller.faults import Disposition, Fault
from controller.ports.preparing import SourceCredentials
from controller.sources.addresses import target

if TYPE_CHECKING:  # a file on a volume needs no HTTP
    from controller.sources.http import HTTPReader

FILE_BYTES_MAX = 1 << 20
ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
"""By the length of the hexadecimal digest."""
_LINE = re.compile(r"^\s*([0-9A-Fa-f]{32,128})(?:\s+[ *]?(.+?))?\s*$")


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the file must have."""

    algorithm: str
    digest: str

    def checked(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Pass the pieces on; refuse at their end what is something else."""
        counted = hashlib.new(self.algorithm, usedforsecurity=False)
        for piece in pieces:
            counted.update(piece)
            yield piece
        if counted.hexdigest() != self.digest:
            raise _malformed(
                f"the file's {self.algorithm} is {counted.hexdigest()[:16]}…, its checksum file says "
                f"{self.digest[:16]}…: it was cut, changed, or one of the two is older"
            )


def fetch(url: str, source: Source, credentials: SourceCredentials, reader: "HTTPReader") -> Checksum:
    """Read the checksum file and find the line that is about the source's file."""
    own = source.http is not None and _same_origin(url, credentials.url or source.http.url)
    asked = Source(http=HTTPSource(url=url, headers=source.http.headers if own and source.http else ()))
    given = credentials.model_copy(update={"url": None}) if own else SourceCredentials()
    content = b""
    with reader.open(asked, given) as delivery:
        for piece in delivery.pieces:
            content += piece
            if len(content) > FILE_BYTES_MAX:
                raise _malformed("evidence.checksumURL names a file that is too large for a checksum")
    return parse(content, file_name(source, credentials))


def parse(content: bytes, name: str) -> Checksum:
    """Take the only digest, or the one in the line of this name."""
    found = [match for line in content.decode("utf-8", "replace").splitlines() if (match := _LINE.match(line))]
    named = [match for match in found if match[2] and posixpath.basename(match[2]) == name]
    chosen = named or (found if len(found) == 1 else [])
    if not chosen or len(chosen[0][1]) not in ALGORITHMS:
        raise _malformed(f"the file of evidence.checksumURL has no single digest, and none for {name!r}")
    digest = chosen[0][1].lower()
    return Checksum(ALGORITHMS[len(digest)], digest)


def file_name(source: Source, credentials: SourceCredentials) -> str:
    """Name of the source's file, as a checksum file would say it."""
    if source.volume is not None:
        return posixpath.basename(source.volume.path)
    url = credentials.url or (source.http.url if source.http else None) or ""
    return posixpath.basename(unquote(urlsplit(url).path))


def _same_origin(url: str, other: str | None) -> bool:
    return other is not None and target(url).origin == target(other).origin


def _malformed(why: str) -> Fault:
    return Fault("SourceMalformed", Disposition.RETRY, why)
