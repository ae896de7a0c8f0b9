"""What an idle operator costs: `python -m hack.bench.idle [--catalogs C] [--shards S] [--seconds N]`.

Real kube-apiserver, real operator under its role, the stand-in for Meta over HTTP. Waits until every shard has its feed
and nothing is under way, then measures memory and processor time of the operator, and its requests to the API server
from that server's audit log.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from hack.controlplane import audit
from hack.controlplane.cluster import ControlPlane
from hack.demo import export, products, world
from hack.demo.options import Options
from hack.emulator.world import TEST_TOKEN

NAMESPACE = "idle"
PRODUCTS = 1_000
READY_SECONDS = 900.0
SETTLE_SECONDS = 20.0
POLL_SECONDS = 2.0
ROOT = Path(__file__).parents[2]


def manifest(catalogs: int, shards: int, url: str) -> str:
    """Catalogs without schedules where there are many shards: the cost of being there, not of sending."""
    objects: list[dict[str, object]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "meta", "namespace": NAMESPACE, "labels": {"metacatalog.dev/credential": "true"}},
            "stringData": {"token": TEST_TOKEN},
        },
        _resource(
            "MetaConnection",
            "acme",
            {"graph": {"businessID": "1234567890", "tokenSecretRef": {"name": "meta", "key": "token"}}},
        ),
    ]
    for number in range(catalogs):
        spec: dict[str, object] = {
            "connectionRef": {"name": "acme"},
            "name": f"Idle {number}",
            "items": [{"name": "products", "source": {"http": {"url": url}}}],
            "sharding": {"shards": shards},
        }
        if shards > 1:
            spec["ingestion"] = {"profile": "None"}
        objects.append(_resource("Catalog", f"idle-{number}", spec))
    return "\n---\n".join(json.dumps(one) for one in objects)


def _resource(kind: str, name: str, spec: dict[str, object]) -> dict[str, object]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "metacatalog.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m hack.bench.idle", description=__doc__)
    parser.add_argument("--catalogs", type=int, default=1)
    parser.add_argument("--shards", type=int, default=1, help="per catalog, at most 256")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long is measured")
    options = parser.parse_args()
    manifests = [*sorted((ROOT / "crds").glob("*.yaml")), ROOT / "manifests" / "rbac.yaml"]
    with tempfile.TemporaryDirectory() as directory:
        places = world.prepare(Path(directory) / "idle")
        try:
            with ControlPlane.start(Path(directory) / "controlplane", manifests=manifests) as plane:
                print(json.dumps(_measure(plane, places, options), indent=1))
        finally:
            world.erase(places.directory)
    return 0


def _measure(plane: ControlPlane, places: world.Places, options: argparse.Namespace) -> dict[str, object]:
    export.write(places.export, [product.row() for product in products.catalog(PRODUCTS, 1)])
    settings = Options(directory=places.directory, speed=1.0)
    emulator = world.start_emulator(places, settings)
    source = world.start_source(places, settings, emulator)
    plane.kubectl("apply", "--filename=-", input=manifest(options.catalogs, options.shards, source.url))
    began = time.monotonic()
    operator = world.start_operator(places, settings, plane, emulator)
    _until_ready(plane, options.catalogs * options.shards)
    ready_seconds = time.monotonic() - began
    time.sleep(SETTLE_SECONDS)  # noqa: TID251 - what began before must not be measured
    process = psutil.Process(operator.identity.pid)
    before, cpu = len(list(audit.requests(plane.audit_log))), sum(process.cpu_times()[:2])
    time.sleep(options.seconds)  # noqa: TID251 - the measurement
    asked = list(audit.requests(plane.audit_log))[before:]
    ours = [one for one in asked if "meta-catalog-operator" in one.user]
    verbs = Counter(f"{one.verb} {one.resource}" for one in ours)
    minutes = options.seconds / 60
    return {
        "shards": options.catalogs * options.shards,
        "all_feeds_after_seconds": round(ready_seconds, 1),
        "rss_mib": round(process.memory_info().rss / (1 << 20), 1),
        "cpu_percent": round(100 * (sum(process.cpu_times()[:2]) - cpu) / options.seconds, 2),
        "requests_per_minute": round(len(ours) / minutes, 1),
        "by_verb": {name: round(count / minutes, 1) for name, count in verbs.most_common()},
    }


def _until_ready(plane: ControlPlane, shards: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        text = plane.kubectl("get", "mshard", "--namespace", NAMESPACE, "--output=jsonpath={.items[*].status.feedID}")
        if len(text.split()) >= shards:
            return
        if time.monotonic() > deadline:
            sys.exit(f"only {len(text.split())} of {shards} shards have a feed after {READY_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)  # noqa: TID251 - the operator is at work


if __name__ == "__main__":
    sys.exit(main())
