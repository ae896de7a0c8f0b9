"""Product items: listings of a catalog and of a feed, and single items."""

import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import chain

from hack.emulator import jsons, messages, params
from hack.emulator.documented import Provenance, behaviour, documented
from hack.emulator.items import ID_BASE, Item
from hack.emulator.params import Param
from hack.emulator.routing import Call, FieldDef, Named, NodeRef, Page, Subject, Type, fields, not_yet, route
from hack.emulator.sections.catalog import item_rules
from hack.emulator.sections.catalog.product_catalog import catalog_of
from hack.emulator.sections.catalog.product_feed import feed_of
from hack.emulator.sections.graph_api import paging

SYMBOLS = {
    "USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "CNY": "¥", "INR": "₹", "KRW": "₩", "BRL": "R$", "AUD": "A$",
    "CAD": "CA$", "MXN": "MX$", "TRY": "₺", "PLN": "zł", "CZK": "Kč", "SEK": "kr", "NOK": "kr", "DKK": "kr",
    "HUF": "Ft",
    "CHF": "CHF", "ILS": "₪", "NZD": "NZ$", "HKD": "HK$", "THB": "฿", "VND": "₫", "PHP": "₱",
}  # fmt: skip
# Currency codes: those without a minor unit.
WHOLE = frozenset({"CLP", "COP", "CRC", "HUF", "IDR", "ISK", "JPY", "KRW", "PYG", "TWD", "VND"})
REVIEW_SECONDS = 600.0  # until a new or changed item is approved
RENAMED = {
    "retailer_id": "id", "name": "title", "url": "link", "image_url": "image_link",
    "category": "google_product_category",
    "manufacturer_part_number": "mpn", "retailer_product_group_id": "item_group_id",
}  # fmt: skip
SAME = (
    "description", "availability", "condition", "brand", "gtin", "fb_product_category", "product_type",
    "rich_text_description", "short_description", "color", "size", "gender", "age_group", "material", "pattern",
    "expiration_date", "mobile_link", "origin_country", "importer_name", "manufacturer_info", "vendor_id",
    "wa_compliance_category", "commerce_tax_category",
    *(f"custom_label_{n}" for n in range(5)),
    *(f"custom_number_{n}" for n in range(5)),
)  # fmt: skip
INTEGERS = ("quantity_to_sell_on_facebook", "inventory", "ordering_index")
DOCUMENTS = {
    "images": "image", "applinks": "applink", "importer_address": "importer_address", "videos": "video",
    "capabilities_disabled_by_user": "disabled_capabilities", "product_disclosures": "product_disclosures",
}  # fmt: skip
EMPTY = (
    "additional_image_cdn_urls", "image_cdn_urls", "capability_to_review_status", "review_rejection_reasons",
    "invalidation_errors",
)  # fmt: skip
NOT_HERE = (
    "affiliate_seller_rating", "affiliate_seller_rating_count", "base_commission_rate", "bundle_items",
    "bundle_retailer_ids", "category_ranking", "category_specific_fields", "commerce_insights", "custom_data",
    "generated_background_images", "generated_background_images_ad_usage", "is_bundle_hero", "live_special_price",
    "marked_for_product_launch", "overall_ranking", "parent_product_id",
    "post_conversion_signal_based_enforcement_appeal_eligibility", "product_local_info", "product_relationship",
    "start_date", "native_commerce",
)  # fmt: skip

behaviour(
    "item.price_read",
    page="Product Item",
    section="Reading",
    provenance=Provenance.REPORTED,
    says="price and sale_price are read as formatted text with a currency symbol, the currency apart",
)
behaviour(
    "item.reads_lag",
    page="Product Catalog Items Batch",
    section="Reading back",
    provenance=Provenance.REPORTED,
    says="items are readable some seconds to a minute after the session that changed them",
)


def item_of(subject: Subject) -> Item:
    assert isinstance(subject, Item), "a route of ProductItem"
    return subject


def _values(call: Call, subject: Subject) -> dict[str, str]:
    item = item_of(subject)
    return call.world.items.decode(item.layout, item.row)


