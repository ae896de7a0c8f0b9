"""The book of ledgers: epochs, lost answers, a process that is not the active one any more, backups."""

from pathlib import Path

import pytest

from controller.api import names
from controller.api.v1alpha1.catalog_ledger import CatalogLedger, LedgerContent, PartitionRecord
from controller.faults import Fault
from controller.kube import paths
from controller.kube.transport import Request
from controller.ports.meta import Bucket, Call
from controller.reconcile.ledgers import LedgerBook, Quotas
from controller.scheduling.quota import QuotaLimit
from tests.unit.reconcile.contexts import Life, Surroundings

ID = "1"
MANAGEMENT_CALLS = 800
QUOTAS = Quotas("app", QuotaLimit(100, 8), QuotaLimit(MANAGEMENT_CALLS))


def named(content: LedgerContent) -> LedgerContent:
    return content.model_copy(update={"connection": "acme"})


def with_partition(snapshot: str | None = None, **fields: object) -> LedgerContent:
    record = PartitionRecord(index=0, shard="s", slot_from=0, slot_to=1, snapshot=snapshot)
    return LedgerContent.model_validate({"partitions": (record,), **fields})


async def opened(life: Life) -> LedgerBook:
    assert await life.book.open(ID, create=True) is not None
    return life.book


def stored(around: Surroundings) -> LedgerContent:
    wire = around.server.peek(CatalogLedger, names.OPERATOR_NAMESPACE, f"catalog-{ID}")
    assert wire is not None
    return CatalogLedger.from_wire(wire).ledger


async def test_there_is_none_before_it_is_made(tmp_path: Path) -> None:
    life = Surroundings(tmp_path).life()
    assert await life.book.open(ID) is None
    assert life.book.known(ID) is None
    with pytest.raises(Fault, match="is not open"):
        await life.book.change(ID, named)


async def test_each_life_begins_an_epoch(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    for epoch in (1, 2, 3):
        book = await opened(around.life())
        content = book.known(ID)
        assert content is not None
        assert content.epoch == epoch
        assert not content.rolled_back
        await book.open(ID)
        assert stored(around).epoch == epoch, "opening again in one life begins nothing"


async def test_a_change_is_written_before_anybody_can_act_on_it(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    book = await opened(around.life())
    assert (await book.change(ID, named)).connection == "acme"
    assert stored(around).connection == "acme"


async def test_a_change_that_changes_nothing_is_not_written(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    book = await opened(around.life())
    await book.change(ID, named)
    before = around.server.requests["PUT", "catalogledgers"]
    await book.change(ID, named)
    assert around.server.requests["PUT", "catalogledgers"] == before


async def test_a_lost_answer_is_read_again_and_is_ours(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    life = around.life()
    book = await opened(life)
    life.faults.lost_after = 1.0

    def once(content: LedgerContent) -> LedgerContent:
        life.faults.lost_after = 0.0 if content.connection else 1.0
        return content.model_copy(update={"connection": "acme"})

    with pytest.raises(Fault):
        # Every answer is lost, that of the second look as well.
        await book.change(ID, once)
    life.faults.lost_after = 0.0
    assert (await book.change(ID, named)).connection == "acme"
    assert stored(around).connection == "acme"


async def test_who_is_not_the_active_one_any_more_writes_nothing(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    old = await opened(around.life())
    new = await opened(around.life())
    with pytest.raises(Fault) as raised:
        await old.change(ID, named)
    assert raised.value.reason == "LeaseLost"
    assert stored(around).connection is None
    await new.change(ID, named)
    assert stored(around).connection == "acme"


async def test_a_ledger_that_somebody_deleted_is_said_to_be_gone(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    book = await opened(around.life())
    around.server.handle(Request("DELETE", paths.item(CatalogLedger, names.OPERATOR_NAMESPACE, f"catalog-{ID}")))
    with pytest.raises(Fault) as raised:
        await book.change(ID, named)
    assert raised.value.reason == "LedgerUnavailable"
    again = await book.open(ID, create=True)
    assert again is not None
    assert again.rolled_back, "the store knows of an epoch that this ledger does not"


async def _published(around: Surroundings, book: LedgerBook, snapshot: str) -> None:
    await book.mark_heads(ID, "op", {0: snapshot})
    await book.change(ID, lambda _: with_partition(snapshot, epoch=stored(around).epoch))


async def test_heads_that_were_published_are_known_in_the_next_life(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    book = await opened(around.life())
    for number in range(5):
        await _published(around, book, f"head-{number}")
    assert len(around.store.keys(f"catalogs/{ID}/heads/")) == 2, "old marks go"
    content = await around.life().book.open(ID)
    assert content is not None
    assert not content.rolled_back


async def test_a_ledger_from_a_backup_of_the_same_life_is_known_as_such(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    book = await opened(around.life())
    await _published(around, book, "first")
    backup = stored(around)
    await _published(around, book, "second")
    await book.change(ID, lambda _: backup)
    content = await around.life().book.open(ID)
    assert content is not None
    assert content.rolled_back
    assert content.relisted_at is None


async def test_what_was_about_to_be_published_is_no_rollback(tmp_path: Path) -> None:
    """Killed between the mark and the ledger: the operation still holds its claim and publishes again."""
    around = Surroundings(tmp_path)
    book = await opened(around.life())
    claim = {"operation": "op", "name": "shop/op", "epoch": 1, "method": "ItemsBatch", "since": around.clock.now()}
    record = {"index": 0, "shard": "s", "slotFrom": 0, "slotTo": 1, "snapshot": "first", "claim": claim}
    await book.change(ID, lambda content: content.model_validate({**content.model_dump(), "partitions": (record,)}))
    await book.mark_heads(ID, "op", {0: "second"})
    content = await around.life().book.open(ID)
    assert content is not None
    assert not content.rolled_back


async def test_management_calls_are_reserved_in_blocks_before_they_are_made(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    life = around.life()
    book = await opened(life)
    scope = ("app", ID, Bucket.MANAGEMENT)
    await book.provision(ID, QUOTAS)
    first = life.context.governor.remaining(scope)
    assert 0 < first <= MANAGEMENT_CALLS // 8, "in blocks of at most an eighth of the window"
    (record,) = stored(around).quota
    assert sum(calls for _, calls in record.blocks) == first
    for _ in range(200):
        life.context.governor.grant(scope, -life.context.governor.remaining(scope))
        await book.provision(ID, QUOTAS)
    (record,) = stored(around).quota
    assert sum(calls for _, calls in record.blocks) == MANAGEMENT_CALLS, "never more than the window"


async def test_throttling_that_was_told_reaches_the_next_life(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    life = around.life()
    book = await opened(life)
    scope = ("app", ID, Bucket.BATCH)
    life.context.governor.observe(Call("items_batch", Bucket.BATCH, "app", ID, True), None, 30)
    await book.persist_news()
    successor = around.life()
    await successor.book.open(ID)
    assert successor.context.governor.blocked_until(scope) == life.context.governor.blocked_until(scope)
