"""Deleting a feed or a catalog takes its items along, at once."""

from array import array
from collections.abc import Iterable

from hack.emulator.items import Item
from hack.emulator.journal import Mutation
from hack.emulator.keysets import keys_of
from hack.emulator.routing import Call
from hack.emulator.world import Catalog, Feed, Session

CHUNK = 5_000


def _empty(call: Call, catalog: int, owner: int | None, mutation: int) -> None:
    items = call.world.items
    while rows := items.page(catalog, owner, after=0, limit=CHUNK):
        _lose(call, rows, mutation)
        items.delete(rows, remember=call.world.switches.recreated_item_keeps_id == "true")


def _lose(call: Call, rows: list[Item], mutation: int) -> None:
    for item in rows:
        call.effects.observe(item.catalog, item.rid, item, None, call.now, mutation)


def _record(call: Call, kind: str, catalog: int, feed: int, keys: "array[int]") -> Mutation:
    mutation = Mutation(
        id=len(call.journal.mutations) + 1,
        request=call.record.seq,
        kind=kind,
        catalog=catalog,
        feed=feed,
        first_byte=call.record.first_byte,
        accepted=call.now,
        ends=call.now,
        rows=len(keys),
        keys=keys,
    )
    call.journal.open_mutation(mutation)
    call.record.mutation = mutation.id
    return mutation


def _stop(call: Call, sessions: Iterable[Session]) -> None:
    """What was under way for something that is gone comes to nothing."""
    for session in sessions:
        if session.ends > call.now or session.fetch:
            call.effects.cancel(session)
            call.world.awaited.discard(session.id)
            session.fetch = False
            session.ends = min(session.ends, call.now)
            call.world.save(session)
            mutation = call.journal.mutation(session.mutation)
            mutation.ends = min(mutation.ends, call.now)
            call.journal.save_mutation(mutation)


def feed(call: Call, gone: Feed) -> None:
    keys = keys_of(call.world.items.rids(gone.catalog, gone.id))
    sessions = [call.world.sessions[one] for one in call.world.by_feed[gone.id]]
    mutation = _record(call, "feed_delete", gone.catalog, gone.id, keys)
    _empty(call, gone.catalog, gone.id, mutation.id)
    _stop(call, sessions)
    call.world.remove(gone)


def catalog(call: Call, gone: Catalog) -> None:
    owners = [0, *call.world.by_catalog[gone.id]]
    keys = keys_of(rid for owner in owners for rid in call.world.items.rids(gone.id, owner))
    mutation = _record(call, "catalog_delete", gone.id, 0, keys)
    _empty(call, gone.id, None, mutation.id)
    _stop(call, [one for one in call.world.sessions.values() if one.catalog == gone.id])
    for number in list(call.world.by_catalog[gone.id]):
        call.world.remove(call.world.feeds[number])
    call.world.remove(gone)
