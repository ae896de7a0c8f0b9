"""Pieces of a stream, cut and joined to the sizes that readers want."""

from collections.abc import Iterable, Iterator


def of_size(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Gather pieces to blocks of at least `size` bytes; the last may be smaller."""
    gathered: list[bytes] = []
    length = 0
    for piece in pieces:
        gathered.append(piece)
        length += len(piece)
        if length >= size:
            yield b"".join(gathered)
            gathered, length = [], 0
    if gathered:
        yield b"".join(gathered)
