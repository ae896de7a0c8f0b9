"""Sources that can't be believed: the last good state stays, nothing is deleted, and the next good read heals it."""

import csv
import io
from collections.abc import Callable
from datetime import timedelta
from typing import Literal

import pytest

from controller.api import names
from controller.api.conditions import Condition, ConditionStatus, ConditionType
from controller.kube import paths
from controller.kube.transport import Json, Request
from tests.simulation.behaviours.stage import Stage, usual_spec
from tests.simulation.world import NAMESPACE, SHOP_URL

NOTICED = timedelta(minutes=12)
HEALED = timedelta(minutes=25)
"""A look at the source comes at the latest one interval after the last refusal; then prices go out."""

FRESH_AGAIN = timedelta(minutes=65)
"""What only full sends carry waits for the next slot."""


def _down(stage: Stage) -> None:
    stage.shop.down = True


def _empty(stage: Stage) -> None:
    stage.shop.empty = True


def _truncated(stage: Stage) -> None:
    stage.change_prices()
    stage.shop.truncated = True


def _page(stage: Stage) -> None:
    stage.shop.said = b"<html><body>Sorry, something went wrong</body></html>\n"


def _no_id(stage: Stage) -> None:
    stage.shop.said = stage.shop.export().replace(b"id,", b"number,", 1)


def _too_small(stage: Stage) -> None:
    lines = stage.shop.export().split(b"\n")
    stage.shop.said = b"\n".join(lines[:2]) + b"\n"


def _shrunk(stage: Stage) -> None:
    stage.shop.said = _as_csv([each.row() for each in stage.shop.products.values()][:8])


def _no_sale_price(stage: Stage) -> None:
    """No row needs it, but somebody said that the export always has it."""
    rows = [row.row() for row in stage.shop.products.values()]
    stage.shop.said = _as_csv([{name: value for name, value in row.items() if name != "sale_price"} for row in rows])


def _became_variants(stage: Stage) -> None:
    """Two products are sold in sizes now, under other ids."""
    rows: list[dict[str, str]] = []
    for row in (each.row() for each in stage.shop.products.values()):
        if row["item_group_id"] or len(rows) > 4:
            rows.append(row)
        else:
            rows += [{**row, "id": f"{row['id']}_{size}", "item_group_id": f"of-{row['id']}"} for size in "SM"]
    stage.shop.said = _as_csv(rows)


