"""Items of a catalog: batches that change them, and reading them back.

Meta: items batch, check batch request status, product item and product catalog products. Answers are in the names of
the Graph node and prices in text for people; what leaves this module is in the names and forms of feeds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from urllib.parse import quote_plus

from controller.faults import Disposition, Fault
from controller.meta import limits, money, problems, wire
from controller.meta.connection import Noun, next_cursor, with_cursor
from controller.meta.payload import JsonDocument
from controller.meta.protocol import Answer, Request, contract_violation, json_param, node
from controller.ports.meta import BatchAnswer, BatchStatus, Body, Bucket, ItemAtMeta, ItemPage, Localization

_TEXT_FIELDS = """
name description availability condition url image_url brand retailer_product_group_id category fb_product_category
product_type color size gender age_group material pattern gtin manufacturer_part_number custom_label_0
custom_label_1 custom_label_2 custom_label_3 custom_label_4 custom_number_0 custom_number_1 custom_number_2
custom_number_3 custom_number_4 quantity_to_sell_on_facebook expiration_date mobile_link vendor_id short_description
rich_text_description origin_country ordering_index
"""
TEXT_FIELDS = tuple(_TEXT_FIELDS.split())
"""Node fields that are text or numbers and compare as they are."""
_FEED_NAMES = {name: problems.feed_name(name) for name in TEXT_FIELDS}
_NODE_NAMES = {feed_name: name for name, feed_name in _FEED_NAMES.items()}
_FEED_FORMS = ("status", "sale_price_effective_date", "additional_image_link")
"""Fields that the node has in another form than feeds; overrides may show either."""
PRICE_FIELDS = ("price", "sale_price")
IMAGES_FIELD = "additional_image_urls"
OTHER_FIELDS = (
    "visibility",
    "sale_price_start_date",
    "sale_price_end_date",
    "currency",
)
NODE_FIELDS = ",".join(("id", "retailer_id", *TEXT_FIELDS, *PRICE_FIELDS, IMAGES_FIELD, *OTHER_FIELDS))
IDENTITY_FIELDS = "id,retailer_id"

_STATUS_OF_VISIBILITY = {"published": "active", "staging": "archived"}
"""Meta: catalog field reference, `status` is the newer name of `visibility`."""

_TERMINAL = frozenset({"finished", "canceled", "cancelled", "error"})
_FAILED = _TERMINAL - {"finished"}
"""Meta: get batch request status guide. Every other value, known or not, counts as running."""


def build_batch(catalog_id: str, document: JsonDocument) -> Request:
    return Request(
        operation="items_batch",
        title=f"send a batch of items to catalog {catalog_id}",
        method="POST",
        path=node(catalog_id, "items_batch"),
        payload=document,
        catalog_id=catalog_id,
        bucket=Bucket.BATCH,
    )


def build_localized_batch(catalog_id: str, document: JsonDocument) -> Request:
    return Request(
        operation="localized_items_batch",
        title=f"send a batch of values per language or country to catalog {catalog_id}",
        method="POST",
        path=node(catalog_id, "localized_items_batch"),
        payload=document,
        catalog_id=catalog_id,
        bucket=Bucket.BATCH,
    )


def build_read_batch(catalog_id: str, handle: str) -> Request:
    return Request(
        operation="check_batch_request_status",
        title=f"read the status of a batch of catalog {catalog_id}",
        method="GET",
        path=node(catalog_id, "check_batch_request_status"),
        params=(("handle", handle), ("load_ids_of_invalid_requests", "true")),
        catalog_id=catalog_id,
    )


def build_read_items(catalog_id: str, ids: tuple[str, ...], fields: str = NODE_FIELDS) -> Request:
    return Request(
        operation="read_items",
        title=f"look items up in catalog {catalog_id}",
        method="GET",
        path=node(catalog_id, "products"),
        params=(("fields", fields), ("limit", str(limits.ITEM_PAGE_ROWS)), ("filter", filter_ids(ids))),
        catalog_id=catalog_id,
    )


def build_read_override(catalog_id: str, meta_id: str, localization: Localization) -> Request:
    return Request(
        operation="read_overrides",
        title=f"read the values of item {meta_id} for {localization.value}",
        method="GET",
        path=node(meta_id, "override_details"),
        params=(("type", localization.type), ("keys", json_param([localization.value]))),
        catalog_id=catalog_id,
    )


def build_list_items(catalog_id: str, feed_id: str, after: str | None) -> Request:
    request = Request(
        operation="list_items",
        title=f"list the items of feed {feed_id} of catalog {catalog_id}",
        method="GET",
        path=node(feed_id, "products"),
        params=(("fields", NODE_FIELDS), ("limit", str(limits.ITEM_PAGE_ROWS)), ("bulk_pagination", "true")),
        catalog_id=catalog_id,
    )
    return with_cursor(request, after)


def filter_ids(ids: tuple[str, ...]) -> str:
    return json_param({"retailer_id": {"is_any": list(ids)}})


def split_ids(ids: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Cut ids into as few filters as fit into an address, each at most one page of answers."""
    chunk: list[str] = []
    length = base = len(quote_plus(filter_ids(())))
    for item_id in dict.fromkeys(ids):
        cost = len(quote_plus(json_param(item_id))) + len(quote_plus(","))
        if chunk and (length + cost > limits.FILTER_CHARACTERS_MAX or len(chunk) == limits.FILTER_IDS_MAX):
            yield tuple(chunk)
            chunk, length = [], base
        chunk.append(item_id)
        length += cost
    if chunk:
        yield tuple(chunk)


