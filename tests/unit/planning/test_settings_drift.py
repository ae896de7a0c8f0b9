"""Declared settings against Meta's."""

from controller.planning.settings_drift import change_for, drift_of, unreadable
from controller.ports.meta import CatalogAtMeta, CatalogChange, DisplaySettings
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


DISPLAY = {
    "carouselAd": {"transformationType": "BackgroundPadding"},
    "singleAd": {"transformationType": "None"},
}


def test_how_images_are_shown_is_compared_and_written_whole() -> None:
    spec = catalog(settings={"daDisplaySettings": DISPLAY}).spec
    found = drift_of(spec, CatalogAtMeta("1", "ACME", display=DisplaySettings("none", "none")))
    assert [(one.field, one.declared, one.at_meta) for one in found] == [
        (
            "settings.daDisplaySettings",
            "carousel_ad background_padding, single_ad none",
            "carousel_ad none, single_ad none",
        )
    ]
    assert change_for(spec, found) == CatalogChange(display=DisplaySettings("background_padding", "none"))
    assert drift_of(spec, CatalogAtMeta("1", "ACME", display=DisplaySettings("background_padding", "none"))) == ()


def test_what_meta_does_not_return_is_no_drift_and_is_written_with_the_spec() -> None:
    spec = catalog(settings={"additionalVerticalOption": "LocalProducts"}).spec
    assert drift_of(spec, CatalogAtMeta("1", "ACME")) == ()
    assert unreadable(spec) == CatalogChange(additional_vertical_option="LOCAL_PRODUCTS")
    assert unreadable(catalog().spec) == CatalogChange()
