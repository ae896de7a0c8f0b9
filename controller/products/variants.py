"""Variants, and the ids that they replace.

The guide knows three scenarios. Items without variants stay so; variants that Meta has already go on: nothing special.
But where Meta has items without variants and the source now has variants in their place, replacing one by the other
would delete the old ids, and with them what Meta learned about them, for days to weeks. Then each variant must carry
`previous_id`, the old id. So the third scenario is told from what Meta holds, and held until that is the case.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from controller.api.v1alpha1.items import VariantScenario
from controller.products.fields import ID

PREVIOUS_ID = "previous_id"
SAMPLES_MAX = 3


@dataclass(frozen=True, slots=True)
class Transition:
    """What a read means for ids at Meta."""

    scenario: VariantScenario
    orphaned: int
    """Ids at Meta that leave while variants come, and that no variant names as its previous id."""
    orphaned_ids: tuple[str, ...]
    new_variants: int
    held: bool

    @property
    def message(self) -> str:
        samples = ", ".join(self.orphaned_ids)
        return (
            f"{_counted(self.new_variants, 'new variant')} would replace "
            f"{_counted(self.orphaned, 'item')} without variants, "
            f"e.g. {samples}, and Meta would lose what it learned about those; nothing was changed. Say which item a "
            "variant replaces "
            "in variants.previousID (a column, a template, or a pattern within the id); or, where they are other "
            "products, set variants.scenario: ExistingVariants"
        )


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def previous_id(found: pl.Expr) -> pl.Expr:
    """Old id of a variant; an item never replaces itself."""
    return pl.when(found != pl.col(ID)).then(found).alias(PREVIOUS_ID)


def transition_of(
    found: VariantScenario, pieces: Iterable[tuple[pl.DataFrame, pl.DataFrame]], stays: pl.Series, named: pl.Series
) -> Transition:
    """Decide on a known scenario, from ids at Meta and those of the source, the latter with `_group_hash`.

    They come in pieces of which each has all rows of its ids. `stays` are ids that are not in the source and yet don't
    leave, `named` all values of previous_id.
    """
    new = gone = 0
    samples: list[str] = []
    for held, wanted in pieces:
        coming = wanted.join(held.select(ID), on=ID, how="anti").filter(pl.col("_group_hash").is_not_null())
        leaving = held.join(wanted.select(ID), on=ID, how="anti").filter(
            ~pl.col(ID).is_in(stays.implode()) & ~pl.col(ID).is_in(named.implode())
        )
        new, gone = new + coming.height, gone + leaving.height
        first = leaving.bottom_k(SAMPLES_MAX, by=ID).get_column(ID).to_list()
        samples = sorted([*samples, *first])[:SAMPLES_MAX]
    orphaned = gone if found is VariantScenario.NEW_VARIANTS and new else 0
    return Transition(found, orphaned, tuple(samples) if orphaned else (), new, held=orphaned > 0)


def scenario(declared: VariantScenario, held: pl.Series, wanted: pl.Series) -> VariantScenario:
    """Tell which of the guide's scenarios this is, from the groups of the items at Meta and of those of the source."""
    if declared is not VariantScenario.AUTO:
        return declared
    if not _has_variants(wanted):
        return VariantScenario.NO_VARIANTS
    if held.is_empty() or _has_variants(held):
        return VariantScenario.EXISTING_VARIANTS
    return VariantScenario.NEW_VARIANTS


def _has_variants(groups: pl.Series) -> bool:
    """A group of one is how some exports write an item without variants."""
    present = np.sort(groups.drop_nulls().to_numpy())  # takes less memory than a set of millions
    return bool((present[1:] == present[:-1]).any())
