"""Product feeds of a catalog (Meta: product feed reference)."""

from controller.meta import limits, wire
from controller.meta.connection import Noun
from controller.meta.protocol import Params, Request, contract_violation, node
from controller.ports.meta import FeedAtMeta

FIELDS = "id,name,deletion_enabled,product_count,schedule,update_schedule"


def build_list(catalog_id: str) -> Request:
    return Request(
        operation="list_feeds",
        title=f"list the feeds of catalog {catalog_id}",
        method="GET",
        path=node(catalog_id, "product_feeds"),
        params=(("fields", FIELDS), ("limit", str(limits.PAGE_ROWS))),
        catalog_id=catalog_id,
    )


def build_read(catalog_id: str, feed_id: str) -> Request:
    return Request(
        operation="read_feed",
        title=f"read feed {feed_id} of catalog {catalog_id}",
        method="GET",
        path=node(feed_id),
        params=(("fields", FIELDS),),
        catalog_id=catalog_id,
    )


def build_create(catalog_id: str, name: str, currency: str | None) -> Request:
    """Build a creation.

    Deletion is off, because once on it cannot be switched off again. The format of the files is said, because guessing
    it from the first rows can go wrong.
    """
    params: Params = (
        ("name", name),
        ("deletion_enabled", "false"),
        ("delimiter", "COMMA"),
        ("encoding", "UTF8"),
    )
    if currency is not None:
        params += (("default_currency", currency),)
    return Request(
        operation="create_feed",
        title=f"create a feed in catalog {catalog_id}",
        method="POST",
        path=node(catalog_id, "product_feeds"),
        params=params,
        catalog_id=catalog_id,
    )


def build_enable_deletion(catalog_id: str, feed_id: str) -> Request:
    return Request(
        operation="enable_deletion",
        title=f"allow deletions in feed {feed_id} of catalog {catalog_id}",
        method="POST",
        path=node(feed_id),
        params=(("deletion_enabled", "true"),),
        catalog_id=catalog_id,
    )


def build_delete(catalog_id: str, feed_id: str) -> Request:
    return Request(
        operation="delete_feed",
        title=f"delete feed {feed_id} of catalog {catalog_id}",
        method="DELETE",
        path=node(feed_id),
        catalog_id=catalog_id,
    )


def read_feed(found: wire.Feed) -> FeedAtMeta:
    return FeedAtMeta(
        id=found.id,
        name=found.name,
        deletion_enabled=found.deletion_enabled,
        product_count=found.product_count,
        scheduled=bool(found.schedule) or bool(found.update_schedule),
    )


class Feeds(Noun):
    """List, read, create and delete feeds."""

    __slots__ = ()

    async def list_feeds(self, catalog_id: str) -> tuple[FeedAtMeta, ...]:
        return tuple(read_feed(row) for row in await self._rows(build_list(catalog_id), wire.Feed))

    async def read_feed(self, catalog_id: str, feed_id: str) -> FeedAtMeta:
        answer = await self._perform(build_read(catalog_id, feed_id))
        return read_feed(wire.read_shape(answer, wire.Feed))

    async def create_feed(self, catalog_id: str, name: str, *, currency: str | None) -> str:
        answer = await self._perform(build_create(catalog_id, name, currency))
        feed_id = wire.read_shape(answer, wire.FeedCreated).id
        if feed_id is None:
            raise contract_violation(answer, "id (missing)")
        return feed_id

    async def enable_deletion(self, catalog_id: str, feed_id: str) -> None:
        wire.read_shape(await self._perform(build_enable_deletion(catalog_id, feed_id)), wire.Succeeded)

    async def delete_feed(self, catalog_id: str, feed_id: str) -> None:
        wire.read_shape(await self._perform(build_delete(catalog_id, feed_id)), wire.Succeeded)
