"""A client for tests: raw HTTP against the emulator, on a clock that the test moves."""

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from hack.emulator import world
from hack.emulator.app import Emulator

VERSION = "v26.0"
START = 1_800_000_000.0
PROMPT: dict[str, Any] = {  # nothing is late, so that a test can look at one thing
    "listing_lag_seconds": 0,
    "reads_lag_seconds": 0,
    "effects_after_finished_seconds": 0,
    "short_pages": "false",
    "usage_header_after_calls": 0,
    "warn_missing_recommended": "false",
    "upload_delay_seconds": 0,
}
COLUMNS = ("id", "title", "description", "availability", "condition", "price", "link", "image_link", "brand")


@dataclass
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any

    def __getitem__(self, name: str) -> Any:
        return self.body[name]

    @property
    def code(self) -> int:
        return int(self.body["error"]["code"])

    @property
    def message(self) -> str:
        return str(self.body["error"]["message"])

    @property
    def rows(self) -> list[dict[str, Any]]:
        return list(self.body["data"])


def item(rid: str, **values: str) -> dict[str, str]:
    """A whole product row."""
    whole = {
        "id": rid,
        "title": f"Title of {rid}",
        "description": "A thing, well described",
        "availability": "in stock",
        "condition": "new",
        "price": "12.50 EUR",
        "link": "https://shop.example/1",
        "image_link": "https://shop.example/1.jpg",
        "brand": "ACME",
    }
    return {**whole, **values}


def feed_file(rows: Sequence[Mapping[str, str]], columns: Sequence[str] | None = None, delimiter: str = ",") -> bytes:
    names = list(columns or dict.fromkeys(name for row in rows for name in row))

    def cell(value: str) -> str:
        doubled = value.replace('"', '""')
        return f'"{doubled}"' if any(mark in value for mark in (delimiter, '"', "\n")) else value

    lines = [delimiter.join(names)]
    lines += [delimiter.join(cell(row.get(name, "")) for name in names) for row in rows]
    return ("\n".join(lines) + "\n").encode()


@dataclass
class Meta:
    """One emulator and one client."""

    clock: Clock
    emulator: Emulator
    client: httpx.AsyncClient
    token: str = world.TEST_TOKEN
    business: str = world.TEST_BUSINESS
    sent: list[str] = field(default_factory=list)

    async def call(self, method: str, path: str, *, version: str = VERSION, **options: Any) -> Answer:
        """`params` beside the token; `data`, `json`, `files`, `headers` as httpx has them."""
        params = {"access_token": self.token, **options.pop("params", {})}
        self.sent.append(f"{method} {path}")
        answer = await self.client.request(method, f"/{version}{path}" if version else path, params=params, **options)
        body = answer.json() if "json" in answer.headers.get("content-type", "") and answer.content else answer.content
        return Answer(answer.status_code, answer.headers, body)

    async def get(self, path: str, **params: str) -> Answer:
        return await self.call("GET", path, params=params)

    async def post(self, path: str, **data: str) -> Answer:
        return await self.call("POST", path, data=data)

    async def control(self, method: str, path: str, document: Any = None, **params: str) -> Any:
        answer = await self.client.request(method, f"/_emulator{path}", params=params, json=document)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def arm(self, kind: str, **options: Any) -> None:
        await self.control("POST", "/faults", {"kind": kind, **options})

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    async def catalog(self, name: str = "Shoes") -> str:
        return str((await self.post(f"/{self.business}/owned_product_catalogs", name=name))["id"])

    async def feed(self, catalog: str, name: str = "Feed", **settings: str) -> str:
        return str((await self.post(f"/{catalog}/product_feeds", name=name, **settings))["id"])

    async def catalog_and_feed(self, **settings: str) -> tuple[str, str]:
        catalog = await self.catalog()
        return catalog, await self.feed(catalog, **settings)

    async def upload(
        self,
        feed: str,
        rows: Sequence[Mapping[str, str]] | bytes,
        *,
        update_only: bool = False,
        packed: bool = False,
        wait: bool = True,
    ) -> str:
        content = rows if isinstance(rows, bytes) else feed_file(rows)
        content = gzip.compress(content) if packed else content
        name = "feed.csv.gz" if packed else "feed.csv"
        answer = await self.call(
            "POST",
            f"/{feed}/uploads",
            data={"update_only": str(update_only).lower()},
            files={"file": (name, content, "text/csv")},
        )
        assert answer.status == 200, answer.body
        if wait:
            self.wait(60)
        return str(answer["id"])

    async def session(self, upload: str) -> dict[str, Any]:
        names = (
            "start_time,end_time,error_count,warning_count,num_detected_items,num_persisted_items,num_invalid_items,"
            "num_deleted_items,filename,url,input_method"
        )
        answer = await self.get(f"/{upload}", fields=names)
        assert answer.status == 200, answer.body
        return dict(answer.body)

    async def batch(self, catalog: str, requests: Sequence[Mapping[str, Any]], **options: Any) -> Answer:
        return await self.call(
            "POST",
            f"/{catalog}/items_batch",
            json={"item_type": "PRODUCT_ITEM", "requests": list(requests), **options},
        )

    async def localized(self, catalog: str, requests: Sequence[Mapping[str, Any]], **options: Any) -> Answer:
        return await self.call(
            "POST",
            f"/{catalog}/localized_items_batch",
            json={"item_type": "PRODUCT_ITEM", "requests": list(requests), **options},
        )

    async def status(self, catalog: str, handle: str, **params: str) -> dict[str, Any]:
        answer = await self.get(
            f"/{catalog}/check_batch_request_status", handle=handle, load_ids_of_invalid_requests="true", **params
        )
        assert answer.status == 200, answer.body
        return dict(answer.rows[0])

    async def truth(self, catalog: str) -> dict[str, dict[str, Any]]:
        """What Meta really holds, whatever reads say."""
        answer = await self.client.get("/_emulator/items", params={"catalog": catalog})
        lines = [json.loads(line) for line in answer.text.splitlines() if line]
        return {line["id"]: line for line in lines if "id" in line}

    async def errors(self, upload: str, **params: str) -> list[dict[str, Any]]:
        names = "id,summary,description,severity,error_type,total_count,row_number,samples{retailer_id,row_number}"
        return (await self.get(f"/{upload}/errors", fields=names, **params)).rows

    async def audit(self) -> Any:
        return await self.control("GET", "/audit")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()


def update(rid: str, **values: Any) -> dict[str, Any]:
    return {"method": "UPDATE", "data": {"id": rid, **values}}


def create(rid: str, **values: str) -> dict[str, Any]:
    return {"method": "CREATE", "data": item(rid, **values)}


def delete(rid: str) -> dict[str, Any]:
    return {"method": "DELETE", "data": {"id": rid}}


def localized(rid: str, key: str, method: str = "UPDATE", **values: Any) -> dict[str, Any]:
    """Values for one language (fr_XX), country (FR), or both (fr_XX|FR)."""
    type_ = "LANGUAGE_AND_COUNTRY" if "|" in key else "LANGUAGE" if "_" in key else "COUNTRY"
    return {"method": method, "data": {"id": rid, **values}, "localization": {"type": type_, "value": key}}
