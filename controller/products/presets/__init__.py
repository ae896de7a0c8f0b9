"""Exports that people really have: which of their columns are which fields, what is a parent, what a variant.

A preset adds columns to the rows of a source and leaves rows out that are nothing to sell: parents of variants, drafts,
hidden products. Those are counted by name and are no rejected rows. What the mapping declares wins over the preset.
"""

from collections.abc import Sequence

from controller.api.v1alpha1.items import Preset
from controller.products.assembly import Assembly
from controller.products.presets.feeds import GoogleMerchant, MetaTemplate
from controller.products.presets.magento import Magento
from controller.products.presets.shopify import Shopify
from controller.products.presets.woocommerce import WooCommerce

_ASSEMBLIES: dict[Preset, type[Shopify | WooCommerce | Magento | GoogleMerchant | MetaTemplate]] = {
    Preset.SHOPIFY: Shopify,
    Preset.WOO_COMMERCE: WooCommerce,
    Preset.MAGENTO: Magento,
    Preset.GOOGLE_MERCHANT: GoogleMerchant,
    Preset.META_TEMPLATE: MetaTemplate,
}
_ADDRESSES = {
    Preset.SHOPIFY: {"link": "https://YOUR-SHOP/products/{Handle}"},
    Preset.WOO_COMMERCE: {"link": "https://YOUR-SHOP/?p={ID}"},
    Preset.MAGENTO: {
        "link": "https://YOUR-SHOP/{url_key}.html",
        "image_link": "https://YOUR-SHOP/media/catalog/product{base_image}",
    },
}
"""What an export does not contain, and the template that makes it."""


def assembly(preset: Preset, available: Sequence[str]) -> Assembly:
    return _ASSEMBLIES[preset](available)


def is_row_local(preset: Preset) -> bool:
    return _ASSEMBLIES[preset].ROW_LOCAL


def is_record_by_record(preset: Preset) -> bool:
    """Meta's template has lines that are no items."""
    return is_row_local(preset) and preset is not Preset.META_TEMPLATE


def hint(preset: Preset | None, field: str) -> str:
    """Words that end a message about a field that an export lacks."""
    template = _ADDRESSES.get(preset, {}).get(field) if preset is not None else None
    return f", or, as {preset} exports have none, in mapping.templates: {template}" if template else ""
