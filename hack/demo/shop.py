"""The shop's web server: serves the export, and is the auditor's witness.

    python -m hack.demo.shop --file products.csv --port 0 --emulator http://127.0.0.1:8080

GET /export/products.csv answers the file as it is on disk, with an ETag; edit the file and the next look finds it
changed. Every version is told to the emulator's auditor before its first byte goes out, so that nothing can reach Meta
that the witness does not know; while the auditor can't be told, the export answers 503. The first line of output is one
JSON object: `url` and `pid`.
"""

import argparse
import asyncio
import hashlib
import os
import signal
from pathlib import Path

import httpx
from aiohttp import web

from hack.demo import export, witness
from hack.emulator import jsons

HOST = "127.0.0.1"
PATH = "/export/products.csv"
TELL_SECONDS = 30.0


class UntoldError(Exception):
    """The auditor could not be told."""


class Shop:
    """One file and what was said of it."""

    def __init__(self, file: Path, auditor: httpx.AsyncClient) -> None:
        self._file = file
        self._auditor = auditor
        self._told: dict[str, dict[str, str]] = {}
        self._etag = ""
        self._sequence = 0
        self._turn = asyncio.Lock()

    async def export(self, request: web.Request) -> web.Response:
        try:
            content, etag = await self.version()
        except OSError as problem:
            return web.Response(status=500, text=f"the export can't be read: {problem.strerror}\n")
        except UntoldError as problem:
            return web.Response(status=503, text=f"{problem}\n")
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        return web.Response(body=content, content_type="text/csv", charset="utf-8", headers={"ETag": etag})

    async def version(self) -> tuple[bytes, str]:
        """The file as it is now, told to the auditor. Raises OSError, UntoldError."""
        async with self._turn:
            content = self._file.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            if etag != self._etag:
                await self._tell(witness.said(export.parse(content)))
                self._etag = etag
            return content, etag

    async def _tell(self, values: dict[str, dict[str, str]]) -> None:
        testimony = witness.testify(self._told, values, self._sequence + 1)
        try:
            answer = await self._auditor.post("/_emulator/witness", content=jsons.dump(testimony.body()))
            answer.raise_for_status()
        except httpx.HTTPError as problem:
            raise UntoldError(f"the auditor can't be told of the new version: {problem}") from problem
        self._sequence += 1
        self._told = values


async def serve(file: Path, port: int, emulator: str) -> None:
    async with httpx.AsyncClient(base_url=emulator, timeout=TELL_SECONDS, trust_env=False) as auditor:
        shop = Shop(file, auditor)
        application = web.Application()
        application.router.add_get(PATH, shop.export)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, HOST, port).start()
        bound = int(runner.addresses[0][1])
        print(jsons.dump_text({"url": f"http://{HOST}:{bound}{PATH}", "pid": os.getpid()}), flush=True)
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await stop.wait()
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m hack.demo.shop", description="The demo's source of products.")
    parser.add_argument("--file", type=Path, required=True, help="the export, which may be edited at any time")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--emulator", required=True, help="base address of the stand-in for Meta")
    options = parser.parse_args()
    asyncio.run(serve(options.file, options.port, options.emulator))


if __name__ == "__main__":
    main()
