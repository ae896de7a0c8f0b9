"""Values for one language or country: what overlays want of each partition, and what Meta has acknowledged of it.

Nothing here is laid over rows. Per localization there is a snapshot of each partition, compared with the ids that the
overlay has values for, as far as Meta holds these items.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from controller.api.v1alpha1.items import ItemsEntry
from controller.ports.locales import Locale, LocaleDeclared, LocalePending
from controller.ports.preparing import OverlayHead, Partition, Pending, RefreshHead
from controller.preparing.heads import departures_of, scan_snapshot
from controller.preparing.objects import reading, scan_or_empty
from controller.products import localized
from controller.products.fields import ID
from controller.products.tables import LOCALE, LOCALIZED, Leaving, Stage
from controller.stores.local import LocalStore


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of one localization."""

    name: str
    """Of the overlay that names it, or named it last."""
    locale: Locale
    head: OverlayHead | None
    """None: nothing of it is wanted, or it was never read."""
    waits: bool = False
    """It is declared and was never read: nothing is known of what is wanted."""


def declared(entry: ItemsEntry) -> tuple[LocaleDeclared, ...]:
    """Localizations that the overlays of an entry name."""
    return tuple(
        LocaleDeclared(name=each.name, locale=Locale(language=each.override.language, country=each.override.country))
        for each in entry.overlays
        if each.override is not None
    )


def wanted_of(refresh: RefreshHead, partitions: Iterable[Partition]) -> tuple[Wanted, ...]:
    """What is to be sent, in this order: what is to be removed, then what is declared."""
    heads = {each.locale: each for each in refresh.overlays if each.locale is not None}
    named = {each.locale for each in refresh.locales}
    leaving = {each.locale: each.name for document in partitions for each in document.locales}
    return (
        *(Wanted(name, locale, None) for locale, name in leaving.items() if locale not in named),
        *(
            Wanted(each.name, each.locale, heads.get(each.locale), waits=each.locale not in heads)
            for each in refresh.locales
        ),
    )


def snapshot_key(partition: Partition, locale: Locale) -> str | None:
    return next((each.snapshot for each in partition.locales if each.locale == locale), None)


def items_of(store: LocalStore, refresh: RefreshHead, partition: Partition) -> pl.LazyFrame:
    """Ids of a partition at Meta, and whether they are on their way out."""
    leaves = (pl.col("kind") == Leaving.LEAVING) & (pl.col("stage") == Stage.CLEARED)
    leaving = departures_of(store, refresh).filter(leaves).select(ID).unique().with_columns(leaving=pl.lit(value=True))
    held = scan_snapshot(store, partition.snapshot).filter("at_meta").select(ID).unique()
    joined = held.join(leaving.lazy(), on=ID, how="left", maintain_order="none")
    return joined.with_columns(pl.col("leaving").fill_null(value=False))


def compared(
    store: LocalStore, refresh: RefreshHead, partition: Partition, wanted: Wanted, now: datetime
) -> pl.LazyFrame:
    """Both sides of one partition, as `localized.compare` joins them."""
    table = wanted.head.localized if wanted.head is not None else None
    return localized.compare(
        scan_or_empty(store, table, LOCALIZED),
        scan_or_empty(store, snapshot_key(partition, wanted.locale), LOCALE),
        items_of(store, refresh, partition),
        now,
    )


def pending_of(
    store: LocalStore, refresh: RefreshHead, partition: Partition, now: datetime
) -> tuple[LocalePending, ...]:
    """Count what one partition owes Meta for each localization."""
    found = []
    for each in wanted_of(refresh, (partition,)):
        known = {} if each.waits else _counted(store, refresh, partition, each, now)
        found.append(LocalePending(name=each.name, locale=each.locale, **known))
    return tuple(found)


def with_localized(
    store: LocalStore, refresh: RefreshHead, partitions: Sequence[Partition], pending: Sequence[Pending], now: datetime
) -> tuple[Pending, ...]:
    """Add to what partitions owe what they owe for each localization."""
    by_index = {each.index: each for each in partitions}
    return tuple(
        each.model_copy(update={"localized": pending_of(store, refresh, by_index[each.index], now)}) for each in pending
    )


def _counted(
    store: LocalStore, refresh: RefreshHead, partition: Partition, wanted: Wanted, now: datetime
) -> dict[str, int]:
    with reading():
        return localized.counts(compared(store, refresh, partition, wanted, now))
