"""Product feeds: create, list, read, update, delete."""

from hack.emulator import bodies, jsons, messages, params
from hack.emulator.documented import Provenance, behaviour, documented
from hack.emulator.params import Param
from hack.emulator.routing import Call, FieldDef, NodeRef, Page, Subject, Type, fields, not_yet, route
from hack.emulator.sections.catalog import removal
from hack.emulator.sections.catalog.product_catalog import catalog_of
from hack.emulator.sections.catalog.times import written
from hack.emulator.sections.graph_api import paging
from hack.emulator.world import Feed

DELIMITER = ("AUTODETECT", "BAR", "COMMA", "TAB", "TILDE", "SEMICOLON")
ENCODING = ("AUTODETECT", "LATIN1", "UTF8", "UTF16LE", "UTF16BE", "UTF32LE", "UTF32BE")
FEED_TYPE = (
    "ACTIVITY", "APP_AND_SOFTWARE", "ARTICLE_AND_PUBLICATION", "AUTOMOTIVE_MODEL", "COLLECTION", "DESTINATION",
    "FLIGHT", "HOME_LISTING", "HOTEL", "HOTEL_ROOM", "LOCAL_INVENTORY", "MEDIA_TITLE", "OFFER", "PRODUCTS",
    "PRODUCT_RATINGS_AND_REVIEWS", "SERVICE", "TRANSACTABLE_ITEMS", "VEHICLES", "VEHICLE_OFFER",
)  # fmt: skip
OVERRIDE_TYPE = (
    "LANGUAGE", "COUNTRY", "LANGUAGE_AND_COUNTRY", "LOCAL", "VERSION", "CATALOG_SEGMENT_CUSTOMIZE_DEFAULT",
    "BATCH_API_LANGUAGE_OR_COUNTRY", "SMART_PIXEL_LANGUAGE_OR_COUNTRY",
)  # fmt: skip

SHARED = (
    Param("default_currency", params.currency),
    Param("deletion_enabled", params.boolean),
    Param("delimiter", params.one_of(*DELIMITER)),
    Param("encoding", params.one_of(*ENCODING)),
    Param("migrated_from_feed_id", params.number_id),
    Param("quoted_fields_mode", params.one_of("AUTODETECT", "ON", "OFF")),
    Param("schedule", params.decoded),
    Param("update_schedule", params.decoded),
)
CREATE = (
    Param("name", params.filled, required=True),
    Param("country", params.country),
    Param("feed_type", params.one_of(*FEED_TYPE)),
    Param("file_name", params.text),
    Param("ingestion_source_type", params.one_of("PRIMARY_FEED", "SUPPLEMENTARY_FEED")),
    Param("item_sub_type", params.text),
    Param("override_type", params.one_of(*OVERRIDE_TYPE)),
    Param("override_value", params.text),
    Param("primary_feed_ids", params.array),
    Param("rules", params.array),
    Param("selected_override_fields", params.array),
    Param("update_only", params.boolean),
    Param("use_case", params.one_of("CREATOR_ASSET")),
    *SHARED,
)
UPDATE = (Param("name", params.filled), *SHARED)
LATER = {
    "schedule": "Product Feed Schedule",
    "update_schedule": "Product Feed Schedule",
    "override_type": "Localized feeds",
    "override_value": "Localized feeds",
    "selected_override_fields": "Localized feeds",
    "primary_feed_ids": "Supplementary feeds",
    "rules": "Product Feed Rules",
}
DEFAULTS: jsons.Object = {
    "country": "US",
    "default_currency": "USD",
    "delimiter": "AUTODETECT",
    "encoding": "AUTODETECT",
    "quoted_fields_mode": "AUTODETECT",
    "ingestion_source_type": "PRIMARY_FEED",
}

behaviour(
    "feed.deletion_enabled",
    page="Product Feed",
    section="Creating",
    provenance=Provenance.DOCUMENTED,
    says="deletion_enabled is true unless said otherwise, and once enabled it can't be disabled",
)


def feed_of(subject: Subject) -> Feed:
    assert isinstance(subject, Feed), "a route of ProductFeed"
    return subject


def _setting(name: str) -> FieldDef:
    return FieldDef(lambda _, subject: feed_of(subject).settings.get(name))


def _latest(call: Call, subject: Subject) -> NodeRef | None:
    sessions = call.world.by_feed[feed_of(subject).id]
    visible = [one for one in sessions if call.world.sessions[one].visible <= call.now]
    return NodeRef(Type.UPLOAD, call.world.sessions[visible[-1]]) if visible else None


def _migrated(_call: Call, subject: Subject) -> jsons.Json:
    return str(feed_of(subject).migrated_from) if feed_of(subject).migrated_from else None


