"""Meta's own SDK drives the emulator: what it does not understand, no client of Meta would."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from hack.emulator import world
from tests.contract.emulator.claims import claims
from tests.contract.emulator.driver import PROMPT, create, feed_file, item, localized, update
from tests.contract.emulator.processes import until

REPOSITORY = Path(__file__).parents[3]
# The SDK's own table takes `requests` for a map; what it sends is right.
pytestmark = pytest.mark.filterwarnings("ignore:value of requests might not be compatible")
SPEED = 400  # emulated seconds in a second: a batch takes about a third of a second


@dataclass(frozen=True)
class Sdk:
    api: Any
    business: str
    objects: ModuleType
    url: str


def _import() -> tuple[ModuleType, ModuleType, ModuleType]:
    with warnings.catch_warnings():  # the SDK's own modules warn while they are compiled
        warnings.simplefilter("ignore")
        from facebook_business import adobjects, api, session
        from facebook_business.adobjects import (  # noqa: F401  # filled into adobjects
            business,
            productcatalog,
            productfeed,
            productfeedupload,
            productitem,
        )
    return adobjects, api, session


@pytest.fixture(scope="module")
def sdk() -> Iterator[Sdk]:
    adobjects, api, session_module = _import()
    switches = [f"--switch={name}={value}" for name, value in PROMPT.items()]
    command = [sys.executable, "-m", "hack.emulator", "--port", "0", "--speed", str(SPEED), *switches]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env=dict(os.environ))
    try:
        assert process.stdout is not None
        about = json.loads(process.stdout.readline())
        session = session_module.FacebookSession(
            app_id=about["app_id"], app_secret=about["app_secret"], access_token=about["token"]
        )
        session.GRAPH = about["url"]
        client = api.FacebookAdsApi(session)
        yield Sdk(client, about["business"], adobjects, about["url"])
        session.requests.close()
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()


@claims("catalog.create", "feed.create", "upload.create", "batch.create", "batch.status", "item.list")
def test_a_catalog_from_nothing_to_products(sdk: Sdk, tmp_path: Path) -> None:
    objects = sdk.objects
    business = objects.business.Business(sdk.business, api=sdk.api)
    catalog = business.create_owned_product_catalog(params={"name": "From the SDK", "vertical": "commerce"})
    assert catalog["id"].isdigit()
    feed = catalog.create_product_feed(params={"name": "Everything", "deletion_enabled": False})

    path = tmp_path / "feed.csv"
    path.write_bytes(feed_file([item(f"SKU-{n:03d}") for n in range(60)]))
    with path.open("rb") as content:
        answer = sdk.api.call("POST", (feed["id"], "uploads"), params={"update_only": False}, files={"file": content})
    upload = objects.productfeedupload.ProductFeedUpload(answer.json()["id"], api=sdk.api)
    names = ["start_time", "end_time", "num_detected_items", "num_persisted_items", "error_count"]
    done = until(lambda: (found := upload.api_get(fields=names)).get("end_time") and found)
    assert (done["num_detected_items"], done["num_persisted_items"], done["error_count"]) == (60, 60, 0)

    requests = [update("SKU-003", price="3.99 EUR"), update("SKU-004", availability="out of stock")]
    handle = catalog.create_items_batch(params={"item_type": "PRODUCT_ITEM", "requests": requests})["handles"][0]
    params = {"handle": handle, "load_ids_of_invalid_requests": True}
    status = until(lambda: _finished(catalog.get_check_batch_request_status(params=params)))
    assert (status["status"], status["errors_total_count"]) == ("finished", 0)

    listed = list(catalog.get_products(fields=["id", "retailer_id", "price", "availability"], params={"limit": 25}))
    assert len(listed) == 60, "the SDK's cursor follows every page"
    by_id = {one["retailer_id"]: one for one in listed}
    assert by_id["SKU-003"]["price"] == "€3.99"
    assert by_id["SKU-004"]["availability"] == "out of stock"


def _finished(cursor: Any) -> Any:
    row = next(iter(cursor))
    return row if row["status"] == "finished" else None


def test_the_sdk_pages_lists_and_reads_totals(sdk: Sdk) -> None:
    business = sdk.objects.business.Business(sdk.business, api=sdk.api)
    for number in range(7):
        business.create_owned_product_catalog(params={"name": f"Listed {number}"})
    cursor = business.get_owned_product_catalogs(fields=["id", "name"], params={"limit": 2})
    names = {one["name"] for one in cursor}
    assert {f"Listed {number}" for number in range(7)} <= names


def test_the_sdk_updates_and_deletes(sdk: Sdk) -> None:
    business = sdk.objects.business.Business(sdk.business, api=sdk.api)
    catalog = business.create_owned_product_catalog(params={"name": "Old"})
    catalog.api_update(params={"name": "New"})
    assert catalog.api_get(fields=["name"])["name"] == "New"
    catalog.api_delete()
    exceptions = __import__("facebook_business.exceptions", fromlist=["FacebookRequestError"])
    with pytest.raises(exceptions.FacebookRequestError) as caught:
        catalog.api_get(fields=["name"])
    assert caught.value.api_error_code() == 100
    assert caught.value.api_error_subcode() == 33


def test_errors_reach_the_sdk_as_such(sdk: Sdk) -> None:
    exceptions = __import__("facebook_business.exceptions", fromlist=["FacebookRequestError"])
    feed = sdk.objects.productfeed.ProductFeed("4242", api=sdk.api)
    with pytest.raises(exceptions.FacebookRequestError) as caught:
        feed.api_get(fields=["id"])
    assert caught.value.api_error_type() == "GraphMethodException"
    assert caught.value.http_status() == 400


@claims("batch_requests.run")
def test_the_sdk_sends_calls_in_batches(sdk: Sdk) -> None:
    business = sdk.objects.business.Business(sdk.business, api=sdk.api)
    catalog = business.create_owned_product_catalog(params={"name": "Batched"})
    batch = sdk.api.new_batch()
    good: list[Any] = []
    bad: list[Any] = []
    catalog.api_get(fields=["id", "name"], batch=batch, success=good.append, failure=bad.append)
    catalog.create_product_feed(params={"name": "One"}, batch=batch, success=good.append, failure=bad.append)
    missing = sdk.objects.productcatalog.ProductCatalog("4242", api=sdk.api)
    missing.api_get(fields=["id"], batch=batch, success=good.append, failure=bad.append)
    assert batch.execute() is None
    assert [answer.json()["id"].isdigit() for answer in good] == [True, True]
    assert [answer.json()["error"]["code"] for answer in bad] == [100]
    feeds = list(catalog.get_product_feeds(fields=["name"]))
    assert [feed["name"] for feed in feeds] == ["One"]


def test_the_sdk_creates_items_through_a_batch(sdk: Sdk) -> None:
    business = sdk.objects.business.Business(sdk.business, api=sdk.api)
    catalog = business.create_owned_product_catalog(params={"name": "Batch only"})
    params = {"item_type": "PRODUCT_ITEM", "requests": [create("A"), create("B")], "allow_upsert": True}
    handle = catalog.create_items_batch(params=params)["handles"][0]
    until(lambda: _finished(catalog.get_check_batch_request_status(params={"handle": handle})))
    rows = catalog.get_products(fields=["retailer_id"], params={"filter": {"retailer_id": {"is_any": ["A", "C"]}}})
    assert [one["retailer_id"] for one in rows] == ["A"]
    audit = httpx.get(f"{sdk.url}/_emulator/audit").json()
    assert audit["overlaps"] == 0
    assert world.TEST_TOKEN not in json.dumps(audit)


@claims("localized.create", "override.details", "override.read")
def test_the_sdk_sends_and_reads_values_per_language_and_country(sdk: Sdk) -> None:
    business = sdk.objects.business.Business(sdk.business, api=sdk.api)
    catalog = business.create_owned_product_catalog(params={"name": "Localised"})
    params: dict[str, Any] = {"item_type": "PRODUCT_ITEM", "requests": [create("A")], "allow_upsert": True}
    handle = catalog.create_items_batch(params=params)["handles"][0]
    until(lambda: _finished(catalog.get_check_batch_request_status(params={"handle": handle})))
    requests = [localized("A", "fr_XX|FR", title="Chemise")]
    handle = catalog.create_localized_items_batch(params={"item_type": "PRODUCT_ITEM", "requests": requests})[
        "handles"
    ][0]
    until(lambda: _finished(catalog.get_check_batch_request_status(params={"handle": handle})))
    (product,) = catalog.get_products(fields=["id", "name"])
    (details,) = product.get_override_details(params={"type": "LANGUAGE_AND_COUNTRY", "keys": ["fr_XX|FR"]})
    assert (details["key"], details["type"]) == ("fr_XX|FR", "LANGUAGE_AND_COUNTRY")
    assert details["values"] == {"name": "Chemise"}
    where = {"override_language": "fr_XX", "override_country": "FR"}
    assert product.api_get(fields=["name"], params=where)["name"] == "Chemise"
    assert sdk.objects.productitem.ProductItem(product["id"], api=sdk.api).api_get(fields=["name"])["name"] == (
        "Title of A"
    )
