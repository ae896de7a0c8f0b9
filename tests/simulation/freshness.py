"""I9: the age of the oldest volatile value that differs at Meta, sampled from outside.

A value may be older than promised only while the Catalog says `Fresh=False`, and it must say so beforehand.
"""

import asyncio
from datetime import timedelta

from controller.api.conditions import ConditionType
from hack.emulator.auditor import comparable
from tests.simulation.world import World

SAMPLE_SECONDS = 120.0
PROMISE = timedelta(minutes=15)
FIELDS = ("price", "availability", "quantity_to_sell_on_facebook")
EFFECT_SECONDS = 8.0
"""Meta: effects come up to this long after `finished`; a sample may fall into that gap, so it is taken again."""


class FreshnessWatch:
    def __init__(self, world: World) -> None:
        self._world = world
        self._since: dict[tuple[str, str, str], float] = {}
        """(item, field, value at Meta) → since when the source says something else."""
        self.violations: list[str] = []
        self.oldest_seconds = 0.0

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            await self._sample()

    async def _sample(self) -> None:
        world = self._world
        await world.emulator.advance()
        now = asyncio.get_running_loop().time()
        differing = self._differing()
        self._since = {key: self._since.get(key, now) for key in sorted(differing)}
        age = now - min(self._since.values(), default=now)
        limit = PROMISE.total_seconds() + SAMPLE_SECONDS + EFFECT_SECONDS
        if age <= limit:
            return
        self.oldest_seconds = max(self.oldest_seconds, age)
        if not (await world.catalog()).status.is_true(ConditionType.FRESH):
            return
        oldest, since = min(self._since.items(), key=lambda entry: (entry[1], entry[0]))
        await asyncio.sleep(EFFECT_SECONDS)
        await world.emulator.advance()
        if oldest in self._differing():
            item, field, _ = oldest
            self.violations.append(f"I9: {field} of item {item} differs since {since:.0f} s while Fresh is True")
            self._since.clear()

    def _differing(self) -> list[tuple[str, str, str]]:
        at_meta = self._world.items_at_meta()
        found = []
        for product in self._world.shop.products.values():
            item = at_meta.get(product.id)
            if item is None or product.broken:
                continue
            row = self._world.shop.truth(product)
            found += [
                (product.id, name, item.get(name, ""))
                for name in FIELDS
                if comparable(name, item.get(name, "")) != comparable(name, row[name])
            ]
        return found