def read_batch_answer(answer: Answer) -> BatchAnswer:
    accepted = wire.read_shape(answer, wire.BatchAccepted)
    if len(accepted.handles) > 1:
        raise contract_violation(answer, "handles (more than one)")
    found = [
        problem
        for row in accepted.validation_status
        for problem in (
            *problems.remark_problems(row.errors, "fatal", row.retailer_id),
            *problems.remark_problems(row.warnings, "warning", row.retailer_id),
        )
    ]
    return BatchAnswer(accepted.handles[0] if accepted.handles else None, tuple(found))


def read_batch_status(answer: Answer) -> BatchStatus:
    """Read the one element of the answer. Meta that lists none no longer knows the handle."""
    rows = wire.read_rows(answer, wire.read_shape(answer, wire.Page).data, wire.BatchProgress)
    if not rows:
        raise Fault(
            reason="NotVisible",
            disposition=Disposition.STALLED,
            message=f"{answer.request.title}: Meta does not know the handle (any more); the items must be read",
            evidence=answer.evidence,
        )
    progress = rows[0]
    status = progress.status.casefold()
    return BatchStatus(
        status=status,
        terminal=status in _TERMINAL,
        failed=status in _FAILED,
        problems=(
            *problems.remark_problems(progress.errors, "fatal"),
            *problems.remark_problems(progress.warnings, "warning"),
        ),
        errors_total=max(progress.errors_total_count or 0, len(progress.errors)),
        warnings_total=max(progress.warnings_total_count or 0, len(progress.warnings)),
        invalid_ids=tuple(dict.fromkeys(progress.ids_of_invalid_requests)),
    )


def read_item(answer: Answer, row: Mapping[str, wire.Json]) -> ItemAtMeta:
    item_id, meta_id = _text(row.get("retailer_id")), _text(row.get("id"))
    if item_id is None or meta_id is None:
        raise contract_violation(answer, "an item without id or retailer_id")
    return ItemAtMeta(item_id, meta_id, tuple(sorted(comparable_fields(row).items())))


def comparable_fields(row: Mapping[str, wire.Json]) -> dict[str, str]:
    """Translate a node into fields of feeds; what is absent, null or unreadable stays out.

    Left out altogether: what Meta rewrites when it stores it (labels in lower case, weights in its own units).
    """
    fields: dict[str, str] = {}
    for name, value in row.items():
        feed_name = _FEED_NAMES.get(name)
        if feed_name is not None and (text := _text(value)) is not None:
            fields[feed_name] = text
    currency = _text(row.get("currency"))
    for name in PRICE_FIELDS:
        text = _text(row.get(name))
        if text is not None and (price := money.normalise_price(text, currency)) is not None:
            fields[name] = price
    images = row.get(IMAGES_FIELD)
    if isinstance(images, list):
        fields[problems.feed_name(IMAGES_FIELD)] = ",".join(str(image) for image in images)
    if (visibility := _text(row.get("visibility"))) is not None:
        fields["status"] = _STATUS_OF_VISIBILITY.get(visibility.casefold(), visibility)
    start, end = _text(row.get("sale_price_start_date")), _text(row.get("sale_price_end_date"))
    if start and end:
        fields["sale_price_effective_date"] = f"{start}/{end}"
    return fields


