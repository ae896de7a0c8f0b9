"""Declared settings against Meta's."""

from controller.planning.settings_drift import change_for, drift_of
from controller.ports.meta import CatalogAtMeta, CatalogChange
from tests.unit.planning.examples import catalog

IMAGE = "https://shop.example/default.jpg"


def test_only_declared_settings_are_compared() -> None:
    at_meta = CatalogAtMeta("1", "ACME", default_image_url="https://else.example/x.jpg")
    assert drift_of(catalog().spec, at_meta) == ()


def test_each_difference_is_named_by_its_field() -> None:
    spec = catalog(settings={"defaultImageURL": IMAGE, "fallbackImageURLs": [IMAGE]}).spec
    found = drift_of(spec, CatalogAtMeta("1", "Another"))
    assert [(one.field, one.declared, one.at_meta) for one in found] == [
        ("name", "ACME", "Another"),
        ("settings.defaultImageURL", IMAGE, ""),
        ("settings.fallbackImageURLs", IMAGE, ""),
    ]


def test_only_what_differs_is_written() -> None:
    spec = catalog(settings={"defaultImageURL": IMAGE}).spec
    found = drift_of(spec, CatalogAtMeta("1", "ACME"))
    assert change_for(spec, found) == CatalogChange(default_image_url=IMAGE)


def test_equal_settings_are_in_step() -> None:
    spec = catalog(settings={"defaultImageURL": IMAGE, "fallbackImageURLs": [IMAGE]}).spec
    at_meta = CatalogAtMeta("1", "ACME", default_image_url=IMAGE, fallback_image_urls=(IMAGE,))
    assert drift_of(spec, at_meta) == ()
