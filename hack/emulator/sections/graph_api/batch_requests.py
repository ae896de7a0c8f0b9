"""Batch requests: up to 50 calls in one, each on its own account."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import parse_qsl, urlsplit

from hack.emulator import bodies, jsons, messages
from hack.emulator.bodies import Parameters, UploadedFile
from hack.emulator.documented import documented

OPERATIONS_MAX = 50  # Batch Requests: limit of requests in one batch
INHERITED = ("access_token", "appsecret_proof", "appsecret_time")
REFERENCE = re.compile(r"\{result=")


@dataclass(frozen=True, slots=True)
class Result:
    status: int
    headers: dict[str, str]
    body: bytes


Runner: TypeAlias = "Callable[[str, str, str, Parameters], Awaitable[Result]]"


@documented(
    "batch_requests.run",
    page="Batch Requests",
    section="Batch requests",
    says=(
        "POST / with batch: at most 50 operations, each counted as a call; the answer is a list of code, headers and "
        "body, a JSON text, in the same order"
    ),
)
async def run(runner: Runner, found: Parameters) -> jsons.Json:
    value = found["batch"]
    operations = _decoded(value)
    if len(operations) > OPERATIONS_MAX:
        raise messages.invalid(f"Too many requests in batch message. Maximum batch size is {OPERATIONS_MAX}", "batch")
    files = {name: part for name, part in found.items() if isinstance(part, UploadedFile)}
    shared = {name: found[name] for name in INHERITED if name in found}
    with_headers = str(found.get("include_headers", "true")).lower() not in ("false", "0")
    answers: list[jsons.Json] = []
    for operation in operations:
        result = await _one(runner, jsons.as_object(operation), shared, files)
        answer: jsons.Object = {"code": result.status}
        if with_headers:
            answer["headers"] = [{"name": name, "value": text} for name, text in result.headers.items()]
        answer["body"] = result.body.decode()
        answers.append(answer)
    return answers


def _decoded(value: bodies.Value) -> list[jsons.Json]:
    try:
        found = jsons.parse(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise messages.invalid("batch parameter must be a JSON array", "batch")
    return found


async def _one(runner: Runner, operation: jsons.Object, shared: Parameters, files: dict[str, UploadedFile]) -> Result:
    method = jsons.as_text(operation.get("method")).upper()
    relative = jsons.as_text(operation.get("relative_url"))
    if not method or not relative:
        raise messages.invalid("each operation of a batch needs method and relative_url", "batch")
    if REFERENCE.search(relative) or REFERENCE.search(jsons.as_text(operation.get("body"))):
        raise messages.not_built("Batch Requests: dependencies between operations")
    target = urlsplit("/" + relative.lstrip("/"))
    found: Parameters = {**shared, **dict(parse_qsl(target.query, keep_blank_values=True))}
    body = operation.get("body")
    if isinstance(body, str):
        found.update(parse_qsl(body, keep_blank_values=True))
    elif isinstance(body, dict):
        found.update(body)
    attached = [name.strip() for name in jsons.as_text(operation.get("attached_files")).split(",") if name.strip()]
    for name in attached:
        if name not in files:
            raise messages.invalid(f"File {name} has not been attached", "attached_files")
        found[name] = files[name]
    return await runner(method, target.path, target.query, bodies.fold_indexed(found))
