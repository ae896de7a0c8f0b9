"""`override_details`: what an item has for languages and countries."""

from dataclasses import replace

from hack.emulator import jsons, params
from hack.emulator.documented import Provenance, documented
from hack.emulator.items import Item
from hack.emulator.overrides import TYPES, Override
from hack.emulator.params import Param
from hack.emulator.routing import FIELDS, Call, FieldDef, NodeRef, OverrideDetails, Page, Subject, Type, fields, route
from hack.emulator.sections.catalog import product_items
from hack.emulator.sections.catalog.product_items import item_of
from hack.emulator.sections.graph_api import paging

NODE_NAMES: dict[str, tuple[str, ...]] = {
    **{own: (name,) for name, own in product_items.RENAMED.items()},
    **{own: (name,) for name, own in product_items.DOCUMENTS.items()},
    "price": ("price", "currency"),
    "sale_price_effective_date": ("sale_price_start_date", "sale_price_end_date"),
    "additional_image_link": ("additional_image_urls",),
    "additional_variant_attribute": ("additional_variant_attributes",),
    "internal_label": ("tags",),
    "status": ("visibility",),
}


def details_of(subject: Subject) -> OverrideDetails:
    assert isinstance(subject, OverrideDetails), "a row of override_details"
    return subject


def _read(call: Call, item: Item, one: Override) -> OverrideDetails:
    if call.world.switches.override_values_named == "feed":
        return OverrideDetails(one.type, one.key, dict(one.values))
    layout, row = call.world.items.encode(one.values)
    alone = replace(item, layout=layout, row=row)
    values: jsons.Object = {}
    for own, value in one.values.items():
        for name in NODE_NAMES.get(own, (own,)):
            definition = FIELDS[Type.ITEM].get(name)
            found = definition.getter(call, alone) if definition is not None and not definition.not_yet else value
            assert not isinstance(found, NodeRef), "no field that can be overridden is a node"
            if found is not None:
                values[name] = found
    return OverrideDetails(one.type, one.key, values)


@documented(
    "override.details",
    page="Product Item",
    section="override_details",
    says="GET override_details answers {key, type, values} for the type and the keys that are asked for, or for all",
    provenance=Provenance.SDK,
)
@route(
    "GET",
    Type.ITEM,
    "override_details",
    params=[Param("type", params.one_of(*TYPES)), Param("keys", params.texts)],
    answers=Type.OVERRIDE,
    paged=True,
)
async def details(call: Call, subject: Subject) -> Page:
    item = item_of(subject)
    type_, keys = call.text("type").upper(), call.list("keys")
    found = [
        (number, _read(call, item, one))
        for number, one in enumerate(call.world.overrides.seen(item.n, call.now), start=1)
        if type_ in ("", one.type) and (not keys or one.key in keys)
    ]
    return paging.window(call, found, lambda row: row[0], lambda row: NodeRef(Type.OVERRIDE, row[1]))


fields(
    Type.OVERRIDE,
    {
        "key": FieldDef(lambda _, subject: details_of(subject).key, default=True),
        "type": FieldDef(lambda _, subject: details_of(subject).type, default=True),
        "values": FieldDef(lambda _, subject: details_of(subject).values, default=True),
    },
)