def override_fields(
    details: tuple[wire.OverrideDetails, ...], localization: Localization
) -> tuple[tuple[str, str], ...]:
    """Read the values of one localization.

    Meta documents no form of them: names of the node and of feeds are taken, and what has another form stays out.
    """
    fields: dict[str, str] = {}
    for each in details:
        if not each.is_for(localization.type, localization.value):
            continue
        fields |= comparable_fields({_NODE_NAMES.get(name, name): value for name, value in each.values.items()})
        fields |= {name: text for name in _FEED_FORMS if (text := _text(each.values.get(name))) is not None}
    return tuple(sorted(fields.items()))


class Items(Noun):
    """Change items by batch and read them."""

    __slots__ = ()

    async def send_batch(self, catalog_id: str, body: Body) -> BatchAnswer:
        return await self._send(build_batch(catalog_id, JsonDocument(body)), body)

    async def send_localized_batch(self, catalog_id: str, body: Body) -> BatchAnswer:
        return await self._send(build_localized_batch(catalog_id, JsonDocument(body)), body)

    async def read_batch(self, catalog_id: str, handle: str) -> BatchStatus:
        return read_batch_status(await self._perform(build_read_batch(catalog_id, handle)))

    async def read_items(self, catalog_id: str, ids: tuple[str, ...]) -> tuple[ItemAtMeta, ...]:
        """Look items up. Meta compares without case in newer versions, so other ids than asked for are dropped."""
        return await self._look_up(catalog_id, ids, NODE_FIELDS)

    async def read_overrides(
        self, catalog_id: str, ids: tuple[str, ...], localization: Localization
    ) -> tuple[ItemAtMeta, ...]:
        found = await self._look_up(catalog_id, ids, IDENTITY_FIELDS)
        return tuple([await self._read_override(catalog_id, item, localization) for item in found])

    async def list_items(self, catalog_id: str, feed_id: str, after: str | None) -> ItemPage:
        answer = await self._perform(build_list_items(catalog_id, feed_id, after))
        page = wire.read_shape(answer, wire.Page)
        items = tuple(read_item(answer, row) for row in wire.read_mappings(answer, page.data))
        return ItemPage(items, next_cursor(answer, page.paging, current=after))

    async def _send(self, request: Request, body: Body) -> BatchAnswer:
        if body.size_bytes > limits.BATCH_BYTES_MAX:
            raise Fault(
                reason="PayloadTooLarge",
                disposition=Disposition.STALLED,
                message=f"{request.title}: the body is larger than the {limits.BATCH_BYTES_MAX} bytes that Meta takes; "
                "it must be split into smaller batches",
            )
        return read_batch_answer(await self._perform(request))

    async def _look_up(self, catalog_id: str, ids: tuple[str, ...], fields: str) -> tuple[ItemAtMeta, ...]:
        wanted = frozenset(ids)
        found: dict[str, ItemAtMeta] = {}
        for chunk in split_ids(ids):
            async for answer, page in self._pages(build_read_items(catalog_id, chunk, fields)):
                for row in wire.read_mappings(answer, page.data):
                    item = read_item(answer, row)
                    if item.id in wanted:
                        found[item.id] = item
        return tuple(found.values())

    async def _read_override(self, catalog_id: str, item: ItemAtMeta, localization: Localization) -> ItemAtMeta:
        details = await self._rows(build_read_override(catalog_id, item.meta_id, localization), wire.OverrideDetails)
        return replace(item, fields=override_fields(details, localization))


def _text(value: wire.Json) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) else None