def _as_csv(rows: list[dict[str, str]]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def _heal(stage: Stage) -> None:
    stage.shop.down = stage.shop.empty = stage.shop.truncated = False
    stage.shop.said = None


BROKEN: dict[str, tuple[Callable[[Stage], None], str, tuple[str, ...]]] = {
    "unreachable": (_down, "SourceUnreachable", ("does not accept connections",)),
    "empty": (_empty, "SourceEmpty", ("no rows", "nothing was changed")),
    "truncated body": (_truncated, "SourceMalformed", ()),
    "a page": (_page, "SourceMalformed", ("HTML page", "not a file with rows", "check the address")),
    "no id column": (_no_id, "MappingInvalid", ("id",)),
    "too small": (_too_small, "SourceTooSmall", ("evidence.minRows asks for 5",)),
}

BROKEN_LATER: dict[str, tuple[Callable[[Stage], None], str, tuple[str, ...]]] = {
    **BROKEN,
    "fewer rows than allowed": (_shrunk, "SourceTooSmall", ("8 rows after 12", "maxShrinkPercent allows 20 % less")),
    "a column is gone": (_no_sale_price, "SourceMalformed", ("sale_price", "evidence.requiredColumns")),
    "items became variants": (_became_variants, "VariantsHeld", ("variants.previousID",)),
}


def unhealthy(stage: Stage, reason: str) -> Callable[[], Condition | None]:
    return stage.says(ConditionType.SOURCE_UNHEALTHY, ConditionStatus.TRUE, reason)


def entry(**fields: object) -> dict[str, object]:
    return {**usual_spec()["items"][0], "evidence": {"minRows": 5}, **fields}


@pytest.mark.parametrize("case", BROKEN)
async def test_broken_from_the_start(stage: Stage, case: str) -> None:
    breaks, reason, words = BROKEN[case]
    await stage.populate(items=[entry()])
    breaks(stage)
    stage.launch()
    said = await stage.until(unhealthy(stage, reason), NOTICED)
    for word in (*words, "spec.items[products]", "next try by"):
        assert word in said.message
    ready = stage.condition(ConditionType.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == (ConditionStatus.FALSE, reason)
    assert stage.condition(ConditionType.STALLED) is None, "data never stalls a release"
    _heal(stage)
    await stage.until(stage.ready, HEALED)
    await stage.until(stage.in_step, HEALED)
    assert stage.condition(ConditionType.SOURCE_UNHEALTHY) is None
    await stage.safe()


@pytest.mark.parametrize("case", BROKEN_LATER)
async def test_broken_later(stage: Stage, case: str) -> None:
    breaks, reason, words = BROKEN_LATER[case]
    evidence = {"minRows": 5, "maxShrinkPercent": 20, "requiredColumns": ["sale_price"]}
    await stage.begin(items=[entry(evidence=evidence)])
    before = stage.items_at_meta()
    breaks(stage)
    said = await stage.until(unhealthy(stage, reason), NOTICED)
    for word in (*words, "spec.items[products]", "the last good state stays", "next try by"):
        assert word in said.message
    await stage.rest(minutes=45)
    assert stage.items_at_meta() == before, "nothing is changed or deleted for a source that can't be believed"
    assert stage.ready(), "data never makes Ready False"
    fresh = stage.condition(ConditionType.FRESH)
    assert fresh is not None
    assert fresh.status is ConditionStatus.FALSE
    assert "the source was not read since" in fresh.message
    _heal(stage)
    stage.change_prices()
    await stage.until(stage.in_step, HEALED)
    await stage.until(stage.says(ConditionType.FRESH, ConditionStatus.TRUE, "OnTarget"), FRESH_AGAIN)
    assert stage.condition(ConditionType.SOURCE_UNHEALTHY) is None
    await stage.safe()


async def test_a_malformed_row_costs_nothing_but_itself(stage: Stage) -> None:
    """The others go out, and while a row can't be read nothing counts as gone."""
    await stage.begin()
    ids = sorted(stage.shop.products)
    stage.change_prices()
    lines = stage.shop.export().decode().split("\n")
    broken = next(number for number, line in enumerate(lines) if line.startswith(ids[0]))
    lines[broken] = 'only,three,"columns'
    missing = next(number for number, line in enumerate(lines) if line.startswith(ids[-1]))
    del lines[missing]
    stage.shop.said = "\n".join(lines).encode()
    issues = stage.says(ConditionType.ITEM_ISSUES, ConditionStatus.TRUE, "ItemsRefused")
    said = await stage.until(issues, NOTICED)
    assert "until then nothing counts as gone" in said.message
    await stage.until(
        lambda: stage.items_at_meta()[ids[1]]["price"] == stage.shop.products[ids[1]].row()["price"], HEALED
    )
    await stage.rest(hours=8)
    assert {ids[0], ids[-1]} <= set(stage.items_at_meta())
    assert stage.items_at_meta()[ids[-1]]["availability"] != "discontinued"
    stage.shop.said = None
    await stage.until(stage.in_step, HEALED)
    assert stage.condition(ConditionType.ITEM_ISSUES) is None
    await stage.safe()


async def test_a_row_that_fails_a_check_keeps_its_last_good_version(stage: Stage) -> None:
    await stage.begin()
    first = next(iter(stage.shop.products.values()))
    before = stage.items_at_meta()[first.id]["price"]
    first.broken = True
    said = await stage.until(stage.says(ConditionType.ITEM_ISSUES, ConditionStatus.TRUE, "ItemsRefused"), NOTICED)
    assert "price" in said.message
    assert first.id in said.message
    stage.change_prices()
    await stage.until(stage.in_step, HEALED)
    await stage.rest(hours=8)
    assert stage.items_at_meta()[first.id]["price"] == before
    first.broken = False
    stage.shop_changes()
    await stage.until(stage.in_step, HEALED)
    await stage.until(lambda: stage.condition(ConditionType.ITEM_ISSUES) is None, NOTICED)
    await stage.safe()


async def test_an_unknown_column_names_the_nearest_ones(stage: Stage) -> None:
    mapping = {"columns": [{"field": "title", "column": "titel"}]}
    await stage.populate(items=[entry(mapping=mapping)])
    stage.launch()
    said = await stage.until(unhealthy(stage, "MappingInvalid"), NOTICED)
    assert "titel" in said.message
    assert "title" in said.message.replace("titel", "")
    assert "next try by" in said.message
    await stage.change(items=[entry()])
    await stage.until(stage.ready, timedelta(minutes=10))
    await stage.until(stage.in_step, HEALED)


async def test_a_source_that_went_back_is_believed_after_three_equal_reads(stage: Stage) -> None:
    await stage.begin()
    old = stage.shop.export()
    stage.change_prices()
    await stage.until(stage.in_step, timedelta(minutes=16))
    new = stage.items_at_meta()
    stage.shop.said = old
    said = await stage.until(unhealthy(stage, "SourceWentBack"), NOTICED)
    assert "ask for a sync" in said.message
    assert stage.items_at_meta() == new
    await stage.until(lambda: stage.items_at_meta() != new, timedelta(minutes=45))
    await stage.until(lambda: stage.condition(ConditionType.SOURCE_UNHEALTHY) is None, NOTICED)


async def test_a_source_that_went_back_is_believed_on_request(stage: Stage) -> None:
    await stage.begin(items=[entry(interval="4h")])
    old = stage.shop.export()
    stage.change_prices()
    await stage.annotate(names.ANNOTATION_SYNC_REQUESTED_AT, "1")
    await stage.until(stage.in_step, timedelta(minutes=16))
    new = stage.items_at_meta()
    stage.shop.said = old
    await stage.until(unhealthy(stage, "SourceWentBack"), timedelta(hours=5))
    await stage.annotate(names.ANNOTATION_SYNC_REQUESTED_AT, "2")
    await stage.until(lambda: stage.items_at_meta() != new, timedelta(minutes=20))
    assert stage.require_catalog().status.last_handled_sync_at == "2"


async def test_an_address_that_is_not_allowed_is_refused(stage: Stage) -> None:
    """The shop resolves to 127.0.0.9, which the administrator did not allow."""
    stage.world.settings = stage.world.settings.model_copy(update={"allow_source_network": ()})
    await stage.populate()
    stage.launch()
    said = await stage.until(unhealthy(stage, "SourceRefused"), NOTICED)
    assert "--allow-source-network" in said.message or "not allowed" in said.message
    assert SHOP_URL not in said.message or "?" not in said.message


async def test_a_config_map_is_a_source(stage: Stage) -> None:
    """Read by name at each look, handed to the step, and taken again when its content changed."""
    await _config_map(stage, stage.shop.export(), "POST")
    await stage.populate(items=[entry(source={"configMap": {"name": "products", "key": "products.csv"}})])
    stage.launch()
    await stage.until(stage.ready, HEALED)
    await stage.until(stage.in_step, HEALED)
    stage.change_prices()
    await _config_map(stage, stage.shop.export(), "PUT")
    await stage.until(stage.in_step, HEALED)
    await stage.send(Request("DELETE", paths.config_map(NAMESPACE, "products")))
    said = await stage.until(unhealthy(stage, "SourceUnreachable"), NOTICED)
    assert "source.configMap.name: there is no ConfigMap products" in said.message
    assert "the last good state stays" in said.message
    await _config_map(stage, stage.shop.export(), "POST", key="other.csv")
    said = await stage.until(
        lambda: (
            found
            if (found := stage.condition(ConditionType.SOURCE_UNHEALTHY)) and "has no key" in found.message
            else None
        ),
        NOTICED,
    )
    assert "has no key products.csv; it has other.csv" in said.message
    await stage.safe()


async def _config_map(stage: Stage, content: bytes, verb: Literal["POST", "PUT"], key: str = "products.csv") -> None:
    wire: Json = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "products", "namespace": NAMESPACE},
        "data": {key: content.decode()},
    }
    path = paths.config_maps(NAMESPACE) if verb == "POST" else paths.config_map(NAMESPACE, "products")
    await stage.send(Request(verb, path, body=wire))
