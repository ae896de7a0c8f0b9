"""Where a catalog's settings at Meta differ from the declared ones: one typed comparison per field.

Only declared settings are compared; what the spec leaves out is Meta's business.
"""

from collections.abc import Iterable

from controller.api.v1alpha1.catalog import CatalogSpec, Drift
from controller.ports.meta import CatalogAtMeta, CatalogChange


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
    return tuple(drift)


def change_for(spec: CatalogSpec, drift: Iterable[Drift]) -> CatalogChange:
    """Only what differs is written."""
    fields = {entry.field for entry in drift}
    return CatalogChange(
        name=spec.name if "name" in fields else None,
        default_image_url=spec.settings.default_image_url if "settings.defaultImageURL" in fields else None,
        fallback_image_urls=spec.settings.fallback_image_urls if "settings.fallbackImageURLs" in fields else None,
    )
