"""The main job in steps, each checked at Meta and in the status of the resources.

What Meta holds is asked of the stand-in, never of the operator. A step that does not come about within its time ends
the demo with what was seen instead; everything stays up then too.
"""

import contextlib
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import yaml

from controller.api import names
from controller.clock import SystemClock
from hack.controlplane.binaries import Recipe
from hack.controlplane.cluster import ControlPlane, KubectlError
from hack.controlplane.processes import Process
from hack.demo import closing, edits, export, products, promises, world
from hack.demo.cluster import CATALOG, Cluster, conditions, status
from hack.demo.meta import Meta, differences
from hack.demo.options import REPOSITORY, Options
from hack.demo.telling import Telling
from hack.demo.world import DemoError, Places, Service
from hack.emulator import jsons
from hack.emulator.world import TEST_TOKEN

STEPS = 9
SAMPLE = REPOSITORY / "manifests" / "samples" / "demo.yaml"
SAMPLE_SOURCE = "http://127.0.0.1:8000/export/products.csv"
SAMPLE_TOKEN = "replace-me"
PATIENCE_SECONDS = 90.0
"""A step takes ten to thirty seconds on two idle cores; the rest is for machines that do much else."""
META_SECONDS = 600.0
"""What Meta may take for one step, on its own clock."""
APPROVAL_HOURS = 1
APPROVER = "admin"
"""The user of the administrator's kubeconfig."""
MESSAGE_WIDTH = 114


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs."""

    places: Places
    plane: ControlPlane
    emulator: Service
    source: Service
    operator: Process


def play(options: Options, telling: Telling) -> int:
    """Begin with an empty world, tell the story, judge it. The exit code."""
    places = world.prepare(options.directory)
    stage = _set_up(places, options, telling)
    meta = Meta(stage.emulator.url)
    try:
        story = Story(stage, meta, telling, PATIENCE_SECONDS + META_SECONDS / options.speed)
        story.first_load()
        story.prices_and_stock()
        story.broken_product()
        story.third_lost()
        return story.verdict()
    finally:
        meta.close()


def _set_up(places: Places, options: Options, telling: Telling) -> Stage:
    telling.step("A shop, and the stand-in for Meta")
    shop = products.catalog(options.products, options.seed)
    export.write(places.export, [product.row() for product in shop])
    emulator = world.start_emulator(places, options)
    source = world.start_source(places, options, emulator)
    telling.done(f"{len(shop):,} products at {source.url}")
    telling.done(f"the stand-in for Meta at {emulator.url}; nothing leaves this machine")
    telling.say(f"time is compressed: its clock runs {options.speed:g} times as fast as ours (a batch that takes Meta")
    telling.say("two minutes takes it seconds), and the operator's waits for Meta are divided by as much")

    telling.step("A real control plane, as processes")
    plane = ControlPlane.start(places.control_plane, manifests=_installed(), outlives=True)
    version = Recipe.read().kubernetes_version
    telling.done(f"kube-apiserver {version}, kube-controller-manager and etcd at {plane.url}")

    telling.step("CRDs, roles and samples, with kubectl")
    cluster = Cluster(plane)
    samples = sorted(path for path in SAMPLE.parent.glob("*.yaml") if path != SAMPLE)
    said = plane.kubectl("apply", "--dry-run=server", *(f"--filename={path}" for path in samples))
    telling.done(f"the API server accepts the {len(samples)} other samples: {len(said.splitlines())} objects (dry run)")
    _write_manifest(places, source.url)
    for line in cluster.apply(str(places.manifest)).splitlines():
        telling.say(line)

    telling.step("The operator, under its own role")
    operator = world.start_operator(places, options, plane, emulator)
    telling.done(f"works as system:serviceaccount:{plane.namespace}:{plane.service_account}")
    world.remember(
        places,
        emulator=emulator.url,
        source=source.url,
        operator=_probes(operator),
        api_server=plane.url,
        speed=f"{options.speed:g}",
    )
    return Stage(places, plane, emulator, source, operator)


def _installed() -> list[Path]:
    crds = sorted((REPOSITORY / "crds").glob("*.yaml"))
    return [*crds, *sorted((REPOSITORY / "manifests").glob("*.yaml"))]


def _write_manifest(places: Places, source: str) -> None:
    text = SAMPLE.read_text()
    for said, meant in ((SAMPLE_SOURCE, source), (SAMPLE_TOKEN, TEST_TOKEN)):
        if text.count(said) != 1:
            raise DemoError(f"{SAMPLE} should say {said} once")
        text = text.replace(said, meant)
    places.manifest.write_text(text)


def _probes(operator: Process) -> str:
    listening = world.logged(operator, "listening") or {}
    return f"http://{world.HOST}:{listening.get('port')}"


class Story:
    def __init__(self, stage: Stage, meta: Meta, telling: Telling, patience: float) -> None:
        """`patience` is how many seconds anything may take."""
        self._patience = patience
        self._stage = stage
        self._meta = meta
        self._telling = telling
        self._cluster = Cluster(stage.plane)
        self._rows = export.read(stage.places.export)
        self._expected = dict(self._rows)
        """What Meta should hold; a row that Meta refuses stays as it was."""
        self._catalog_id = ""
        self._ready_seconds = 0.0

    def first_load(self) -> None:
        telling = self._telling
        telling.step("The first load: kubectl wait until Ready, Synced and Fresh")
        for condition in ("Ready", "Synced", "Fresh"):
            self._kubectl_wait(condition)
            telling.done(condition)
            self._ready_seconds = self._ready_seconds or telling.elapsed_seconds
        self._catalog_id = jsons.as_text(status(self._cluster.catalog())["catalogID"])
        self._meta_agrees("every field of every product is at Meta as the source has it")

    def prices_and_stock(self) -> None:
        self._telling.step("Prices and stock change at the source")
        changed = edits.prices_and_stock(self._rows)
        self._publish(changed.rows)
        self._expected = dict(self._rows)
        self._telling.say(
            f"{len(changed.ids)} of {len(self._rows):,} products changed, e.g. {', '.join(changed.ids[:3])}"
        )
        self._meta_agrees("Meta has the new prices and quantities")

    def broken_product(self) -> None:
        telling = self._telling
        telling.step("A product breaks, and Meta refuses it")
        item = edits.place(self._rows, edits.BROKEN_PLACE)
        self._publish(edits.broken(self._rows, item))
        telling.say(f"the title of {item} was emptied; rejectedRows: Send lets Meta judge it, not our own checks")
        self._until(self._refusal_is_told, "the Catalog tells of one refused item, in Meta's words")
        issues = conditions(self._cluster.catalog())["ItemIssues"]
        telling.done(f"ItemIssues={issues['status']}, with Meta's own words:")
        telling.text(_wrapped(jsons.as_text(issues["message"])))
        self._meta_agrees("at Meta it is as it was before, and so is everything else")

    def third_lost(self) -> None:
        self._telling.step("The source loses a third of its rows")
        before, broken = self._expected, edits.place(self._rows, edits.BROKEN_PLACE)
        loss = edits.third_lost(self._rows)
        self._publish(loss.rows)
        staying = {**loss.rows, broken: before[broken]}
        self._expected = {**{item: before[item] for item in loss.lost}, **staying}
        self._telling.say(f"{len(loss.lost)} of {len(before):,} are gone; a product, a title and a price are new")
        self._held(len(loss.lost))
        self._meta_agrees("everything else was sent, and Meta still has all that is held, for sale")
        self._approve()
        self._out_of_stock(loss.lost)
        self._expected = staying
        self._meta_agrees("and now they are gone from Meta; everything else is there")

    def verdict(self) -> int:
        telling = self._telling
        telling.step("Verdict")
        self._rest()
        audit = self._meta.audit()
        wrong = [*self._not_as_promised(), *promises.audit_problems(audit)]
        timing = f"after {telling.elapsed_seconds:.0f} s (the first Ready after {self._ready_seconds:.0f} s)"
        text = closing.text(self._stage.places, self._cluster, self._rows, audit, wrong, timing)
        self._stage.places.text.write_text(text)
        telling.text(text)
        return 1 if wrong else 0

    # What is waited for

    def _publish(self, rows: edits.Rows) -> None:
        self._rows = rows
        export.write(self._stage.places.export, rows.values())

    def _meta_agrees(self, done: str) -> None:
        """Wait until Meta holds exactly what is expected."""
        found: list[str] = []

        def agrees() -> bool:
            found[:] = differences(self._expected, self._meta.items(self._catalog_id))
            return not found

        try:
            self._until(agrees, done)
        except DemoError as problem:
            raise DemoError(f"{problem}\n{len(found)} differences, e.g.: {'; '.join(found[:3])}") from problem
        self._telling.done(done)

    def _held(self, count: int) -> None:
        telling = self._telling
        self._kubectl_wait("DeletionsHeld")
        self._until(lambda: self._held_count() == count, f"{count} deletions are held")
        condition = conditions(self._cluster.catalog())["DeletionsHeld"]
        telling.done(f"DeletionsHeld={condition['status']}, reason {condition['reason']}:")
        telling.text(_wrapped(jsons.as_text(condition["message"])))

    def _held_count(self) -> int:
        return jsons.as_integer(jsons.as_object(status(self._cluster.catalog()).get("held")).get("count"))

    def _approve(self) -> None:
        """Approve exactly the set that is held, as a person would: with a file and kubectl."""
        held = jsons.as_object(status(self._cluster.catalog())["held"])
        digest = jsons.as_text(held["digest"])
        document = {
            "apiVersion": names.API_VERSION,
            "kind": "DeletionApproval",
            "metadata": {"name": f"{CATALOG}-clearance"},
            "spec": {
                "catalogRef": {"name": CATALOG},
                "digest": digest,
                "approvedBy": APPROVER,
                "expiresAt": (SystemClock().now() + timedelta(hours=APPROVAL_HOURS)).isoformat(timespec="seconds"),
            },
        }
        self._stage.places.approval.write_text(yaml.safe_dump(document, sort_keys=False))
        said = self._cluster.apply(str(self._stage.places.approval))
        self._telling.done(f"kubectl apply: {said}")
        self._telling.say(f"for exactly this set: {digest[:24]}…, approved by {APPROVER} for {APPROVAL_HOURS} h")

    def _out_of_stock(self, lost: Sequence[str]) -> None:
        """Each was out of stock before it went. Each shard has its own pace, so they are not all so at one time."""
        waiting = set(lost)

        def seen() -> bool:
            held = self._meta.items(self._catalog_id)
            waiting.difference_update(
                item for item in lost if item in held and held[item]["availability"] == "out of stock"
            )
            gone = sorted(waiting - held.keys())
            if gone:
                raise DemoError(f"{len(gone)} items were deleted before they were out of stock, e.g. {gone[0]}")
            return not waiting

        self._until(seen, "Meta shows what was released as out of stock")
        self._telling.done(f"Meta showed each of the {len(lost)} as out of stock")

    def _refusal_is_told(self) -> bool:
        """The count is there a moment before the words."""
        issues = conditions(self._cluster.catalog()).get("ItemIssues", {})
        return self._refused() == 1 and "refused by Meta:" in jsons.as_text(issues.get("message"))

    def _refused(self) -> int:
        catalog = self._cluster.catalog()
        totals = jsons.as_object(status(catalog).get("totals"))
        return jsons.as_integer(totals.get("refused")) if "ItemIssues" in conditions(catalog) else 0

    def _rest(self) -> None:
        def rests() -> bool:
            return not self._meta.busy() and not self._not_as_promised()

        with contextlib.suppress(DemoError):  # the verdict says what is not as promised
            self._until(rests, "everything comes to rest")

    def _not_as_promised(self) -> list[str]:
        return promises.all_problems(self._cluster.objects(promises.CONDITIONS))

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        def looked() -> bool:
            self._telling.waiting(what)
            return holds()

        world.until(self._stage.operator, looked, what, self._patience)

    def _kubectl_wait(self, condition: str) -> None:
        self._telling.waiting(f"kubectl wait --for=condition={condition} catalog/{CATALOG}")
        try:
            self._cluster.wait(condition, self._patience)
        except KubectlError as problem:
            found = conditions(self._cluster.catalog())
            seen = "; ".join(
                f"{kind}={one['status']} ({one['reason']}): {one['message']}" for kind, one in found.items()
            )
            raise DemoError(f"{problem}\nThe Catalog says: {seen or 'nothing yet'}") from problem


def _wrapped(text: str) -> str:
    return textwrap.fill(text, MESSAGE_WIDTH, initial_indent=" " * 6 + "“", subsequent_indent=" " * 7) + "”"
