"""What is made ahead is the same, in order, and ends with whoever uses it."""

import threading
from collections.abc import Iterator

import pytest

from controller.preparing.ahead import ahead


@pytest.mark.parametrize("count", [0, 1, 2, 3, 20])
def test_the_same_items(count: int) -> None:
    assert list(ahead(range(count))) == list(range(count))


@pytest.mark.parametrize("good", [0, 1, 2, 7])
def test_an_error_comes_behind_the_items_before_it(good: int) -> None:
    def items() -> Iterator[int]:
        yield from range(good)
        raise ValueError("broken")

    found: list[int] = []
    with pytest.raises(ValueError, match="broken"):
        found.extend(ahead(items()))
    assert good < 2 or found == list(range(good))


def test_nobody_works_on_when_nobody_asks() -> None:
    before = threading.active_count()
    items = ahead(iter(range(1_000_000)))
    assert [next(items) for _ in range(10)] == list(range(10))
    items.close()
    assert threading.active_count() == before
