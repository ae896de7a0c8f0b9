"""The next block is read while the one before is worked on."""

import itertools
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
ALONE = 2
"""So many items are made where they are used: a thread would not pay."""


def ahead(items: Iterable[T]) -> Generator[T, None, None]:
    """Yield the same items; behind the first few, each is made in a thread while the one before is used."""
    source = iter(items)
    started = list(itertools.islice(source, ALONE))
    few = len(started) < ALONE
    while started:
        yield started.pop(0)
    if few:
        return
    with ThreadPoolExecutor(1, "ahead") as pool:
        coming = pool.submit(list, itertools.islice(source, 1))
        while made := coming.result():
            coming = pool.submit(list, itertools.islice(source, 1))
            yield made.pop()