def formatted(price: str) -> str | None:
    """£34.00, $1,234.50, ¥1,200."""
    found = item_rules.price_of(price)
    if found is None:
        return None
    amount, currency = found
    digits = 0 if currency in WHOLE else 2
    return f"{SYMBOLS.get(currency, currency)}{amount.quantize(Decimal(1).scaleb(-digits)):,}"


def _price(name: str) -> FieldDef:
    return FieldDef(lambda call, subject: formatted(_values(call, subject).get(name, "")))


def _currency(call: Call, subject: Subject) -> jsons.Json:
    found = item_rules.price_of(_values(call, subject).get("price", ""))
    return found[1] if found else None


def _text(name: str, *, default: bool = False) -> FieldDef:
    return FieldDef(lambda call, subject: _values(call, subject).get(name), default=default)


def _integer(name: str) -> FieldDef:
    def read(call: Call, subject: Subject) -> jsons.Json:
        value = _values(call, subject).get(name, "")
        return int(Decimal(value)) if value else None

    return FieldDef(read)


def _document(name: str) -> FieldDef:
    def read(call: Call, subject: Subject) -> jsons.Json:
        value = _values(call, subject).get(name, "")
        try:
            return jsons.parse(value) if value else None
        except ValueError:
            return value

    return FieldDef(read)


def _sale_date(place: int) -> FieldDef:
    def read(call: Call, subject: Subject) -> jsons.Json:
        parts = _values(call, subject).get("sale_price_effective_date", "").split("/")
        return parts[place] if len(parts) == 2 else None

    return FieldDef(read)


def _additional_images(call: Call, subject: Subject) -> jsons.Json:
    value = _values(call, subject).get("additional_image_link", "")
    return (
        jsons.as_list(jsons.parse(value))
        if value.startswith("[")
        else [one for one in re.split(r"[,;| ]+", value) if one]
    )


def _tags(call: Call, subject: Subject) -> jsons.Json:
    value = _values(call, subject).get("internal_label", "")
    found = jsons.as_list(jsons.parse(value)) if value.startswith("[") else [one for one in value.split(",") if one]
    return [str(one).lower().strip() for one in found]


def _visibility(call: Call, subject: Subject) -> str:
    values = _values(call, subject)
    hidden = values.get("status") == "archived" or values.get("visibility") in ("staging", "hidden")
    return "staging" if hidden else "published"


def _review(call: Call, subject: Subject) -> str:
    return "approved" if call.now - item_of(subject).changed >= REVIEW_SECONDS else "pending"


def _feed(call: Call, subject: Subject) -> NodeRef | None:
    feed = call.world.feeds.get(item_of(subject).owner)
    return NodeRef(Type.FEED, feed) if feed is not None else None


def _group(call: Call, subject: Subject) -> NodeRef | None:
    name = _values(call, subject).get("item_group_id") or item_of(subject).rid
    number = int(call.world.draw("group", item_of(subject).catalog, name) * 10**15) + 10**15
    return NodeRef(Type.GROUP, Named(str(number), name))


