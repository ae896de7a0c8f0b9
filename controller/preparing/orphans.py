"""Refuses a read whose variants would take the place of items that Meta has without variants, and orphan those.

What is held is the read as a whole: the last good state stays in force until a person has said which item a variant
replaces. So nothing is created under new ids before the old ones are named.
"""

import polars as pl

from controller.api.v1alpha1.items import Variants
from controller.faults import Disposition, Fault
from controller.products.fields import ID
from controller.products.tables import Stage
from controller.products.variants import PREVIOUS_ID, transition

HELD = "VariantsHeld"


def must_not_orphan(
    declared: Variants,
    snapshot: pl.DataFrame,
    departures: pl.DataFrame,
    accepted: pl.DataFrame,
    stays: pl.DataFrame,
    texts: pl.LazyFrame,
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
    if found.held and PREVIOUS_ID in texts.collect_schema():
        named = texts.select(pl.col(PREVIOUS_ID).drop_nulls().unique()).collect().to_series()
        found = transition(declared.scenario, held, wanted, staying, named)
    if found.held:
        raise Fault(HELD, Disposition.RETRY, found.message)
