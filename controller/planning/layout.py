"""How many shards, and which slots each owns.

A product always stays in the same shard, so the number is decided once; afterwards a better one is advice.
"""

from controller.api.v1alpha1.catalog_shard import SLOTS
from controller.api.v1alpha1.policies import SHARDS_MAX

ITEMS_PER_SHARD = 1_000_000
"""Meta: catalog integration guide, break up feeds of more than a million items."""


def recommended_shards(items: int) -> int:
    """One shard per million items: a small catalog has one feed."""
    return min(max(-(-items // ITEMS_PER_SHARD), 1), SHARDS_MAX)


def partitions_of(shards: int) -> tuple[tuple[int, int], ...]:
    """Slot ranges, both ends included, that divide all slots as evenly as they can be."""
    bounds = [SLOTS * number // shards for number in range(shards + 1)]
    return tuple((bounds[number], bounds[number + 1] - 1) for number in range(shards))
