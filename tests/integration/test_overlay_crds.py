"""What the API server refuses of overlays, and with which words."""

import json
from typing import Any

import pytest

from controller.api.v1alpha1 import Catalog, SyncOperation
from hack.controlplane.cluster import ControlPlane
from tests.integration.test_crds import answer, catalog, manifest

pytestmark = pytest.mark.controlplane

STOCK: dict[str, Any] = {"name": "stock", "source": {"http": {"url": "https://stock.example/a.csv"}}}
FRENCH: dict[str, Any] = {**STOCK, "name": "french", "override": {"language": "fr_XX"}}
SWISS: dict[str, Any] = {**STOCK, "name": "swiss", "override": {"country": "CH"}}


def overlays(*each: dict[str, Any]) -> dict[str, Any]:
    return catalog({"overlays": list(each)})


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "neither language nor country": (overlays({**STOCK, "override": {}}), "give language or country"),
    "a language in other letters": (
        overlays({**STOCK, "override": {"language": "fr-fr"}}),
        "spec.items[0].overlays[0].override.language: Invalid value",
    ),
    "the price of a language": (
        overlays({**FRENCH, "columns": [{"field": "title", "column": "titre"}, {"field": "price", "column": "prix"}]}),
        (
            "spec.items[0].overlays[0].columns: Invalid value: price, sale_price, unit_price, base_price, status and "
            "availability can only differ by country: give an override with country alone, or leave these columns out"
        ),
    ),
    "the price of a language within a country": (
        overlays(
            {
                **STOCK,
                "override": {"language": "fr_XX", "country": "CH"},
                "columns": [{"field": "availability", "column": "stock"}],
            }
        ),
        "status and availability can only differ by country",
    ),
    "the image of a language": (
        overlays({**FRENCH, "columns": [{"field": "image_link", "column": "image"}]}),
        "image_link cannot differ by language or country: give image[0].url instead",
    ),
    "two for one language": (
        overlays(FRENCH, {**FRENCH, "name": "francais"}),
        "two overlays give values for the same language or country: one localization has one overlay",
    ),
    "two for one language within a country": (
        overlays(
            {**STOCK, "name": "a", "override": {"language": "fr_XX", "country": "CH"}},
            STOCK,
            {**STOCK, "name": "b", "override": {"language": "fr_XX", "country": "CH"}},
        ),
        "two overlays give values for the same language or country",
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


GOOD: dict[str, dict[str, Any]] = {
    "a name and a source": overlays(STOCK),
    "languages, countries and both beside a plain one": overlays(
        STOCK,
        FRENCH,
        SWISS,
        {**STOCK, "name": "romand", "override": {"language": "fr_XX", "country": "CH"}},
        {**STOCK, "name": "german", "override": {"language": "de_DE"}},
    ),
    "the price of a country": overlays({**SWISS, "columns": [{"field": "price", "column": "prix"}]}),
    "the image of a language": overlays({**FRENCH, "columns": [{"field": "image[0].url", "column": "image"}]}),
}


@pytest.mark.parametrize("story", GOOD)
def test_a_good_overlay_is_taken(control_plane: ControlPlane, story: str) -> None:
    said = answer(control_plane, Catalog, json.dumps(manifest(Catalog, GOOD[story])))
    assert "catalog.metacatalog.dev/germany" in said


OPERATION: dict[str, Any] = {"catalogRef": {"name": "germany"}, "shards": ["germany-1-0"], "method": "ItemsBatch"}
WRONG_OPERATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "by a file": (
        {**OPERATION, "method": "ReplaceFeed", "overlay": "french"},
        "the values of an overlay for a language or country are sent by ItemsBatch",
    ),
    "some of its fields": (
        {**OPERATION, "overlay": "french", "fields": ["title"]},
        "an overlay's values for a language or country are sent as a whole: leave fields out",
    ),
}


@pytest.mark.parametrize("story", WRONG_OPERATIONS)
def test_an_operation_that_cannot_send_an_overlay_is_refused(control_plane: ControlPlane, story: str) -> None:
    spec, words = WRONG_OPERATIONS[story]
    assert words in answer(control_plane, SyncOperation, json.dumps(manifest(SyncOperation, spec)))


def test_an_operation_may_send_an_overlay(control_plane: ControlPlane) -> None:
    said = answer(control_plane, SyncOperation, json.dumps(manifest(SyncOperation, {**OPERATION, "overlay": "french"})))
    assert "syncoperation.metacatalog.dev/" in said
