"""Pieces of a stream, cut and joined to the sizes that readers want."""

from collections.abc import Iterable, Iterator


def of_size(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Gather pieces to blocks of at least `size` bytes; the last may be smaller."""
    for gathered in gather(pieces, size):
        yield b"".join(gathered)


def gather(pieces: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    """Gather pieces until they have at least `size` bytes together."""
    gathered: list[bytes] = []
    length = 0
    for piece in pieces:
        gathered.append(piece)
        length += len(piece)
        if length >= size:
            yield gathered
            gathered, length = [], 0
    if gathered:
        yield gathered
