"""Product catalogs: create, list, read, update, delete."""

from hack.emulator import bodies, jsons, messages, params
from hack.emulator.documented import Provenance, behaviour, documented
from hack.emulator.params import Param
from hack.emulator.routing import (
    Bucket,
    Call,
    FieldDef,
    Named,
    NodeRef,
    Page,
    Subject,
    Type,
    fields,
    not_yet,
    route,
)
from hack.emulator.sections.catalog import removal
from hack.emulator.sections.graph_api import paging
from hack.emulator.world import Catalog

VERTICALS = (
    "adoptable_pets", "apps_and_software", "articles_and_publications", "commerce", "destinations", "flights",
    "generic", "home_listings", "hotels", "jobs", "local_service_businesses", "media_titles", "offer_items",
    "offline_commerce", "professional_services", "services", "transactable_items", "vehicles",
)  # fmt: skip
TRANSFORMATIONS = ("background_cropping_and_padding", "background_padding", "none")
NAME_MAX = 500  # characters; more than any catalog name in use
DISPLAY_KINDS = ("carousel_ad", "single_ad")


def display_settings(name: str, value: bodies.Value) -> jsons.Object:
    """Both kinds are required inside, each with a transformation that exists."""
    found = params.mapping(name, value)
    for kind in DISPLAY_KINDS:
        chosen = jsons.as_object(found.get(kind)).get("transformation_type")
        if chosen not in TRANSFORMATIONS:
            raise messages.invalid(
                f"Param {name}[{kind}][transformation_type] must be one of {{{', '.join(TRANSFORMATIONS)}}}", name
            )
    return found


SETTINGS = (
    Param("additional_vertical_option", params.one_of("LOCAL_DA_CATALOG", "LOCAL_PRODUCTS")),
    Param("da_display_settings", display_settings),
    Param("destination_catalog_settings", params.mapping),
    Param("flight_catalog_settings", params.mapping),
    Param("partner_integration", params.mapping),
    Param("store_catalog_settings", params.mapping),
    Param("checkout_country", params.country),
    Param("checkout_url", params.web_address),
)
CREATE = (
    Param("name", params.filled, required=True),
    Param("vertical", params.one_of(*VERTICALS)),
    Param("catalog_segment_filter", params.mapping),
    Param("catalog_segment_product_set_id", params.number_id),
    Param("parent_catalog_id", params.number_id),
    Param("business_metadata", params.mapping),
    *SETTINGS,
)
UPDATE = (
    Param("name", params.filled),
    Param("default_image_url", params.web_address),
    Param("fallback_image_url", params.array),
    *SETTINGS,
)


def catalog_of(subject: Subject) -> Catalog:
    assert isinstance(subject, Catalog), "a route of ProductCatalog"
    return subject


def _merchant(call: Call, subject: Subject) -> jsons.Json:
    if call.world.switches.onsite_checkout == "absent":
        return None
    return {"id": str(catalog_of(subject).id + 1), "cta": "ONSITE_CHECKOUT"}


def _owner(call: Call, subject: Subject) -> NodeRef:
    business = catalog_of(subject).business
    return NodeRef(Type.BUSINESS, Named(business, call.world.businesses.get(business, "")))


def _setting(name: str) -> FieldDef:
    return FieldDef(lambda _, subject: catalog_of(subject).settings.get(name))


fields(
    Type.CATALOG,
    {
        "id": FieldDef(lambda _, subject: str(catalog_of(subject).id), default=True),
        "name": FieldDef(lambda _, subject: catalog_of(subject).name, default=True),
        "vertical": FieldDef(lambda _, subject: catalog_of(subject).vertical),
        "business": FieldDef(_owner),
        "owner_business": FieldDef(_owner),
        "product_count": FieldDef(lambda call, subject: call.world.items.count(catalog_of(subject).id)),
        "feed_count": FieldDef(lambda call, subject: len(call.world.by_catalog[catalog_of(subject).id])),
        "default_image_url": _setting("default_image_url"),
        "fallback_image_url": _setting("fallback_image_url"),
        "da_display_settings": _setting("da_display_settings"),
        "store_catalog_settings": _setting("store_catalog_settings"),
        "is_catalog_segment": FieldDef(lambda _, subject: "catalog_segment_filter" in catalog_of(subject).settings),
        "is_local_catalog": FieldDef(lambda _, subject: catalog_of(subject).vertical == "offline_commerce"),
        "commerce_merchant_settings": FieldDef(_merchant),
        "creator_user": FieldDef(lambda *_: None, not_yet="Product Catalog: creator_user"),
        "catalog_store": FieldDef(lambda *_: None, not_yet="Product Catalog: catalog_store"),
        "user_access_expire_time": FieldDef(lambda *_: None),
        "ad_account_to_collaborative_ads_share_settings": FieldDef(lambda *_: None, not_yet="Collaborative Ads"),
        "agency_collaborative_ads_share_settings": FieldDef(lambda *_: None, not_yet="Collaborative Ads"),
    },
)
fields(
    Type.BUSINESS,
    {
        "id": FieldDef(lambda _, subject: subject.id if isinstance(subject, Named) else None, default=True),
        "name": FieldDef(lambda _, subject: subject.name if isinstance(subject, Named) else None, default=True),
    },
)
not_yet(
    Type.CATALOG,
    {
        "agencies": "Product Catalog: agencies",
        "assigned_users": "Product Catalog: assigned_users",
        "automotive_models": "Item types other than products",
        "batch": "Product Catalog: legacy batch",
        "categories": "Product Catalog: categories",
        "catalog_store": "Product Catalog: catalog_store",
        "collaborative_ads_share_settings": "Collaborative Ads",
        "data_sources": "Product Catalog: data_sources",
        "destinations": "Item types other than products",
        "diagnostics": "Catalog diagnostics",
        "event_stats": "Event sources",
        "external_event_sources": "Event sources",
        "flights": "Item types other than products",
        "geolocated_items_batch": "Product Catalog: geolocated_items_batch",
        "home_listings": "Item types other than products",
        "hotel_rooms_batch": "Item types other than products",
        "hotels": "Item types other than products",
        "localized_items_batch": "Localized Items Batch",
        "media_titles": "Item types other than products",
        "pricing_variables_batch": "Item types other than products",
        "product_groups": "Product groups",
        "product_sets": "Product sets",
        "product_sets_batch": "Product sets",
        "subscribed_apps": "Product Catalog: subscribed_apps",
        "update_generated_image_config": "Product Catalog: update_generated_image_config",
        "vehicle_offers": "Item types other than products",
        "vehicles": "Item types other than products",
        "version_configs": "Product Catalog: version_configs",
        "version_items_batch": "Product Catalog: version_items_batch",
    },
)
not_yet(
    Type.BUSINESS,
    {
        "client_product_catalogs": "Business: client_product_catalogs",
        "commerce_merchant_settings": "Commerce Merchant Settings",
        "adspixels": "Event sources",
        "event_source_groups": "Event sources",
        "access_token": "Onboarding",
    },
)
not_yet(Type.ROOT, {"catalog_all_errors": "Catalog diagnostics", "fbe_business": "Onboarding"})

