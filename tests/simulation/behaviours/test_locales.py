"""Values for one language or country over days: they reach Meta, end with what said them, and never touch an item."""

from datetime import timedelta
from typing import Any

from controller.api.v1alpha1 import SyncOperation
from controller.api.v1alpha1.catalog import LocalizedStatus
from controller.api.v1alpha1.sync_operation import Phase
from tests.simulation.behaviours.stage import Stage, usual_spec

PATHS = {"french": "/fr.csv", "swiss": "/ch.csv"}
OVERRIDES: dict[str, dict[str, str]] = {"french": {"language": "fr_XX"}, "swiss": {"country": "CH"}}
SOON = timedelta(minutes=16)
EDGE = "/localized_items_batch"


def entry(*overlays: dict[str, Any]) -> dict[str, Any]:
    return {**usual_spec()["items"][0], "overlays": list(overlays)}


def overlay(name: str, **fields: Any) -> dict[str, Any]:
    source = {"http": {"url": f"http://shop.example{PATHS[name]}"}}
    return {"name": name, "interval": "2m", "source": source, "override": OVERRIDES[name], **fields}


def say(stage: Stage, name: str, rows: dict[str, dict[str, str]]) -> None:
    """The system behind an overlay says this now."""
    columns = list(dict.fromkeys(column for values in rows.values() for column in values))
    lines = [",".join([item, *(values.get(column, "") for column in columns)]) for item, values in rows.items()]
    stage.shop.files[PATHS[name]] = "\n".join([",".join(["id", *columns]), *lines, ""]).encode()


def titles(*items: str, word: str = "Produit") -> dict[str, dict[str, str]]:
    return {item: {"title": f"{word} {item}"} for item in items}


def held(stage: Stage, key: str = "fr_XX") -> dict[str, dict[str, str]]:
    """What items at Meta have for one language or country."""
    world = stage.world.emulator.world
    rows = [item for catalog in world.catalogs for item in world.items.page(catalog, None, after=0, limit=1_000)]
    if not rows:
        return {}
    found = world.overrides.between(min(item.n for item in rows), max(item.n for item in rows))
    return {item.rid: dict(one.values) for item in rows for one in found.get(item.n, ()) if one.key == key}


def bodies(stage: Stage, since: int = 0) -> int:
    return len([one for one in stage.writes(since) if one.path.endswith(EDGE)])


def status(stage: Stage, name: str = "french") -> LocalizedStatus | None:
    (items,) = stage.require_catalog().status.items
    return next((each.localized for each in items.overlays if each.name == name), None)


async def test_values_arrive_per_language_and_country(stage: Stage) -> None:
    await stage.begin()
    first, second, *_ = sorted(stage.shop.products)
    say(stage, "french", titles(first, second, "UNHEARD-OF"))
    say(stage, "swiss", {first: {"price": "12.00 CHF", "availability": "in stock"}})
    before = stage.items_at_meta()
    await stage.change(items=[entry(overlay("french"), overlay("swiss"))])
    await stage.until(lambda: held(stage) == titles(first, second), SOON)
    await stage.until(lambda: held(stage, "CH") == {first: {"price": "12.00 CHF", "availability": "in stock"}}, SOON)
    assert stage.items_at_meta() == before, "the items themselves stay as they are"
    await stage.until(lambda: status(stage) == LocalizedStatus(items=2, acknowledged=2), SOON)
    await stage.until(stage.quiet, SOON)
    (items,) = stage.require_catalog().status.items
    assert (items.overlays[0].unknown, items.overlays[0].unknown_sample_ids) == (1, ("UNHEARD-OF",))
    made = [each for each in stage.all(SyncOperation) if each.spec.overlay is not None]
    assert {each.spec.overlay for each in made} == {"french", "swiss"}
    assert {each.status.phase for each in made} == {Phase.SUCCEEDED}
    await stage.safe()
