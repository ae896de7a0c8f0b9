"""Reading items back: what does Meta hold of what was sent?"""

import json

from controller.api.v1alpha1.catalog_ledger import LocaleRecord
from controller.faults import Disposition, Fault
from controller.ports import preparing as documents
from controller.ports.meta import ItemAtMeta, Localization
from controller.reconcile.connections import Connection
from controller.reconcile.context import Context

READ_BACK_IDS_MAX = 5_000
"""Ids read back at once: all of one batch. Of a feed upload the rest waits for the next full send instead."""
READ_CHUNK = 500


OVERRIDE_IDS_MAX = 200
"""Ids whose values for one language or country are read back: each costs a call of its own."""


async def read_back(
    context: Context,
    connection: Connection,
    catalog_id: str,
    sent: tuple[str, ...],
    prefix: str,
    locale: LocaleRecord | None = None,
) -> str:
    """Read the items of sent tables as Meta has them now; return the key of the answer (JSON Lines).

    With `locale`, read what they hold for that language or country.
    """
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
    ids = tuple(json.loads(await context.store.read(listed.ids) or b"[]"))
    ids = ids[: READ_BACK_IDS_MAX if locale is None else OVERRIDE_IDS_MAX]
    lines = []
    for start in range(0, len(ids), READ_CHUNK):
        chunk = ids[start : start + READ_CHUNK]
        if locale is None:
            found = await connection.graph.read_items(catalog_id, chunk)
        else:
            found = await connection.graph.read_overrides(catalog_id, chunk, _localization(locale))
        lines += [item_line(item) for item in found]
    key = f"{prefix}/read-back.jsonl"
    await context.store.write(key, b"".join(lines))
    return key


def worth_reading(rows: int, locale: LocaleRecord | None) -> bool:
    """Tell whether a body of so many rows can be read back as a whole."""
    return locale is None or rows <= OVERRIDE_IDS_MAX


def _localization(locale: LocaleRecord) -> Localization:
    return Localization(language=locale.language, country=locale.country)


def item_line(item: ItemAtMeta) -> bytes:
    """One item as the preparing steps read it."""
    return json.dumps({**dict(item.fields), "id": item.id}, ensure_ascii=False).encode() + b"\n"
