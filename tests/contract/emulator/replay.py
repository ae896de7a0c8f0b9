"""python -m tests.contract.emulator.replay SEED: a day of calls, and a digest of all that was answered and recorded."""

import asyncio
import hashlib
import json
import sys
from dataclasses import asdict
from random import Random

import httpx

from hack.emulator import switches
from hack.emulator.app import Emulator
from hack.emulator.transport import EmulatorTransport
from tests.contract.emulator.driver import Clock, Meta, create, item, update

ROUNDS = 60


async def play(seed: int) -> str:
    rng = Random(seed)
    clock = Clock()
    drawn = switches.draw(Random(seed))
    emulator = Emulator(clock=clock, seed=seed, switches=drawn)
    digest = hashlib.sha256()
    client = httpx.AsyncClient(transport=EmulatorTransport(emulator), base_url="https://graph.facebook.com")
    async with Meta(clock, emulator, client) as meta:
        catalog, feed = await meta.catalog_and_feed()
        await meta.arm("graph_error", path="products", probability=0.2)
        for _ in range(ROUNDS):
            rids = [f"{rng.randrange(50):02d}" for _ in range(rng.randrange(1, 30))]
            if rng.random() < 0.4:
                await meta.upload(feed, [item(rid, price=f"{rng.randrange(1, 99)}.00 EUR") for rid in rids], wait=False)
            else:
                sent = [update(rid, price=f"{rng.randrange(1, 99)}.00 EUR") for rid in rids] + [create(rids[0])]
                digest.update(json.dumps((await meta.batch(catalog, sent)).body).encode())
            meta.wait(rng.randrange(300))
            page = await meta.get(f"/{catalog}/products", fields="id,retailer_id,price", limit="7")
            digest.update(json.dumps(page.body).encode())
        digest.update(json.dumps(await meta.audit(), sort_keys=True).encode())
        digest.update(json.dumps(await meta.truth(catalog), sort_keys=True).encode())
        for record in emulator.journal.requests:
            digest.update(json.dumps(asdict(record)).encode())
    emulator.close()
    return digest.hexdigest()


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(play(int(sys.argv[1]))) + "\n")