fields(
    Type.ITEM,
    {
        "id": FieldDef(lambda _, subject: item_of(subject).id, default=True),
        **{name: _text(own, default=name in ("name", "retailer_id")) for name, own in RENAMED.items()},
        **{name: _text(name) for name in SAME},
        **{name: _integer(name) for name in INTEGERS},
        **{name: _document(own) for name, own in DOCUMENTS.items()},
        **{name: FieldDef(lambda *_: []) for name in EMPTY},
        **{name: FieldDef(lambda *_: None, not_yet="Product Item: rarely used fields") for name in NOT_HERE},
        "price": _price("price"),
        "sale_price": _price("sale_price"),
        "currency": FieldDef(_currency),
        "sale_price_start_date": _sale_date(0),
        "sale_price_end_date": _sale_date(1),
        "additional_image_urls": FieldDef(_additional_images),
        "additional_variant_attributes": _text("additional_variant_attribute"),
        "tags": FieldDef(_tags),
        "visibility": FieldDef(_visibility),
        "status": FieldDef(lambda call, subject: _visibility(call, subject).upper()),
        "review_status": FieldDef(_review),
        "image_fetch_status": FieldDef(
            lambda call, subject: "FETCHED" if _review(call, subject) == "approved" else "NO_STATUS"
        ),
        "video_fetch_status": FieldDef(lambda *_: "NO_STATUS"),
        "shipping_weight_value": FieldDef(lambda *_: None, not_yet="Product Item: shipping weight"),
        "shipping_weight_unit": FieldDef(lambda *_: None, not_yet="Product Item: shipping weight"),
        "errors": FieldDef(lambda *_: None, not_yet="Catalog diagnostics"),
        "product_feed": FieldDef(_feed),
        "product_group": FieldDef(_group),
        "product_catalog": FieldDef(
            lambda call, subject: NodeRef(Type.CATALOG, call.world.catalogs[item_of(subject).catalog])
        ),
    },
)
fields(
    Type.GROUP,
    {
        "id": FieldDef(lambda _, subject: subject.id if isinstance(subject, Named) else None, default=True),
        "retailer_id": FieldDef(lambda _, subject: subject.name if isinstance(subject, Named) else None, default=True),
    },
)
not_yet(
    Type.ITEM,
    {
        "product_sets": "Product sets",
        "channels_to_integrity_status": "Catalog diagnostics",
        "videos_metadata": "Product Item: videos_metadata",
    },
)


# -- filter

LISTING = (
    Param("filter", params.mapping),
    Param("bulk_pagination", params.boolean),
    Param("error_priority", params.one_of("HIGH", "MEDIUM", "LOW")),
    Param("error_type", params.text),
)


def wanted_ids(clause: jsons.Object) -> list[str] | None:
    """The ids that a filter names; None for the empty filter, which matches everything."""
    if not clause:
        return None
    operators = jsons.as_object(clause.get("retailer_id"))
    if list(clause) == ["and"] and len(jsons.as_list(clause["and"])) == 1:
        return wanted_ids(jsons.as_object(jsons.as_list(clause["and"])[0]))
    if list(clause) != ["retailer_id"] or len(operators) != 1:
        raise messages.not_built("Product sets: filter grammar beyond retailer_id with eq or is_any")
    operator, value = next(iter(operators.items()))
    if operator == "eq" and isinstance(value, str):
        return [value]
    if operator == "is_any" and isinstance(value, list) and all(isinstance(one, str) for one in value):
        return [str(one) for one in value]
    raise messages.not_built("Product sets: filter grammar beyond retailer_id with eq or is_any")


def _listing(call: Call, catalog: int, owner: int | None) -> Page:
    if call.parameters.get("error_priority") or call.parameters.get("error_type"):
        raise messages.not_built("Catalog diagnostics")
    named = wanted_ids(call.mapping("filter"))
    if named is not None:
        found = _named(call, catalog, owner, named)
        return paging.window(call, found, lambda item: item.n, lambda item: NodeRef(Type.ITEM, item))
    limit = paging.limit_of(call, bulk=call.flag("bulk_pagination", default=False))
    if call.raw.get("before"):
        return _page_before(call, catalog, owner, limit)
    after = paging.place_of(str(call.raw["after"])) if call.raw.get("after") else 0
    raw = call.world.items.page(catalog, owner, after=after, limit=limit + 1)
    rows = sorted(chain(raw, (one for one in _ghosts(call, catalog, owner) if one.n > after)), key=lambda item: item.n)
    return _page(call, catalog, owner, rows[:limit], more=len(rows) > limit, earlier=after > 0)


def _page_before(call: Call, catalog: int, owner: int | None, limit: int) -> Page:
    before = paging.place_of(str(call.raw["before"]))
    rows = call.world.items.page_before(catalog, owner, before=before, limit=limit + 1)
    return _page(call, catalog, owner, rows[-limit:], more=True, earlier=len(rows) > limit)


