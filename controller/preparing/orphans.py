"""Refuses a read whose variants would take the place of items that Meta has without variants, and orphan those.

What is held is the read as a whole: the last good state stays in force until a person has said which item a variant
replaces. So nothing is created under new ids before the old ones are named.
"""

from collections.abc import Callable

import numpy as np
import polars as pl

from controller.api.v1alpha1.items import Variants, VariantScenario
from controller.faults import Disposition, Fault
from controller.preparing.incremental import Increment
from controller.products.fields import ID
from controller.products.open_rows import Sides
from controller.products.prints import NO_GROUP, Rows
from controller.products.tables import Stage
from controller.products.variants import PREVIOUS_ID, transition

HELD = "VariantsHeld"
_LOOKED_AT = (4_096, 65_536, None)
"""Rows that are looked at, in turn, for items that are variants already."""


def may_orphan(declared: Variants, rows: Rows, sides: Sides, found: Increment) -> bool:
    """Tell, from the changes alone, whether `must_not_orphan` could hold the read; if so, everything is read.

    Wherever Meta has variants already there is nothing to hold. Those that are not at rest may not be there.
    """
    if declared.scenario in (VariantScenario.NO_VARIANTS, VariantScenario.EXISTING_VARIANTS):
        return False
    if declared.scenario is VariantScenario.AUTO:
        unsure = sides.desired.height + found.dead.size + rows.dead.size
        for size in _LOOKED_AT:
            groups = rows.base.groups[:size]
            groups = groups[groups != NO_GROUP]
            if groups.size - np.unique(groups).size > unsure:
                return False
    held = sides.snapshot.filter("at_meta").select(ID)
    there = pl.concat([found.replaced.select(ID), held])
    new = found.accepted.filter(pl.col("_group_hash").is_not_null()).join(there, on=ID, how="anti")
    leaving = held.join(sides.desired.select(ID), on=ID, how="anti")
    return bool(new.height and (found.gone.height or leaving.height))


def must_not_orphan(
    declared: Variants,
    snapshot: pl.DataFrame,
    departures: pl.DataFrame,
    accepted: pl.DataFrame,
    stays: pl.DataFrame,
    texts: Callable[[], pl.LazyFrame],
) -> None:
    """Judge accepted rows (`id`, `_group_hash`; all their fields in `texts`) against what Meta has.

    Items whose departure was cleared before do not count: they left for another reason.
    """
    held = snapshot.lazy().filter("at_meta").select(ID, "group_hash").collect()
    left = departures.filter(pl.col("stage") == Stage.CLEARED).get_column(ID)
    staying = pl.concat([stays.get_column(ID), left])
    wanted = accepted.select(ID, "_group_hash")
    nothing_named = pl.Series(dtype=pl.String)
    found = transition(declared.scenario, held, wanted, staying, nothing_named)
    rows = texts() if found.held else pl.LazyFrame()
    if found.held and PREVIOUS_ID in rows.collect_schema():
        named = rows.select(pl.col(PREVIOUS_ID).drop_nulls().unique()).collect().to_series()
        found = transition(declared.scenario, held, wanted, staying, named)
    if found.held:
        raise Fault(HELD, Disposition.RETRY, found.message)
