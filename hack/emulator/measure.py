"""How long a large replace upload takes, and how much memory: python -m hack.emulator.measure [--rows N] [--state DIR]

The emulator runs as a process of its own and gets the file over HTTP, as a client would send it: one gzip member in a
multipart body. The clock runs ten times as fast as usual, so that what is measured is work and not waiting. Two
uploads: into an empty feed, and the same feed with 2 % of the rows changed.
"""

import argparse
import http.client
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from urllib.parse import urlencode, urlsplit

from isal import igzip

SPEED = 10.0
CHANGED_SHARE = 0.02
ROWS_A_WRITE = 2_000
BOUNDARY = "emulator-measure-boundary"
POLL_SECONDS = 0.5
GIVE_UP_SECONDS = 900.0
READ_BYTES = 1024 * 1024
COLUMNS = (
    "id", "title", "description", "availability", "condition", "price", "link", "image_link", "brand", "sale_price",
    "quantity_to_sell_on_facebook", "sale_price_effective_date", "item_group_id", "google_product_category",
    "fb_product_category", "product_type", "additional_image_link", "color", "size", "gender", "age_group", "material",
    "pattern", "gtin", "mpn", "custom_label_0", "custom_label_1", "shipping_weight", "status",
)  # fmt: skip
WORDS = (
    "light", "durable", "cotton", "seam", "winter", "classic", "waterproof", "lined", "pocket", "collar", "ärmellos",
    "größe", "motif", "à manches", "slim", "regular", "soft", "organic", "recycled", "stretch", "breathable", "hooded",
)  # fmt: skip


def row(number: int, text: Random, *, changed: bool) -> list[str]:
    price = number % 190 + (11 if changed else 10)
    words = " ".join(text.choices(WORDS, k=42))
    quoted = f'{words} "{number}"\nWash at 30 degrees.' if number % 33 == 0 else words
    return [
        f"SKU-{number:09d}" if number % 3 else f"{number:012d}",
        f"Article {number} {' '.join(text.choices(WORDS, k=3))}",
        quoted,
        "out of stock" if (number % 17 == 0) ^ changed else "in stock",
        "new",
        f"{price}.99 EUR",
        f"https://shop.example/products/article-{number}?variant={number % 7}",
        f"https://cdn.shop.example/images/{number % 1000:03d}/{number}-front.jpg",
        f"Brand {number % 400}",
        f"{price - 3}.49 EUR" if number % 5 == 0 else "",
        str(number % 250),
        "2026-01-01T00:00+01:00/2027-01-01T00:00+01:00" if number % 50 == 0 else "",
        f"GROUP-{number // 4:08d}",
        "Apparel & Accessories > Clothing > Outerwear > Coats & Jackets",
        "clothing & accessories > clothing > outerwear",
        f"Home > Clothing > Category {number % 300}",
        f"https://cdn.shop.example/images/{number}-a.jpg,https://cdn.shop.example/images/{number}-b.jpg",
        WORDS[number % 7],
        ("S", "M", "L", "XL")[number % 4],
        ("female", "male", "unisex")[number % 3],
        "adult",
        "cotton",
        "plain",
        f"{4000000000000 + number}",
        f"MPN-{number}",
        f"season-{number % 4}",
        f"margin-{number % 9}",
        "1 kg",
        "active",
    ]


def _cell(value: str) -> str:
    doubled = value.replace('"', '""')
    return f'"{doubled}"' if any(mark in value for mark in ',"\n') else value


def write_feed(path: Path, rows: int, *, changed: bool) -> int:
    """A gzip file with one member; answers the size of the text in it."""
    text, choice = Random(1), Random(2)
    size = 0
    with io.BufferedWriter(igzip.open(path, "wb", compresslevel=2)) as file:  # type: ignore[no-untyped-call]
        size += file.write((",".join(COLUMNS) + "\n").encode())
        numbers = iter(range(rows))
        while some := list(itertools.islice(numbers, ROWS_A_WRITE)):
            lines = [
                ",".join(map(_cell, row(number, text, changed=changed and choice.random() < CHANGED_SHARE)))
                for number in some
            ]
            size += file.write(("\n".join(lines) + "\n").encode())
    return size