fields(
    Type.FEED,
    {
        "id": FieldDef(lambda _, subject: str(feed_of(subject).id), default=True),
        "name": FieldDef(lambda _, subject: feed_of(subject).name, default=True),
        "file_name": FieldDef(lambda _, subject: feed_of(subject).settings.get("file_name"), default=True),
        "created_time": FieldDef(lambda _, subject: written(feed_of(subject).created)),
        "deletion_enabled": FieldDef(lambda _, subject: feed_of(subject).deletion_enabled),
        "latest_upload": FieldDef(_latest),
        "migrated_from_feed_id": FieldDef(_migrated),
        "product_count": FieldDef(
            lambda call, subject: call.world.items.count(feed_of(subject).catalog, feed_of(subject).id)
        ),
        **{
            name: _setting(name)
            for name in (
                "country", "default_currency", "delimiter", "encoding", "quoted_fields_mode", "item_sub_type",
            )
        },
        "ingestion_source_type": FieldDef(
            lambda _, subject: str(feed_of(subject).settings.get("ingestion_source_type", "")).lower()
        ),
        "schedule": FieldDef(lambda *_: None),
        "update_schedule": FieldDef(lambda *_: None),
        "override_type": FieldDef(lambda *_: None),
        "primary_feeds": FieldDef(lambda *_: []),
        "supplementary_feeds": FieldDef(lambda *_: []),
        "configuration_source_name": FieldDef(lambda *_: None),
    },
)  # fmt: skip
not_yet(
    Type.FEED,
    {
        "upload_schedules": "Product Feed Schedule",
        "rules": "Product Feed Rules",
        "supplementary_feed_assocs": "Supplementary feeds",
        "automotive_models": "Item types other than products",
        "destinations": "Item types other than products",
        "flights": "Item types other than products",
        "home_listings": "Item types other than products",
        "hotels": "Item types other than products",
        "vehicle_offers": "Item types other than products",
        "vehicles": "Item types other than products",
    },
)


def _refuse_later(call: Call) -> None:
    for name, section in LATER.items():
        if call.parameters.get(name) not in (None, "", [], {}):
            raise messages.not_built(section)
    if call.text("ingestion_source_type") == "SUPPLEMENTARY_FEED":
        raise messages.not_built("Supplementary feeds")
    if call.text("feed_type") not in ("", "PRODUCTS"):
        raise messages.not_built("Item types other than products")


def _migrated_from(call: Call, catalog: int) -> int:
    value = call.text("migrated_from_feed_id")
    if not value:
        return 0
    feed = call.world.feeds.get(int(value))
    if feed is None or feed.catalog != catalog:
        raise messages.invalid("Param migrated_from_feed_id must be a feed of this catalog", "migrated_from_feed_id")
    return feed.id


def _value(value: bodies.Value) -> jsons.Json:
    assert not isinstance(value, bodies.UploadedFile), "no setting is a file"
    return value


@documented(
    "feed.create",
    page="Product Feed",
    section="Creating",
    says=(
        "POST product_feeds with name answers the new id; schedule is optional; update_only belongs to uploads and is "
        "ignored here"
    ),
)
@route("POST", Type.CATALOG, "product_feeds", params=CREATE, answers=Type.FEED)
async def create(call: Call, subject: Subject) -> NodeRef:
    catalog = catalog_of(subject)
    _refuse_later(call)
    number = call.world.new_id()
    own = ("name", "deletion_enabled", "migrated_from_feed_id", "update_only")
    given = {name: _value(call.parameters[name]) for name in call.parameters if name not in own}
    feed = Feed(
        id=number,
        catalog=catalog.id,
        name=call.text("name"),
        created=call.now,
        visible=call.world.visible_at(call.now, number),
        deletion_enabled=call.flag("deletion_enabled", default=True),
        migrated_from=_migrated_from(call, catalog.id),
        settings={**DEFAULTS, **given},
    )
    call.world.add(feed)
    return NodeRef(Type.FEED, feed)


@documented("feed.list", page="Product Feed", section="Reading", says="GET product_feeds lists the feeds of a catalog")
@route("GET", Type.CATALOG, "product_feeds", answers=Type.FEED, paged=True)
async def listed(call: Call, subject: Subject) -> Page:
    feeds = [call.world.feeds[one] for one in call.world.by_catalog[catalog_of(subject).id]]
    seen = [one for one in feeds if one.visible <= call.now]
    return paging.window(call, seen, lambda one: one.id, lambda one: NodeRef(Type.FEED, one))


@documented(
    "feed.read", page="Product Feed", section="Reading", says="fields of a feed; id, name and file_name by default"
)
@route("GET", Type.FEED)
async def read(_call: Call, subject: Subject) -> NodeRef:
    return NodeRef(Type.FEED, subject)


@documented("feed.update", page="Product Feed", section="Updating", says="name and settings can be changed")
@route("POST", Type.FEED, params=UPDATE, answers=Type.FEED)
async def update(call: Call, subject: Subject) -> jsons.Json:
    feed = feed_of(subject)
    _refuse_later(call)
    if feed.deletion_enabled and not call.flag("deletion_enabled", default=True):
        raise messages.invalid(
            "Deletion can't be disabled once it has been enabled for a product feed", "deletion_enabled"
        )
    feed.deletion_enabled = call.flag("deletion_enabled", default=feed.deletion_enabled)
    feed.name = call.text("name", feed.name)
    feed.migrated_from = _migrated_from(call, feed.catalog) or feed.migrated_from
    own = ("name", "deletion_enabled", "migrated_from_feed_id")
    feed.settings.update({name: _value(call.parameters[name]) for name in call.parameters if name not in own})
    call.world.save(feed)
    return {"success": True}


@documented(
    "feed.delete", page="Product Feed", section="Deleting", says="DELETE answers success; the feed's items go with it"
)
@route("DELETE", Type.FEED)
async def delete(call: Call, subject: Subject) -> jsons.Json:
    removal.feed(call, feed_of(subject))
    return {"success": True}
