"""Catalogs of a business (Meta: product catalog reference)."""

from controller.meta import limits, wire
from controller.meta.connection import Noun
from controller.meta.protocol import Params, Request, json_param, node
from controller.ports.meta import CatalogAtMeta, CatalogChange, DisplaySettings

LIST_FIELDS = "id,name,vertical,product_count,default_image_url,fallback_image_url,business{id}"
NODE_FIELDS = f"{LIST_FIELDS},da_display_settings,commerce_merchant_settings{{id,cta}}"
ONSITE_CTA = "ONSITE_CHECKOUT"
"""Meta: catalog integration guide; any other value, or no settings at all, means that no onsite shop is attached."""


def build_list(business_id: str) -> Request:
    return Request(
        operation="list_catalogs",
        title=f"list the catalogs of business {business_id}",
        method="GET",
        path=node(business_id, "owned_product_catalogs"),
        params=(("fields", LIST_FIELDS), ("limit", str(limits.PAGE_ROWS))),
    )


def build_read(catalog_id: str) -> Request:
    return Request(
        operation="read_catalog",
        title=f"read catalog {catalog_id}",
        method="GET",
        path=node(catalog_id),
        params=(("fields", NODE_FIELDS),),
        catalog_id=catalog_id,
    )


def build_create(business_id: str, name: str, vertical: str) -> Request:
    return Request(
        operation="create_catalog",
        title=f"create a catalog in business {business_id}",
        method="POST",
        path=node(business_id, "owned_product_catalogs"),
        params=(("name", name), ("vertical", vertical)),
    )


def build_update(catalog_id: str, change: CatalogChange) -> Request:
    params: Params = ()
    if change.name is not None:
        params += (("name", change.name),)
    if change.default_image_url is not None:
        params += (("default_image_url", change.default_image_url),)
    if change.fallback_image_urls is not None:
        params += (("fallback_image_url", json_param(list(change.fallback_image_urls))),)
    if change.display is not None:
        params += (("da_display_settings", json_param(_display(change.display))),)
    if change.additional_vertical_option is not None:
        params += (("additional_vertical_option", change.additional_vertical_option),)
    return Request(
        operation="update_catalog",
        title=f"change settings of catalog {catalog_id}",
        method="POST",
        path=node(catalog_id),
        params=params,
        catalog_id=catalog_id,
    )


def _display(settings: DisplaySettings) -> dict[str, dict[str, str]]:
    """Meta requires both formats."""
    formats = {"carousel_ad": settings.carousel_ad, "single_ad": settings.single_ad}
    return {name: {"transformation_type": chosen} for name, chosen in formats.items()}


def build_delete(catalog_id: str, *, allow_live: bool) -> Request:
    return Request(
        operation="delete_catalog",
        title=f"delete catalog {catalog_id}",
        method="DELETE",
        path=node(catalog_id),
        params=(("allow_delete_catalog_with_live_product_set", json_param(allow_live)),),
        catalog_id=catalog_id,
    )


def read_catalog(found: wire.Catalog, *, with_merchant: bool) -> CatalogAtMeta:
    merchant = found.commerce_merchant_settings
    shown = found.da_display_settings
    return CatalogAtMeta(
        id=found.id,
        name=found.name,
        vertical=found.vertical,
        product_count=found.product_count,
        default_image_url=found.default_image_url,
        fallback_image_urls=found.fallback_image_url,
        display=DisplaySettings(shown.carousel_ad.transformation_type, shown.single_ad.transformation_type)
        if shown is not None
        else None,
        onsite=(merchant is not None and merchant.cta == ONSITE_CTA) if with_merchant else None,
        business_id=found.business.id if found.business is not None else None,
    )


class Catalogs(Noun):
    """Search, read and change catalogs."""

    __slots__ = ()

    async def find_catalogs(self, name: str) -> tuple[CatalogAtMeta, ...]:
        """Return the catalogs of the business with exactly this name; the edge has no filter by name."""
        request = build_list(self._connection.credentials.business_id)
        rows = await self._rows(request, wire.Catalog)
        return tuple(read_catalog(row, with_merchant=False) for row in rows if row.name == name)

    async def read_catalog(self, catalog_id: str) -> CatalogAtMeta:
        answer = await self._perform(build_read(catalog_id))
        return read_catalog(wire.read_shape(answer, wire.Catalog), with_merchant=True)

    async def create_catalog(self, name: str, vertical: str) -> str:
        answer = await self._perform(build_create(self._connection.credentials.business_id, name, vertical))
        return wire.read_shape(answer, wire.Created).id

    async def update_catalog(self, catalog_id: str, change: CatalogChange) -> None:
        if change == CatalogChange():
            return
        wire.read_shape(await self._perform(build_update(catalog_id, change)), wire.Succeeded)

    async def delete_catalog(self, catalog_id: str, *, allow_live: bool) -> None:
        wire.read_shape(await self._perform(build_delete(catalog_id, allow_live=allow_live)), wire.Succeeded)
