"""Looks at overlays: when they are due, what makes their values anew, how an older version comes to be believed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.api import names
from controller.api.v1alpha1.catalog_ledger import ItemsRecord, OverlayRecord, OverlayRepeat, RefreshRecord
from controller.api.v1alpha1.items import ItemsEntry
from controller.faults import Disposition, Fault
from controller.ports.preparing import OverlayResult, RefusedRead, SourceCredentials
from controller.reconcile import overlays
from controller.reconcile.overlays import OverlaySight
from controller.reconcile.refreshing import configuration_digest
from tests.unit.reconcile.contexts import Surroundings

NOW = datetime(2026, 1, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
STOCK: dict[str, Any] = {"name": "stock", "interval": "2m", "source": {"http": {"url": "https://stock.example/a"}}}
PRICES: dict[str, Any] = {**STOCK, "name": "prices"}


def entry(*declared: dict[str, Any], **fields: Any) -> ItemsEntry:
    source = {"http": {"url": "https://shop.example/a"}}
    return ItemsEntry.model_validate({"name": "products", "source": source, "overlays": list(declared), **fields})


def test_an_overlay_is_due_one_interval_after_its_last_look() -> None:
    (overlay,) = entry(STOCK).overlays
    sight = OverlaySight()
    assert sight.due_at(overlay, NOW) == NOW
    sight.accept(NOW)
    assert sight.due_at(overlay, NOW) == NOW + 2 * MINUTE


def test_failures_back_off_up_to_the_interval_and_end_with_a_good_look() -> None:
    (overlay,) = entry(STOCK).overlays
    sight = OverlaySight()
    waits = []
    for _ in range(4):
        sight.refuse(overlay, Fault("SourceUnreachable", Disposition.RETRY, "down"), NOW)
        waits.append(sight.due_at(overlay, NOW) - NOW)
    assert waits == [MINUTE / 2, MINUTE, 2 * MINUTE, 2 * MINUTE]
    sight.accept(NOW)
    assert (sight.refused, sight.failures, sight.retry_at) == (None, 0, None)


def test_an_entry_without_overlays_means_what_it_meant_before() -> None:
    assert configuration_digest(entry(), None) == configuration_digest(entry(overlays=[]), None)
    assert configuration_digest(entry(), None) != configuration_digest(entry(STOCK), None)


@pytest.mark.parametrize("change", [{"interval": "1h"}, {"evidence": {"minRows": 7}}])
def test_how_often_and_how_carefully_it_is_read_is_no_other_overlay(change: dict[str, Any]) -> None:
    assert configuration_digest(entry(STOCK), None) == configuration_digest(entry({**STOCK, **change}), None)


OTHERS: dict[str, tuple[dict[str, Any], ...]] = {
    "another source": ({**STOCK, "source": {"http": {"url": "https://stock.example/b"}}},),
    "another id": ({**STOCK, "idColumn": "sku"},),
    "other fields": ({**STOCK, "columns": [{"field": "price", "column": "p"}]},),
    "other values": ({**STOCK, "values": [{"field": "availability", "from": "1", "to": "in stock"}]},),
    "empty cells": ({**STOCK, "emptyCells": "Clear"},),
    "another name": (PRICES,),
    "one more": (STOCK, PRICES),
    "none": (),
}


@pytest.mark.parametrize("change", OTHERS)
def test_everything_else_makes_the_values_anew(change: str) -> None:
    assert configuration_digest(entry(STOCK), None) != configuration_digest(entry(*OTHERS[change]), None)


def test_precedence_belongs_to_the_meaning() -> None:
    one, other = entry(STOCK, PRICES), entry(PRICES, STOCK)
    assert configuration_digest(one, None) != configuration_digest(other, None)


def test_the_currency_of_prices_belongs_to_the_meaning_of_an_overlay() -> None:
    one, other = entry(STOCK, currency="EUR"), entry(STOCK, currency="USD")
    assert overlays.overlay_digest(one, one.overlays[0]) != overlays.overlay_digest(other, other.overlays[0])


def went_back(digest: str, name: str = "stock") -> OverlayResult:
    return OverlayResult(name=name, refused=RefusedRead(reason="SourceWentBack", message="older", digest=digest))


def test_an_older_version_is_believed_after_three_equal_reads() -> None:
    declared = entry(STOCK)
    items = ItemsRecord(name="products")
    believed = []
    for digest in ("a", "b", "b", "b"):
        items = overlays.with_results(items, declared, [went_back(digest)])
        believed.append(overlays.request_of(items, declared, declared.overlays[0], forced=False).accept_went_back)
    assert believed == [False, False, False, True]
    assert overlays.with_results(items, declared, [OverlayResult(name="stock")]).overlays == ()


def test_what_is_counted_of_an_overlay_ends_with_it() -> None:
    items = ItemsRecord(name="products", overlays=(OverlayRepeat(name="prices", digest="a", count=2),))
    assert overlays.with_results(items, entry(STOCK), [went_back("b")]).overlays == (
        OverlayRepeat(name="stock", digest="b", count=1),
    )


def test_a_sync_request_takes_what_an_overlay_says() -> None:
    declared = entry(STOCK)
    asked = overlays.request_of(ItemsRecord(name="products"), declared, declared.overlays[0], forced=True)
    assert asked.accept_went_back


def test_a_version_counts_only_under_the_same_declaration() -> None:
    declared = entry(STOCK)
    overlay = declared.overlays[0]
    record = OverlayRecord(
        name="stock",
        read_at=NOW,
        digest="d",
        etag="e",
        configuration_digest=overlays.overlay_digest(declared, overlay),
        table="t",
    )
    refresh = RefreshRecord(sequence=1, read_at=NOW, digest="d", configuration_digest="c", overlays=(record,))
    items = ItemsRecord(name="products", refresh=refresh)
    known = overlays.known_version(items, declared, overlay)
    assert known is not None
    assert known.etag == "e"
    other = entry({**STOCK, "idColumn": "sku"})
    assert overlays.known_version(items, other, other.overlays[0]) is None
    assert overlays.known_version(ItemsRecord(name="products"), declared, overlay) is None


async def test_a_secret_that_is_missing_is_named_by_the_field_of_the_overlay(tmp_path: Path) -> None:
    http = {"url": "https://stock.example/a", "bearerTokenSecretRef": {"name": "keys", "key": "token"}}
    declared = entry({**STOCK, "source": {"http": http}})
    context = Surroundings(tmp_path).life().context
    with pytest.raises(Fault) as caught:
        await overlays.credentials_of(context, names.OPERATOR_NAMESPACE, declared, declared.overlays[0])
    assert "spec.items[products].overlays[stock].source.http.bearerTokenSecretRef" in caught.value.message


def test_credentials_of_overlays_reach_the_child_and_nobody_else() -> None:
    credentials = SourceCredentials(overlays={"stock": SourceCredentials(bearer_token="s3cr3t")})
    assert "s3cr3t" not in repr(credentials)
    again = SourceCredentials.model_validate_json(credentials.model_dump_json())
    assert again.overlays["stock"].bearer_token == "s3cr3t"
