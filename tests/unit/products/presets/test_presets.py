"""Exports that people have, with their real headers: parents, variants, images, and what is not sellable."""

import pytest

from controller.api.v1alpha1.items import Preset
from controller.faults import Fault
from controller.products import mapping, presets
from tests.unit.preparing.world import items_entry
from tests.unit.products.reads import EXPORTS, Export, export

SHOPIFY = {
    "preset": "Shopify",
    "templates": [{"field": "link", "template": "https://shop.example/products/{Handle}?sku={Variant SKU}"}],
}
WOO = {"preset": "WooCommerce", "templates": [{"field": "link", "template": "https://shop.example/?p={ID}"}]}
MAGENTO = {
    "preset": "Magento",
    "templates": [
        {"field": "link", "template": "https://shop.example/{url_key}.html"},
        {"field": "image_link", "template": "https://shop.example/media/catalog/product{base_image}"},
    ],
}


def test_rows_of_a_shopify_product_inherit_what_belongs_to_it() -> None:
    found = export("shopify.csv", SHOPIFY, currency="EUR")
    assert found.ids == ["COAT-S-BLUE", "COAT-M-BLUE", "COAT-M-RED", "MUG"]
    assert found.rejected == {}
    assert found.item("COAT-M-RED") == {
        "id": "COAT-M-RED",
        "title": "Wool Coat",
        "description": "Warm & light. Two pockets",
        "rich_text_description": "<p>Warm &amp; light.</p><ul><li>Two pockets</li></ul>",
        "availability": "in stock",
        "condition": "new",
        "price": "99.00 EUR",
        "link": "https://shop.example/products/wool-coat?sku=COAT-M-RED",
        "image_link": "https://cdn.shop.example/coat-red.jpg",
        "additional_image_link": "https://cdn.shop.example/coat-2.jpg,https://cdn.shop.example/coat-3.jpg",
        "brand": "ACME",
        "item_group_id": "wool-coat",
        "google_product_category": "Apparel & Accessories > Clothing",
        "product_type": "Coats",
        "color": "Red",
        "size": "M",
        "gender": "female",
        "age_group": "adult",
        "custom_label_0": "winter",
        "status": "active",
    }


def test_a_shopify_variant_has_its_own_price_stock_and_options() -> None:
    found = export("shopify.csv", SHOPIFY, currency="EUR")
    reduced, sold_out, single = found.item("COAT-S-BLUE"), found.item("COAT-M-BLUE"), found.item("MUG")
    assert (reduced["price"], reduced["sale_price"]) == ("99.00 EUR", "79.00 EUR")
    assert reduced["additional_variant_attribute"] == "Lining:Silk  thin"
    assert reduced["gtin"] == "4006381333931"
    assert (sold_out["availability"], sold_out["quantity_to_sell_on_facebook"]) == ("out of stock", "0")
    assert sold_out["image_link"] == "https://cdn.shop.example/coat-1.jpg"
    assert "item_group_id" not in single
    assert "size" not in single


def test_what_a_shop_does_not_sell_is_counted_and_not_rejected() -> None:
    found = export("shopify.csv", SHOPIFY, currency="EUR").finding("not-sellable")
    assert (found.level, found.count, found.sample_ids) == ("Advice", 3, ("old-hat", "old-hat", "draft"))


@pytest.mark.parametrize("block_bytes", [1, 64, 300, 1_000])
def test_a_shopify_product_may_lie_across_blocks(block_bytes: int) -> None:
    content = (EXPORTS / "shopify.csv").read_bytes()
    whole = Export(content, mapping=SHOPIFY, currency="EUR")
    pieces = Export(content, block_bytes, mapping=SHOPIFY, currency="EUR")
    assert pieces.rows.equals(whole.rows)


def test_a_changed_parent_changes_its_children() -> None:
    content = (EXPORTS / "shopify.csv").read_bytes()
    before = Export(content, mapping=SHOPIFY, currency="EUR")
    after = Export(content.replace(b"Wool Coat", b"Warm Coat"), mapping=SHOPIFY, currency="EUR")
    changed = {name for name in before.ids if before.item(name) != after.item(name)}
    assert changed == {"COAT-S-BLUE", "COAT-M-BLUE", "COAT-M-RED"}
    assert not before.plan.row_local


