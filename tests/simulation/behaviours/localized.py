"""What tests of values for one language or country say, and what they look at."""

from datetime import timedelta
from typing import Any

from controller.api.v1alpha1 import SyncOperation
from controller.api.v1alpha1.catalog import LocalizedStatus
from hack.emulator.journal import RequestRecord
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


def bodies(stage: Stage, since: int = 0) -> list[RequestRecord]:
    """Localised batches that Meta was sent."""
    return [one for one in stage.writes(since) if one.path.endswith(EDGE)]


def operations(stage: Stage, name: str = "french") -> list[SyncOperation]:
    return [each for each in stage.all(SyncOperation) if each.spec.overlay == name]


def status(stage: Stage, name: str = "french") -> LocalizedStatus | None:
    (items,) = stage.require_catalog().status.items
    return next((each.localized for each in items.overlays if each.name == name), None)


async def shown(stage: Stage, *items: str) -> None:
    """Begin a world whose items have a French title."""
    await stage.begin()
    say(stage, "french", titles(*items))
    await stage.change(items=[entry(overlay("french"))])
    await stage.until(lambda: held(stage) == titles(*items), SOON)
    await stage.until(stage.quiet, SOON)
