"""Refuses a read whose variants would take the place of items that Meta has without variants, and orphan those.

What is held is the read as a whole: the last good state stays in force until a person has said which item a variant
replaces. So nothing is created under new ids before the old ones are named.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from controller.api.v1alpha1.items import Variants, VariantScenario
from controller.faults import Disposition, Fault
from controller.preparing.incremental import Increment
from controller.preparing.objects import reading
from controller.preparing.slicing import Sliced
from controller.products.fields import ID
from controller.products.open_rows import Sides
from controller.products.partition import NO_GROUP
from controller.products.prints import Rows
from controller.products.tables import Stage
from controller.products.variants import PREVIOUS_ID, Transition, scenario, transition_of

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
    heads: pl.LazyFrame,
    departures: pl.DataFrame,
    groups: pl.Series,
    accepted: Callable[[], pl.LazyFrame],
    stays: pl.DataFrame,
    texts: Callable[[], pl.LazyFrame],
    scratch: Path,
    slice_rows: int,
) -> None:
    """Judge accepted rows (`id`, `_group_hash`; all their fields in `texts`) against what Meta has.

    `groups`: of the accepted rows. Items whose departure was cleared before do not count: they left for another reason.
    """
    held = heads.filter("at_meta").select(ID, "group_hash")
    with reading():
        found = scenario(declared.scenario, held.select("group_hash").collect().to_series(), groups)
    if found is not VariantScenario.NEW_VARIANTS:
        return
    left = departures.filter(pl.col("stage") == Stage.CLEARED).get_column(ID)
    staying = pl.concat([stays.get_column(ID), left])
    with tempfile.TemporaryDirectory(prefix="variants-", dir=scratch) as name:
        tables = {"held": held, "wanted": accepted().select(ID, "_group_hash")}
        sliced = Sliced(tables, Path(name) / "dealt", slice_rows, stays=True)
        pieces = [(each["held"], each["wanted"]) for each in sliced] if sliced.count == 1 else None

        def judged(named: pl.Series) -> Transition:
            rows = pieces or ((each["held"], each["wanted"]) for each in sliced)
            return transition_of(found, rows, staying, named)

        judgement = judged(pl.Series(dtype=pl.String))
        rows = texts() if judgement.held else pl.LazyFrame()
        if judgement.held and PREVIOUS_ID in rows.collect_schema():
            judgement = judged(rows.select(pl.col(PREVIOUS_ID).drop_nulls().unique()).collect().to_series())
    if judgement.held:
        raise Fault(HELD, Disposition.RETRY, judgement.message)
