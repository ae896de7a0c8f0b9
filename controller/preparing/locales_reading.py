"""The narrow table of an overlay for one language or country: what its values are, without their texts.

It is made from the overlay's table once per read, so that comparing needs no texts and the checks are asked once.
"""

from collections.abc import Sequence

import polars as pl

from controller.preparing.objects import ROW_GROUP_ROWS, reading, scan_table, table_key, write_table
from controller.products import localized
from controller.products.fields import ID
from controller.products.rules import RuleFinding
from controller.products.tables import LOCALIZED, Kind
from controller.stores.local import LocalStore


def write_localized(
    store: LocalStore, prefix: str, name: str, table: str, fields: Sequence[str]
) -> tuple[str, list[RuleFinding]]:
    """Write it beside `table`, and return its key with what the checks found."""
    rows: list[pl.DataFrame] = [pl.DataFrame(schema=LOCALIZED)]
    found: list[RuleFinding] = []
    with reading():
        texts = scan_table(store, table).select(ID, *fields)
        for frame in texts.collect_batches(chunk_size=ROW_GROUP_ROWS, maintain_order=True):
            judged = localized.judge(frame, fields)
            rows.append(judged.rows)
            found += judged.findings
    key = write_table(store, table_key(prefix, Kind.LOCALIZED, name), pl.concat(rows))
    return key, localized.finding(name, found)