behaviour(
    "catalog.paths",
    page="Product Catalog / Business",
    section="Creating",
    provenance=Provenance.DOCUMENTED,
    says="both /<business>/owned_product_catalogs and the older /<business>/product_catalogs create and list",
)


@documented(
    "catalog.create",
    page="Product Catalog",
    section="Creating",
    says="POST owned_product_catalogs with name, and vertical (default commerce), answers the new id",
)
async def create(call: Call, subject: Subject) -> NodeRef:
    assert isinstance(subject, Named), "a route of Business"
    name = call.text("name")
    if len(name) > NAME_MAX:
        raise messages.invalid("Param name is too long", "name")
    taken = any(one.business == subject.id and one.name == name for one in call.world.catalogs.values())
    if taken and call.world.switches.duplicate_catalog_name == "refused":
        raise messages.catalog_exists(name)
    number = call.world.new_id()
    settings = {one: _kept(call.parameters[one]) for one in call.parameters if one not in ("name", "vertical")}
    catalog = Catalog(
        id=number,
        business=subject.id,
        name=name,
        vertical=call.text("vertical", "commerce"),
        created=call.now,
        visible=call.world.visible_at(call.now, number),
        settings=settings,
    )
    call.world.add(catalog)
    return NodeRef(Type.CATALOG, catalog)


def _kept(value: bodies.Value) -> jsons.Json:
    assert not isinstance(value, bodies.UploadedFile), "no setting is a file"
    return value


async def listed(call: Call, subject: Subject) -> Page:
    assert isinstance(subject, Named), "a route of Business"
    mine = [one for one in call.world.catalogs.values() if one.business == subject.id and one.visible <= call.now]
    return paging.window(call, mine, lambda one: one.id, lambda one: NodeRef(Type.CATALOG, one))


for _edge in ("owned_product_catalogs", "product_catalogs"):
    route("POST", Type.BUSINESS, _edge, params=CREATE, bucket=Bucket.PLATFORM, answers=Type.CATALOG)(create)
    route("GET", Type.BUSINESS, _edge, bucket=Bucket.PLATFORM, answers=Type.CATALOG, paged=True)(listed)


@route("GET", Type.BUSINESS, bucket=Bucket.PLATFORM)
async def read_business(_call: Call, subject: Subject) -> NodeRef:
    return NodeRef(Type.BUSINESS, subject)


@documented(
    "catalog.read", page="Product Catalog", section="Reading", says="fields of a catalog; id and name by default"
)
@route("GET", Type.CATALOG, params=[Param("segment_use_cases", params.array)])
async def read(_call: Call, subject: Subject) -> NodeRef:
    return NodeRef(Type.CATALOG, subject)


@documented(
    "catalog.update",
    page="Product Catalog",
    section="Updating",
    says="name, images and settings can be changed; vertical is not a parameter",
)
@route("POST", Type.CATALOG, params=UPDATE, answers=Type.CATALOG)
async def update(call: Call, subject: Subject) -> jsons.Json:
    catalog = catalog_of(subject)
    catalog.name = call.text("name", catalog.name)
    catalog.settings.update({one: _kept(call.parameters[one]) for one in call.parameters if one != "name"})
    call.world.save(catalog)
    return {"success": True}


@documented(
    "catalog.delete",
    page="Product Catalog",
    section="Deleting",
    says="DELETE answers success; the catalog's feeds and items go with it",
)
@route("DELETE", Type.CATALOG, params=[Param("allow_delete_catalog_with_live_product_set", params.boolean)])
async def delete(call: Call, subject: Subject) -> jsons.Json:
    catalog = catalog_of(subject)
    removal.catalog(call, catalog)
    return {"success": True}