def test_woocommerce_variations_find_their_parents_by_number_and_by_sku() -> None:
    found = export("woocommerce.csv", WOO, currency="EUR")
    assert found.ids == ["album", "60", "hoodie-green", "tee-s"]
    assert found.rejected == {}
    blue, green, small = (found.item(name) for name in ("60", "hoodie-green", "tee-s"))
    assert blue["item_group_id"] == green["item_group_id"] == "hoodie"
    assert small["item_group_id"] == "90"
    assert blue["description"] == green["description"] == "Soft cotton."
    assert blue["image_link"] == "https://shop.example/h-blue.jpg"
    assert green["image_link"] == "https://shop.example/h1.jpg"
    assert green["additional_image_link"] == "https://shop.example/h2.jpg"
    assert (blue["color"], blue["additional_variant_attribute"], small["size"]) == ("Blue", "Logo:Yes", "S")
    assert (blue["availability"], green["availability"]) == ("in stock", "available for order")
    assert blue["link"] == "https://shop.example/?p=60"
    assert small["brand"] == "ACME"


def test_a_woocommerce_sale_has_its_dates() -> None:
    album = export("woocommerce.csv", WOO, currency="EUR").item("album")
    assert (album["price"], album["sale_price"]) == ("15.00 EUR", "9.00 EUR")
    assert album["sale_price_effective_date"] == "2026-01-01T00:00Z/2026-02-01T23:59Z"
    assert (album["availability"], album["quantity_to_sell_on_facebook"]) == ("out of stock", "0")
    assert album["gtin"] == "4006381333931"


@pytest.mark.parametrize("stock", ["inf", "1e309", "NaN", "many", "-3", "9" * 30])
def test_a_stock_that_is_no_number_is_none(stock: str) -> None:
    woo = (EXPORTS / "woocommerce.csv").read_text(encoding="utf-8").replace(",1,7,", f",1,{stock},")
    magento = (EXPORTS / "magento.csv").read_text(encoding="utf-8").replace(",5.0000,", f",{stock},")
    found = Export(woo.encode(), mapping=WOO, currency="EUR"), Export(magento.encode(), mapping=MAGENTO, currency="EUR")
    assert "quantity_to_sell_on_facebook" not in found[0].item("60")
    assert "quantity_to_sell_on_facebook" not in found[1].item("shirt-black")


def test_woocommerce_parents_and_drafts_are_counted() -> None:
    found = export("woocommerce.csv", WOO, currency="EUR").finding("not-sellable")
    assert (found.count, found.sample_ids) == (4, ("Hoodie", "Set", "Draft", "Tee"))


def test_magento_children_are_found_by_their_parents() -> None:
    found = export("magento.csv", MAGENTO, currency="EUR")
    assert found.ids == ["shirt-black", "shirt-red", "bag"]
    assert found.rejected == {}
    black, red, bag = (found.item(name) for name in found.ids)
    assert black["item_group_id"] == red["item_group_id"] == "shirt"
    assert "item_group_id" not in bag
    assert black["description"] == "Linen shirt"
    assert black["image_link"] == "https://shop.example/media/catalog/product/s/h/shirt.jpg"
    assert red["image_link"] == "https://shop.example/media/catalog/product/s/h/shirt-red.jpg"
    assert black["link"] == red["link"] == "https://shop.example/shirt.html"
    assert (black["color"], black["size"], red["color"]) == ("Black", "S", "Red")
    assert black["additional_variant_attribute"] == "fit:slim"
    assert (red["sale_price"], red["availability"]) == ("19.00 EUR", "out of stock")
    assert bag["product_type"] == "Gear > Bags"
    assert bag["brand"] == "ACME"
    assert found.finding("not-sellable").count == 5


