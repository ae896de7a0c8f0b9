"""Files of rows, and the index of what they say."""

from collections.abc import Iterable, Sequence
from typing import BinaryIO, cast

import polars as pl

from controller.faults import Disposition, Fault
from controller.ports.preparing import EncodeRequest, Limits
from controller.preparing.kept import NUMBER, TABLE
from controller.preparing.manifests import SentManifest, manifest_key, part_of, write_manifest
from controller.preparing.objects import reading, sink_table, table_key, write_table
from controller.preparing.packing import Packing
from controller.preparing.row_state import Texts
from controller.products.fields import ID
from controller.products.tables import SENT, Kind
from controller.stores.local import LocalStore


def write_csv(
    store: LocalStore, key: str, blocks: Iterable[pl.DataFrame], fields: Sequence[str], limits: Limits, index: int
) -> Packing:
    """Write rows as packed CSV; they go through block by block. Blocks lack no field."""
    with store.creating(key) as path, path.open("wb") as file:
        with Packing(file, limits.upload_bytes_max) as packing:
            target = cast("BinaryIO", packing)  # Polars writes and flushes, nothing else
            pl.DataFrame(schema=dict.fromkeys(fields, pl.String)).write_csv(target)
            for block in blocks:
                block.select(fields).write_csv(target, include_header=False)
                if packing.too_large:
                    break
        if packing.too_large:
            message = f"the file of partition {index} is larger than Meta takes: use more shards"
            raise Fault("PayloadTooLarge", Disposition.STALLED, message)
    return packing


def write_index(
    request: EncodeRequest,
    store: LocalStore,
    part: str,
    sources: Sequence[Texts],
    said: pl.LazyFrame,
    again: pl.DataFrame,
    fields: Sequence[str],
) -> str:
    """Say which complete rows a file has, and which table holds the texts of each.

    `said`: SENT of rows of the `sources`. `again`: SENT and `fields` of rows that stand in none of them: they are
    copied, so that the tables they come from can go.
    """
    tables = [sources[0].part]
    numbers = []
    for each in sources[1:]:
        numbers.append(each.rows.select(ID, pl.lit(len(tables), dtype=NUMBER).alias(TABLE)))
        tables.append(each.part)
    if numbers:
        index = said.join(pl.concat(numbers), on=ID, how="left", maintain_order="left")
    else:
        index = said.with_columns(pl.lit(0, dtype=NUMBER).alias(TABLE))
    index = index.select(*SENT, pl.col(TABLE).fill_null(0))
    if again.height:
        copied = write_table(store, table_key(request.prefix, Kind.SENT, f"{part}-kept"), again)
        index = pl.concat([index, again.lazy().select(*SENT, pl.lit(len(tables), dtype=NUMBER).alias(TABLE))])
        tables.append(part_of(store, copied, again.height))
    rows = int(said.select(pl.len()).collect().item()) + again.height
    with reading():
        key = sink_table(store, table_key(request.prefix, Kind.SENT, part), index, rows)
    manifest = SentManifest(part_of(store, key, rows), tuple(tables), tuple(fields))
    return write_manifest(store, manifest_key(request.prefix, Kind.SENT.value, part), manifest)
