"""What Meta holds after the operator's replace files and batches is what the source said, field by field."""

from datetime import timedelta
from random import Random

import pytest

from tests.random_catalogs import catalog, change, differences, export
from tests.simulation.behaviours.stage import Stage

ROWS = 24
ROUNDS = 3
REST = timedelta(hours=3)


@pytest.mark.parametrize("seed", range(2))
async def test_meta_holds_what_the_source_said(stage: Stage, seed: int) -> None:
    rng = Random(seed)
    rows = catalog(rng, ROWS)
    stage.shop.said = export(rows)
    await stage.populate(guards={"gracePeriod": "0s", "maxOutOfStockPercent": 100})
    stage.launch()
    for _ in range(ROUNDS):
        await equal(stage, rows)
        change(rng, rows)
        stage.shop.said = export(rows)
    await equal(stage, rows)


async def equal(stage: Stage, rows: dict[str, dict[str, str]]) -> None:
    try:
        await stage.until(lambda: stage.quiet() and not differences(stage.items_at_meta(), rows), REST)
    except AssertionError as late:
        raise AssertionError("\n".join(differences(stage.items_at_meta(), rows)[:12])) from late