def test_google_names_and_words_become_metas() -> None:
    found = export("google_merchant.tsv", {"preset": "GoogleMerchant"})
    assert found.rejected == {}
    one, two = found.item("SKU1"), found.item("SKU2")
    assert one["quantity_to_sell_on_facebook"] == "5"
    assert one["additional_image_link"].count("https://") == 2
    assert (one["availability"], two["availability"]) == ("in stock", "available for order")
    assert one["item_group_id"] == "G1"
    assert found.plan.row_local


def test_nested_shipping_of_a_google_feed_becomes_one_cell() -> None:
    shipping = "<g:shipping><g:country>{}</g:country>{}<g:price>{}</g:price></g:shipping>"
    again = (
        "<item><g:id>2</g:id><g:price>5 EUR</g:price>"
        + shipping.format("FR", "", "3.99 EUR")
        + "</item></channel></rss>"
    )
    content = (
        '<?xml version="1.0"?><rss xmlns:g="http://base.google.com/ns/1.0"><channel>'
        "<item><g:id>1</g:id><title>Coat</title><description>A coat</description><link>https://shop.example/1</link>"
        "<g:image_link>https://shop.example/1.jpg</g:image_link><g:availability>in_stock</g:availability>"
        "<g:additional_image_link>https://shop.example/2.jpg</g:additional_image_link>"
        "<g:additional_image_link>https://shop.example/3.jpg</g:additional_image_link>"
        "<g:condition>new</g:condition><g:price>9.90 EUR</g:price><g:brand>ACME</g:brand>"
        + shipping.format("DE", "<g:service>Post</g:service>", "4.99 EUR")
        + shipping.format("AT", "", "7.99 EUR")
        + "</item>"
        + again
    )
    found = Export(content.encode(), mapping={"preset": "GoogleMerchant"})
    item = found.item("1")
    assert item["shipping"] == "DE::Post:4.99 EUR,AT:::7.99 EUR"
    assert item["additional_image_link"] == "https://shop.example/2.jpg,https://shop.example/3.jpg"
    assert found.item("2")["shipping"] == "FR:::3.99 EUR"
    assert found.rejected.keys() == {"2"}


def test_descriptions_of_metas_template_are_no_items() -> None:
    found = export("meta_template.csv", {"preset": "MetaTemplate"})
    assert found.ids == ["FB_1"]
    assert found.rejected == {}
    item = found.item("FB_1")
    assert item["internal_label"] == "['winter','sale']"
    assert item["video[0].url"] == "https://shop.example/1.mp4"
    assert found.plan.row_local


def test_what_is_declared_wins_over_the_preset() -> None:
    declared = {
        **SHOPIFY,
        "columns": [{"field": "id", "column": "Variant Barcode"}],
        "constants": [{"field": "brand", "value": "Other"}],
        "values": [{"field": "color", "from": "Blue", "to": "Navy"}],
    }
    found = export("shopify.csv", declared, currency="EUR")
    item = found.item("'4006381333931")
    assert (item["brand"], item["color"]) == ("Other", "Navy")


@pytest.mark.parametrize("preset", list(Preset))
def test_another_export_is_told_by_its_columns(preset: Preset) -> None:
    with pytest.raises(Fault) as caught:
        mapping.plan(items_entry(mapping={"preset": str(preset)}), ["Artikel", "Preis"])
    assert caught.value.reason == "MappingInvalid"
    assert f"mapping.preset: {preset}" in caught.value.message
    assert "'Artikel'" in caught.value.message


@pytest.mark.parametrize(("preset", "name"), [("Shopify", "shopify.csv"), ("WooCommerce", "woocommerce.csv")])
def test_an_export_without_addresses_says_which_template_makes_them(preset: str, name: str) -> None:
    with pytest.raises(Fault) as caught:
        export(name, {"preset": preset}, currency="EUR")
    assert "required field link" in caught.value.message
    assert presets.hint(Preset(preset), "link") in caught.value.message


def test_which_presets_are_row_local() -> None:
    local = {preset for preset in Preset if presets.is_row_local(preset)}
    assert local == {Preset.GOOGLE_MERCHANT, Preset.META_TEMPLATE}
