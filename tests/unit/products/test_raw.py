"""Hashes are found at the same places however they are looked for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from controller.products.raw import ANCHOR_EVERY, NOT_FOUND, Index, InOrder

HASH = st.integers(1, 40).map(lambda number: number * (2**64 // 41))
STORED = st.lists(HASH, max_size=60)
"""Some come more than once: these have no place."""


@given(STORED, STORED, st.integers(0, 60), st.integers(0, 60))
def test_neighbours_find_what_a_look_up_finds(stored: list[int], new: list[int], first: int, after: int) -> None:
    index = Index.of(np.array(stored, np.uint64), np.arange(len(stored), dtype=np.int32))
    asked = np.array([*new[:first], *stored[first:after], *new[first:], *stored], np.uint64)
    assert InOrder.of(index, len(stored)).find(asked).tolist() == index.find(asked).tolist()


def test_a_place_without_a_hash_is_not_found() -> None:
    index = Index.of(np.array([5, 7], np.uint64), np.array([0, 2], np.int32))
    assert InOrder.of(index, 4).find(np.array([5, 0, 7, 0], np.uint64)).tolist() == [0, NOT_FOUND, 2, NOT_FOUND]


def test_long_runs_with_gaps_are_found() -> None:
    draw = np.random.default_rng(1)
    stored = draw.integers(1, 1 << 63, 5_000).astype(np.uint64)
    places = draw.permutation(5_000).astype(np.int32)
    index = Index.of(stored, places)
    by_place = np.zeros(5_000, np.uint64)
    by_place[places] = stored
    others = draw.integers(1, 1 << 63, ANCHOR_EVERY).astype(np.uint64)
    asked = np.concatenate((by_place[10:2_000], by_place[2_003:3_000], stored[:100], by_place[3_000:], others))
    found = InOrder.of(index, 5_000).find(asked)
    assert found.tolist() == index.find(asked).tolist()
    assert (found == NOT_FOUND).sum() == ANCHOR_EVERY
