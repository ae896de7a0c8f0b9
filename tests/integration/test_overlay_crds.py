"""What the API server refuses of overlays, and with which words."""

import json
from typing import Any

import pytest

from controller.api.v1alpha1 import Catalog
from hack.controlplane.cluster import ControlPlane
from tests.integration.test_crds import answer, catalog, manifest

pytestmark = pytest.mark.controlplane

STOCK: dict[str, Any] = {"name": "stock", "source": {"http": {"url": "https://stock.example/a.csv"}}}


def overlays(*each: dict[str, Any]) -> dict[str, Any]:
    return catalog({"overlays": list(each)})


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a language": (
        overlays({**STOCK, "override": {"language": "fr_XX"}}),
        (
            "spec.items[0].overlays[0].override: Invalid value: values per language or country cannot be sent yet: "
            "leave this overlay out"
        ),
    ),
    "an id among the fields": (
        overlays({**STOCK, "columns": [{"field": "id", "column": "sku"}]}),
        "id, item_group_id and previous_id come from the full source: name the id in idColumn",
    ),
    "two of one name": (overlays(STOCK, STOCK), "spec.items[0].overlays[1]: Duplicate value"),
    "no source": (overlays({"name": "stock"}), "spec.items[0].overlays[0].source: Required value"),
    "two sources": (
        overlays({"name": "stock", "source": {**STOCK["source"], "volume": {"name": "a", "path": "b"}}}),
        "give exactly one source: http, object, volume, configMap or sql",
    ),
    "too often": (overlays({**STOCK, "interval": "1s"}), "spec.items[0].overlays[0].interval"),
    "unknown way with empty cells": (overlays({**STOCK, "emptyCells": "Drop"}), 'supported values: "Keep", "Clear"'),
    "too many": (overlays(*({**STOCK, "name": f"o{number}"} for number in range(9))), "must have at most 8 items"),
}


@pytest.mark.parametrize("story", REFUSED)
def test_a_wrong_overlay_is_refused_with_what_to_do(control_plane: ControlPlane, story: str) -> None:
    spec, words = REFUSED[story]
    said = answer(control_plane, Catalog, json.dumps(manifest(Catalog, spec)))
    assert words in said
    assert 'The Catalog "germany" is invalid' in said


def test_an_overlay_needs_a_name_and_a_source(control_plane: ControlPlane) -> None:
    said = answer(control_plane, Catalog, json.dumps(manifest(Catalog, overlays(STOCK))))
    assert "catalog.metacatalog.dev/germany" in said
