"""`items_batch`: up to 5,000 item changes in one call, worked through later."""

from hack.emulator import jsons, params
from hack.emulator.documented import Provenance, behaviour, documented
from hack.emulator.judging import CREATE, DELETE
from hack.emulator.params import Param
from hack.emulator.routing import Bucket, Call, Subject, Type, route
from hack.emulator.sections.catalog import batches, item_rules
from hack.emulator.sections.catalog.batches import Asked, Read

behaviour(
    "batch.limits",
    page="Product Catalog Items Batch",
    section="Limits",
    provenance=Provenance.DOCUMENTED,
    says=(
        "at most 5,000 requests and 28 MB in one call; a larger payload is HTTP 500 with code 1, `Please reduce the "
        "amount of data`"
    ),
)
behaviour(
    "batch.validation",
    page="Product Catalog Items Batch",
    section="Response",
    provenance=Provenance.DOCUMENTED,
    says="validation_status names rows with something to say; an unknown field is a warning and the rest is ingested",
)
behaviour(
    "batch.empty_handles",
    page="Product Catalog Items Batch",
    section="Response",
    provenance=Provenance.DOCUMENTED,
    says="no handle means that nothing was ingested",
)
behaviour(
    "batch.methods",
    page="Product Catalog Items Batch",
    section="Requests",
    provenance=Provenance.DOCUMENTED,
    says=(
        "CREATE needs every required field, UPDATE takes any subset, DELETE only the id; an empty value clears; "
        "allow_upsert lets UPDATE create"
    ),
)


@documented(
    "batch.create",
    page="Product Catalog Items Batch",
    section="Creating",
    says="POST items_batch answers at once with at most one handle and what it says about single rows",
)
@route(
    "POST",
    Type.CATALOG,
    "items_batch",
    params=[*batches.PARAMS, Param("item_sub_type", params.text)],
    bucket=Bucket.BATCH,
)
async def create(call: Call, subject: Subject) -> jsons.Json:
    return batches.run(call, subject, _read_one, "batch")


def _read_one(call: Call, read: Read, asked: Asked) -> None:
    values = read.values(asked)
    if asked.operation == DELETE:
        read.rows.append((DELETE, asked.line, asked.rid, 0, ""))
        return
    creates = asked.operation == CREATE
    issues = [issue for name in values if (issue := batches.typed(name, asked.data.get(name))) is not None]
    recommend = creates and call.world.switches.warn_missing_recommended == "true"
    checked = item_rules.check_row(values, complete=creates, recommend=recommend)
    issues += checked.issues
    if not read.judge(call, asked, issues):
        return
    lost = batches.dropped(issues)
    kept = {name: checked.values[name] for name in values if name in checked.values and name not in lost}
    read.rows.append((asked.operation, asked.line, asked.rid, *call.world.items.encode(kept)))
