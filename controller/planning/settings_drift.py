"""Where a catalog's settings at Meta differ from the declared ones: one typed comparison per field.

Only declared settings are compared; what the spec leaves out is Meta's business.
"""

from collections.abc import Iterable

from controller.api.v1alpha1.catalog import CatalogSpec, Drift
from controller.api.v1alpha1.policies import AdditionalVerticalOption, ImageTransformation
from controller.ports.meta import CatalogAtMeta, CatalogChange, DisplaySettings

DISPLAY = "settings.daDisplaySettings"
TRANSFORMATIONS = {
    ImageTransformation.NONE: "none",
    ImageTransformation.BACKGROUND_PADDING: "background_padding",
    ImageTransformation.BACKGROUND_CROPPING_AND_PADDING: "background_cropping_and_padding",
}
VERTICAL_OPTIONS = {
    AdditionalVerticalOption.LOCAL_DA_CATALOG: "LOCAL_DA_CATALOG",
    AdditionalVerticalOption.LOCAL_PRODUCTS: "LOCAL_PRODUCTS",
}
"""Meta: parameters of a product catalog."""


def drift_of(spec: CatalogSpec, at_meta: CatalogAtMeta) -> tuple[Drift, ...]:
    """Differing fields, in the order of the spec."""
    drift = []
    if spec.name != at_meta.name:
        drift.append(Drift(field="name", declared=spec.name, at_meta=at_meta.name))
    image = spec.settings.default_image_url
    if image is not None and image != at_meta.default_image_url:
        drift.append(Drift(field="settings.defaultImageURL", declared=image, at_meta=at_meta.default_image_url or ""))
    images = spec.settings.fallback_image_urls
    if images is not None and images != at_meta.fallback_image_urls:
        drift.append(
            Drift(
                field="settings.fallbackImageURLs",
                declared=", ".join(images)[:2048],
                at_meta=", ".join(at_meta.fallback_image_urls)[:2048],
            )
        )
    display = _display(spec)
    if display is not None and display != at_meta.display:
        drift.append(Drift(field=DISPLAY, declared=_shown(display), at_meta=_shown(at_meta.display)))
    return tuple(drift)


def _display(spec: CatalogSpec) -> DisplaySettings | None:
    declared = spec.settings.da_display_settings
    if declared is None:
        return None
    carousel, single = declared.carousel_ad.transformation_type, declared.single_ad.transformation_type
    return DisplaySettings(TRANSFORMATIONS[carousel], TRANSFORMATIONS[single])


def _shown(display: DisplaySettings | None) -> str:
    return f"carousel_ad {display.carousel_ad}, single_ad {display.single_ad}" if display is not None else ""


def unreadable(spec: CatalogSpec) -> CatalogChange:
    """Declared settings that Meta does not return: they are written with every new version of the spec."""
    option = spec.settings.additional_vertical_option
    return CatalogChange(additional_vertical_option=VERTICAL_OPTIONS[option] if option is not None else None)


def change_for(spec: CatalogSpec, drift: Iterable[Drift]) -> CatalogChange:
    """Only what differs is written."""
    fields = {entry.field for entry in drift}
    return CatalogChange(
        display=_display(spec) if DISPLAY in fields else None,
        name=spec.name if "name" in fields else None,
        default_image_url=spec.settings.default_image_url if "settings.defaultImageURL" in fields else None,
        fallback_image_urls=spec.settings.fallback_image_urls if "settings.fallbackImageURLs" in fields else None,
    )
