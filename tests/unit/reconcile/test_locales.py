"""What the ledger knows of languages and countries, and what follows when the spec names others."""

from datetime import UTC, datetime, timedelta
from typing import Any

from controller.api.v1alpha1.catalog_ledger import (
    ItemsRecord,
    LedgerContent,
    LocaleCounts,
    LocaleDeclaredRecord,
    LocaleHeadRecord,
    LocaleRecord,
    OverlayRecord,
    PartitionRecord,
    PendingCounts,
    RefreshRecord,
)
from controller.api.v1alpha1.items import ItemsEntry
from controller.ports.locales import Locale, LocaleHead, LocalePending
from controller.ports.preparing import Partition, Pending, RefreshHead
from controller.reconcile import documents, overlays
from controller.reconcile.garbage import references
from controller.reconcile.overlays import OverlaySight
from controller.reconcile.refreshing import configuration_digest
from controller.scheduling import ledger as transitions

NOW = datetime(2026, 1, 5, tzinfo=UTC)
FR = LocaleRecord(language="fr_XX")
FRENCH: dict[str, Any] = {
    "name": "french",
    "interval": "1h",
    "override": {"language": "fr_XX"},
    "source": {"http": {"url": "https://shop.example/fr.csv"}},
}


def entry(*declared: dict[str, Any]) -> ItemsEntry:
    source = {"http": {"url": "https://shop.example/items.csv"}}
    return ItemsEntry.model_validate({"name": "products", "source": source, "overlays": list(declared)})


def items(*named: LocaleDeclaredRecord, records: tuple[OverlayRecord, ...] = ()) -> ItemsRecord:
    refresh = RefreshRecord(
        sequence=1, read_at=NOW, digest="d", configuration_digest="c", locales=named, overlays=records
    )
    return ItemsRecord(name="products", refresh=refresh)


def partition(**fields: Any) -> PartitionRecord:
    return PartitionRecord(index=0, shard="s", slot_from=0, slot_to=1, **fields)


def test_another_language_needs_no_read_of_the_full_source() -> None:
    plain = configuration_digest(entry(), None)
    assert configuration_digest(entry(FRENCH), None) == plain
    other = {**FRENCH, "name": "stock"}
    del other["override"]
    assert configuration_digest(entry(other), None) != plain
    assert configuration_digest(entry(FRENCH, other), None) == configuration_digest(entry(other), None)


def test_other_languages_than_before_are_noticed() -> None:
    known = LocaleDeclaredRecord(name="french", locale=FR)
    assert not overlays.locales_changed(items(known), entry(FRENCH))
    assert not overlays.locales_changed(items(), entry())
    assert overlays.locales_changed(items(known), entry())
    assert overlays.locales_changed(items(), entry(FRENCH))
    assert overlays.locales_changed(items(known), entry({**FRENCH, "override": {"country": "FR"}}))
    assert overlays.locales_changed(items(known), entry({**FRENCH, "name": "francais"}))


def test_an_overlay_of_another_meaning_is_read_at_once_and_again_with_patience() -> None:
    declared = entry(FRENCH)
    digest = overlays.overlay_digest(declared, declared.overlays[0])
    sight = OverlaySight(looked_at=NOW)

    def due_at(known: str) -> datetime:
        record = OverlayRecord(name="french", read_at=NOW, digest="d", configuration_digest=known, table="t")
        return overlays.due_at(items(records=(record,)), declared, declared.overlays[0], sight, NOW)

    assert due_at(digest) == NOW + timedelta(hours=1)
    assert due_at("another") == NOW
    sight.retry_at = NOW + timedelta(minutes=5)
    assert due_at("another") == NOW + timedelta(minutes=5)


def test_heads_come_and_go_without_a_loss() -> None:
    record = partition(snapshot="s", locales=(LocaleHeadRecord(name="french", locale=FR, snapshot="l"),))
    document = documents.partition(record)
    assert document.locales == (LocaleHead(name="french", locale=Locale(language="fr_XX"), snapshot="l"),)
    heads = documents.heads(document)
    assert (heads.snapshot, heads.payload, heads.locales) == ("s", None, record.locales)


def test_a_ledger_from_before_there_were_languages_is_read() -> None:
    known = partition(snapshot="s", pending=PendingCounts(volatile=1))
    wire = known.model_dump(mode="json", by_alias=True)
    del wire["locales"]
    del wire["pending"]["localized"]
    assert PartitionRecord.from_wire(wire) == known
    assert documents.partition(known).locales == ()
    refresh = items().refresh
    assert refresh is not None
    old = refresh.model_dump(mode="json", by_alias=True)
    del old["locales"]
    assert documents.refresh_head(RefreshRecord.from_wire(old)).locales == ()
    head = documents.refresh_head(refresh).model_dump(mode="json")
    del head["locales"]
    assert RefreshHead.model_validate(head).locales == ()
    document = Partition(index=0, slot_from=0, slot_to=1).model_dump(mode="json")
    del document["locales"]
    assert Partition.model_validate(document).locales == ()


def test_a_step_that_did_not_count_languages_leaves_their_counts() -> None:
    french = LocaleCounts(name="french", locale=FR, changes=3)
    before = PendingCounts(volatile=5, localized=(french,))
    after = transitions.since(before, documents.pending_counts(Pending(index=0, volatile=1)), NOW)
    assert (after.volatile, after.localized) == (1, (french,))
    assert transitions.since(before, documents.pending_counts(Pending(index=0, localized=())), NOW).localized == ()


def test_an_operation_on_a_language_leaves_the_other_counts() -> None:
    before = PendingCounts(volatile=5, items_at_meta=9)
    counted = Pending(index=0, localized=(LocalePending(name="french", locale=Locale(language="fr_XX"), ids=2),))
    after = documents.pending_counts(counted, before)
    assert (after.volatile, after.items_at_meta) == (5, 9)
    assert after.localized == (LocaleCounts(name="french", locale=FR, ids=2),)


def test_heads_of_languages_are_part_of_what_marks_a_ledger() -> None:
    """So a ledger that is older than the store is known as such."""
    french = LocaleHeadRecord(name="french", locale=FR, snapshot="l")
    assert transitions.mark(partition(snapshot="s")) == "s"
    assert transitions.mark(partition()) is None
    marks = {transitions.mark(partition(snapshot="s", locales=each)) for each in ((), (french,))}
    assert len(marks) == 2


def test_what_the_ledger_names_of_languages_stays_in_the_store() -> None:
    record = OverlayRecord(
        name="french", read_at=NOW, digest="d", configuration_digest="c", table="t", locale=FR, localized="n"
    )
    content = LedgerContent(
        partitions=(partition(locales=(LocaleHeadRecord(name="french", locale=FR, snapshot="l"),)),),
        items=(items(records=(record,)),),
    )
    assert {"t", "n", "l"} <= references(content)