def _page(call: Call, catalog: int, owner: int | None, rows: Sequence[Item], *, more: bool, earlier: bool) -> Page:
    """A page may show fewer rows than it spans: what reads don't see yet is left out."""
    ghosts = {one.n for one in _ghosts(call, catalog, owner)}
    there = [item for item in rows if item.n in ghosts]
    seen = sorted(
        chain(there, _seen(call, [item for item in rows if item.n not in ghosts], owner)), key=lambda item: item.n
    )
    return Page(
        nodes=[NodeRef(Type.ITEM, item) for item in seen],
        before=paging.cursor(rows[0].n) if rows else "",
        after=paging.cursor(rows[-1].n) if rows else "",
        more=more,
        earlier=earlier,
        total=lambda: call.world.items.count(catalog, owner),
    )


def _seen(call: Call, rows: Sequence[Item], owner: int | None) -> list[Item]:
    """Rows as reads see them now."""
    if not call.world.reads.past:
        return list(rows)
    seen = [call.world.reads.seen(item, call.now) for item in rows]
    return [item for item in seen if item is not None and (owner is None or item.owner == owner)]


def _ghosts(call: Call, catalog: int, owner: int | None) -> list[Item]:
    return [
        item
        for item in call.world.reads.ghosts(call.now)
        if item.catalog == catalog and (owner is None or item.owner == owner)
    ]


def _named(call: Call, catalog: int, owner: int | None, rids: Sequence[str]) -> list[Item]:
    wanted = sorted(set(rids))
    present = call.world.items.get_many(catalog, wanted)
    rows = [item for item in present.values() if owner is None or item.owner == owner]
    names = set(wanted)
    ghosts = [item for item in _ghosts(call, catalog, owner) if item.rid in names]
    return sorted(chain(_seen(call, rows, owner), ghosts), key=lambda item: item.n)


@documented(
    "item.list",
    page="Product Catalog Products",
    section="Reading",
    says="GET products of a catalog or a feed, filtered by retailer_id with eq or is_any",
)
@route(
    "GET",
    Type.CATALOG,
    "products",
    params=[*LISTING, Param("return_only_approved_products", params.boolean)],
    answers=Type.ITEM,
    paged=True,
)
async def of_catalog(call: Call, subject: Subject) -> Page:
    if call.flag("return_only_approved_products", default=False):
        raise messages.not_built("Product Catalog Products: return_only_approved_products")
    return _listing(call, catalog_of(subject).id, None)


@route("GET", Type.FEED, "products", params=LISTING, answers=Type.ITEM, paged=True)
async def of_feed(call: Call, subject: Subject) -> Page:
    return _listing(call, feed_of(subject).catalog, feed_of(subject).id)


behaviour(
    "override.read",
    page="Product Item",
    section="Reading",
    provenance=Provenance.SDK,
    says="override_country and override_language show an item as it is for a country and in a language",
)


@documented(
    "item.read", page="Product Item", section="Reading", says="fields of an item; id, name and retailer_id by default"
)
@route(
    "GET",
    Type.ITEM,
    params=[Param("override_country", params.country), Param("override_language", params.text)],
)
async def read(call: Call, subject: Subject) -> NodeRef:
    country, language = call.text("override_country"), call.text("override_language")
    if not country and not language:
        return NodeRef(Type.ITEM, subject)
    item = call.world.overrides.shown(item_of(subject), call.now, language=language, country=country)
    return NodeRef(Type.ITEM, item)


async def _direct(_call: Call, _subject: Subject) -> jsons.Json:
    raise messages.not_built("Product Item: direct create, update and delete")


for _method, _type, _edge in (("POST", Type.ITEM, ""), ("DELETE", Type.ITEM, ""), ("POST", Type.CATALOG, "products")):
    route(_method, _type, _edge)(_direct)


def number_of(id: str) -> int:  # noqa: A002
    """The table's number behind a Graph id; 0 where it can't be an item."""
    return int(id) - ID_BASE if params.is_digits(id) and int(id) > ID_BASE else 0