@dataclass(frozen=True, slots=True)
class Figures:
    what: str
    rows: int
    answered_seconds: float
    done_seconds: float
    cpu_seconds: float  # of the emulator; what a machine with other work on it can be compared by
    peak_rss_bytes: int
    counters: dict[str, object]


@dataclass(frozen=True, slots=True)
class Client:
    host: str
    port: int
    token: str

    def call(self, method: str, path: str, fields: dict[str, str] | None = None) -> dict[str, object]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=GIVE_UP_SECONDS)
        query = urlencode({"access_token": self.token, **(fields or {})})
        connection.request(method, f"{path}?{query}")
        answer: dict[str, object] = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def upload(self, feed: str, file: Path) -> str:
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="update_only"\r\n\r\nfalse\r\n--{BOUNDARY}\r\n'
            f'Content-Disposition: form-data; name="file"; filename="{file.name}"\r\nContent-Type: text/csv\r\n\r\n'
        ).encode()
        tail = f"\r\n--{BOUNDARY}--\r\n".encode()
        connection = http.client.HTTPConnection(self.host, self.port, timeout=GIVE_UP_SECONDS)
        headers = {
            "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
            "Content-Length": str(len(head) + file.stat().st_size + len(tail)),
        }

        def body() -> Iterator[bytes]:
            yield head
            with file.open("rb") as content:
                while block := content.read(READ_BYTES):
                    yield block
            yield tail

        connection.request("POST", f"/v26.0/{feed}/uploads?access_token={self.token}", body=body(), headers=headers)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return str(answer["id"])


def peak_rss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_upload(client: Client, pid: int, feed: str, file: Path, what: str, rows: int) -> Figures:
    started, cpu = time.monotonic(), cpu_seconds(pid)
    session = client.upload(feed, file)
    answered = time.monotonic() - started
    names = "end_time,num_detected_items,num_persisted_items,num_invalid_items,num_deleted_items,error_count"
    while True:
        counters = client.call("GET", f"/v26.0/{session}", {"fields": names})
        pending = client.call("GET", "/_emulator/stats")["effects_pending"]
        if "end_time" in counters and pending == 0:
            break
        if time.monotonic() - started > GIVE_UP_SECONDS:
            raise TimeoutError(f"{what} did not end within {GIVE_UP_SECONDS:g} s: {counters}")
        time.sleep(POLL_SECONDS)  # noqa: TID251  # a process of its own is watched from outside
    done, used = time.monotonic() - started, cpu_seconds(pid) - cpu
    return Figures(what, rows, answered, done, used, peak_rss_bytes(pid), counters)


def measure(rows: int, state: Path | None, directory: Path) -> list[Figures]:
    first, second = directory / "first.csv.gz", directory / "second.csv.gz"
    size = write_feed(first, rows, changed=False)
    write_feed(second, rows, changed=True)
    print(f"{rows:,} rows, {size / rows:.0f} bytes a row, {first.stat().st_size / 1e6:.0f} MB gzip", flush=True)
    command = [sys.executable, "-m", "hack.emulator", "--port", "0", "--speed", str(SPEED)]
    command += ["--state", str(state)] if state is not None else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None, "it is a pipe"
        try:
            about = json.loads(process.stdout.readline())
            parts = urlsplit(about["url"])
            client = Client(str(parts.hostname), int(parts.port or 0), about["token"])
            business = about["business"]
            catalog = client.call("POST", f"/v26.0/{business}/owned_product_catalogs", {"name": "Measured"})["id"]
            feed = str(client.call("POST", f"/v26.0/{catalog}/product_feeds", {"name": "Measured"})["id"])
            return [
                run_upload(client, process.pid, feed, first, "into an empty feed", rows),
                run_upload(client, process.pid, feed, second, "2 % changed", rows),
            ]
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m hack.emulator.measure", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--state", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        for one in measure(options.rows, options.state, Path(directory)):
            print(
                f"{one.what}: answered {one.answered_seconds:.1f} s, done {one.done_seconds:.1f} s, "
                f"processor {one.cpu_seconds:.1f} s, "
                f"peak RSS {one.peak_rss_bytes / 2**20:.0f} MiB, {one.counters}",
                flush=True,
            )


if __name__ == "__main__":
    main()
