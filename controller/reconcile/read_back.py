"""Reading items back: what does Meta hold of what was sent?"""

import json

from controller.faults import Disposition, Fault
from controller.ports import preparing as documents
from controller.ports.meta import ItemAtMeta
from controller.reconcile.connections import Connection
from controller.reconcile.context import Context

READ_BACK_IDS_MAX = 5_000
"""Ids read back at once: all of one batch. Of a feed upload the rest waits for the next full send instead."""
READ_CHUNK = 500


async def read_back(
    context: Context, connection: Connection, catalog_id: str, sent: tuple[str, ...], prefix: str
) -> str:
    """Read the items of sent tables as Meta has them now; return the key of the answer (JSON Lines)."""
    listed = await context.preparing.run(
        documents.SentIDsRequest(
            store=context.store.url,
            prefix=f"{prefix}/ids",
            catalog_id=catalog_id,
            now=context.clock.now(),
            sent=sent,
        )
    )
    if not isinstance(listed, documents.SentIDsResult):
        raise Fault("PreparingFailed", Disposition.RETRY, "the ids of a body could not be listed")
    ids = tuple(json.loads(await context.store.read(listed.ids) or b"[]"))[:READ_BACK_IDS_MAX]
    lines = []
    for start in range(0, len(ids), READ_CHUNK):
        found = await connection.graph.read_items(catalog_id, ids[start : start + READ_CHUNK])
        lines += [item_line(item) for item in found]
    key = f"{prefix}/read-back.jsonl"
    await context.store.write(key, b"".join(lines))
    return key


def item_line(item: ItemAtMeta) -> bytes:
    """One item as the preparing steps read it."""
    return json.dumps({**dict(item.fields), "id": item.id}, ensure_ascii=False).encode() + b"\n"
