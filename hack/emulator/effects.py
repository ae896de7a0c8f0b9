"""What happens to items later, stored as "effect at T" and applied when the clock has passed T.

An effect is a pack of rows that take effect at one instant. In sessions of up to `SCATTER_ROWS_MAX` rows every row is a
pack of its own, at an instant drawn from the session's span, so that two operations on one item really interleave; in
larger ones 5,000 rows share an instant. Effects are applied in the order of their instants across all sessions, however
seldom the clock is looked at. There is no thread and no timer.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
from isal import isal_zlib

from hack.emulator import keysets, localizing
from hack.emulator.documented import Provenance, behaviour
from hack.emulator.items import Item
from hack.emulator.journal import Applied, Journal, Lost
from hack.emulator.judging import DELETE, DUPLICATE, REPLACE, Row, Verdict, judge
from hack.emulator.keysets import item_key
from hack.emulator.sections.catalog import item_fields, item_rules
from hack.emulator.sections.catalog.item_rules import Issue
from hack.emulator.world import Session, World

SCATTER_ROWS_MAX = 20_000
PACK_ROWS = 5_000
LATE_SHARE = 0.3  # of the rows of a scattered session become effective after it finished
DUE_AT_ONCE = 64  # effects taken from the table in one go
DUPLICATES_CACHED = 256  # sessions whose duplicate ids are held in memory

PART, RECORD = "\x1d", "\x1e"  # separate what is packed; see Uniform

behaviour(
    "effects.scattered",
    page="Catalog integration guide",
    section="Batch API",
    provenance=Provenance.DOCUMENTED,
    says="the order in which the rows of one session take effect is not defined, nor that of two sessions in flight",
)
behaviour(
    "effects.replace_deletes_missing",
    page="Catalog integration guide / Product Feed",
    section="Primary Replace Feed Upload",
    provenance=Provenance.DOCUMENTED,
    says=(
        "at the end of a replace upload the items of this feed that the file lacks are deleted, where deletion_enabled"
    ),
)
behaviour(
    "effects.update_keeps_missing",
    page="Catalog integration guide / Feed API Reference",
    section="Update Feed Upload",
    provenance=Provenance.DOCUMENTED,
    says="an update upload creates and updates, touches only the columns it has, and deletes no missing item",
)


@dataclass(slots=True)
class _Writes:
    inserts: dict[str, Item] = field(default_factory=dict)
    updates: dict[str, Item] = field(default_factory=dict)
    deletes: dict[str, Item] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Uniform:
    """Rows of one operation and one layout, column by column: a tenth of the work for large files."""

    operation: str
    layout: int
    lines: list[int]
    rids: list[str]
    values: list[str]

    def rows(self) -> Iterator[Row]:
        for line, rid, values in zip(self.lines, self.rids, self.values, strict=True):
            yield self.operation, line, rid, self.layout, values


def pack(rows: Sequence[Row]) -> bytes:
    text = orjson.dumps(rows)
    return b"j" + text if len(rows) == 1 else b"z" + isal_zlib.compress(text, 1)


def pack_uniform(rows: Uniform) -> bytes:
    """Ids and values must be free of the two separators."""
    head = orjson.dumps([rows.operation, rows.layout, rows.lines]).decode()
    text = PART.join((head, RECORD.join(rows.rids), RECORD.join(rows.values)))
    return b"u" + isal_zlib.compress(text.encode(), 1)


def unpack(packed: bytes) -> list[Row] | Uniform:
    if packed[:1] == b"u":
        head, rids, values = isal_zlib.decompress(packed[1:]).decode().split(PART)
        operation, layout, lines = orjson.loads(head)
        return Uniform(operation, layout, lines, rids.split(RECORD), values.split(RECORD))
    text = packed[1:] if packed[:1] == b"j" else isal_zlib.decompress(packed[1:])
    rows: list[Row] = orjson.loads(text)
    return rows


class Effects:
    def __init__(self, world: World, journal: Journal) -> None:
        self.world = world
        self.journal = journal
        self.db = world.store.db
        self._dirty: dict[int, Session] = {}
        self._duplicates: dict[int, frozenset[int]] = {}
        self._added_earliest = float("inf")
        self.next_due = self._earliest()

    def _earliest(self) -> float:
        found = self.db.execute("SELECT min(at) FROM effect").fetchone()[0]
        return float("inf") if found is None else float(found)

    # -- planning

    def add(
        self,
        session: Session,
        kind: str,
        at: float,
        *,
        late: float = 0.0,
        judged: bool = False,
        rows: Sequence[Row] = (),
    ) -> None:
        self.add_packed(session, [(at, late, pack(rows))], kind=kind, judged=judged)

    def add_packed(
        self, session: Session, packs: Sequence[tuple[float, float, bytes]], *, kind: str = "rows", judged: bool = False
    ) -> None:
        self.db.executemany(
            "INSERT INTO effect (at, late, session, kind, judged, packed) VALUES (?, ?, ?, ?, ?, ?)",
            [(at, late, session.id, kind, int(judged), packed) for at, late, packed in packs],
        )
        earliest = min((at for at, _, _ in packs), default=float("inf"))
        self._added_earliest = min(self._added_earliest, earliest)
        self.next_due = min(self.next_due, earliest)

    def scatter(self, session: Session, rows: Sequence[Row]) -> float:
        """Each row at its own instant; answers the last of them."""
        rng = self.world.rng("scatter", session.id)
        span = session.ends - session.starts
        lag = self.world.switches.effects_after_finished_seconds
        packs: list[tuple[float, float, bytes]] = []
        last = session.ends
        for row in rows:
            at = session.starts + rng.random() * span
            late = rng.random() * lag if rng.random() < LATE_SHARE else 0.0
            last = max(last, session.ends + late)
            packs.append((at, late, pack((row,))))
        self.add_packed(session, packs)
        return last

    def spread(self, session: Session) -> None:
        """Packs that were staged at a share of the span get their instants."""
        span = session.ends - session.starts
        self.db.execute("UPDATE effect SET at = ? + at * ? WHERE session = ?", (session.starts, span, session.id))
        self.next_due = min(self.next_due, self._earliest())

    def stage(self, session: Session, share: float, packed: bytes) -> None:
        """A pack whose instant is not known yet; `spread` follows before anything else runs."""
        self.db.execute(
            "INSERT INTO effect (at, late, session, kind, judged, packed) VALUES (?, 0, ?, 'rows', 0, ?)",
            (share, session.id, packed),
        )

    def cancel(self, session: Session) -> None:
        self.db.execute("DELETE FROM effect WHERE session = ?", (session.id,))
        self.next_due = self._earliest()

    def cancel_after(self, session: Session, at: float) -> None:
        self.db.execute("DELETE FROM effect WHERE session = ? AND at > ?", (session.id, at))
        self.next_due = self._earliest()

    def keep(self, session: Session, kept: "array[int]", duplicates: "array[int]") -> None:
        self.db.execute(
            "INSERT OR REPLACE INTO keyset VALUES (?, ?, ?)", (session.id, kept.tobytes(), duplicates.tobytes())
        )

    # -- applying

    def apply(self, now: float) -> None:
        while self.next_due <= now:
            self._added_earliest = float("inf")
            due = self.db.execute(
                "SELECT id, at, late, session, kind, judged, packed FROM effect WHERE at <= ? ORDER BY at, id LIMIT ?",
                (now, DUE_AT_ONCE),
            ).fetchall()
            done: list[tuple[int]] = []
            for id_, at, late, session_id, kind, judged, packed in due:
                if at > self._added_earliest:
                    break  # something earlier came up meanwhile
                self._apply_one(self.world.sessions[session_id], kind, at, late, bool(judged), packed)
                done.append((id_,))
            self.db.executemany("DELETE FROM effect WHERE id = ?", done)
            self.next_due = self._earliest()
        for session in self._dirty.values():
            self.world.save(session)
        self._dirty.clear()
        self.world.reads.forget(now)
        self.world.overrides.forget(now)

    def _apply_one(self, session: Session, kind: str, at: float, late: float, judged: bool, packed: bytes) -> None:
        self._dirty[session.id] = session
        if kind == "end":
            self._finish(session, at)
            return
        found = unpack(packed)
        duplicates = self._duplicates_of(session)
        if isinstance(found, Uniform):
            if found.operation == REPLACE and not duplicates and not session.keep_columns:
                self._replace_all(session, found, at)
                return
            found = list(found.rows())
        rows = found
        if session.kind == localizing.KIND:
            self._localize(session, rows, at, late, judged=judged)
            return
        delayed: list[Row] = []
        writes = _Writes()
        present = self.world.items.get_many(session.catalog, [row[2] for row in rows])
        for row in rows:
            before = present.get(row[2])
            if duplicates and item_key(row[2]) in duplicates:
                verdict = Verdict(issues=(DUPLICATE,))
            else:
                verdict = judge(self.world, session, row, before)
            if not judged:
                self._record(session, row, verdict, at)
            if verdict.refused:
                continue
            if late > 0:
                delayed.append(row)
            else:
                self._collect(session, row[2], before, verdict, at, writes, present)
        if delayed:
            self.add(session, "rows", session.ends + late, judged=True, rows=delayed)
        self._write(writes)

    def _localize(self, session: Session, rows: Sequence[Row], at: float, late: float, *, judged: bool) -> None:
        """Rows of a localised batch change what items have for a language or country, and never an item."""
        present = self.world.items.get_many(session.catalog, [row[2] for row in rows])
        delayed: list[Row] = []
        for row in rows:
            item = present.get(row[2])
            change = localizing.judge(self.world, row, item)
            if not judged:
                session.invalid += change.refused
                session.persisted += not change.refused
                self.record_issues(session, row[1], row[2], change.issues, at)
            if change.after is None or item is None:
                continue
            if late > 0:
                delayed.append(row)
            else:
                self._put_override(session, item, change, change.after, at)
        if delayed:
            self.add(session, "rows", session.ends + late, judged=True, rows=delayed)

    def _put_override(
        self, session: Session, item: Item, change: localizing.Change, after: Mapping[str, str], at: float
    ) -> None:
        place = (item.n, change.type, change.key)
        before = self.world.overrides.get(place)
        if before == after:
            return
        share = self.world.draw("reads", session.id, item.rid, at)
        self.world.overrides.put(place, after, visible=at + share * self._reads_lag(session))
        changed = [
            Applied(at, session.catalog, item.rid, name, value, session.mutation)
            for name in sorted(self.journal.watched.get(item.rid, ()))
            if (value := localizing.watched(name, change.key, after))
            not in ("", localizing.watched(name, change.key, before))
        ]
        self.journal.apply(changed)

    def _replace_all(self, session: Session, rows: Uniform, at: float) -> None:
        """What `judge` and `_collect` come to for whole rows of a large file: only rows that change cost anything."""
        items, writes = self.world.items, _Writes()
        present = items.raw_many(session.catalog, rows.rids)
        same = (session.feed, rows.layout)
        watched, keeps_ids = self.journal.watched, self._keeps_ids
        fresh: list[Item] = []
        for line, rid, values in zip(rows.lines, rows.rids, rows.values, strict=True):
            held = present.get(rid)
            if held is not None and held[5] == values and (held[3], held[4]) == same:
                session.persisted += 1
            elif held is None and not keeps_ids and rid not in watched:
                fresh.append(Item(0, session.catalog, rid, session.feed, rows.layout, values, at, at))
                session.persisted += 1
            else:
                before = Item(*held) if held is not None else None
                row = (REPLACE, line, rid, rows.layout, values)
                verdict = judge(self.world, session, row, before)
                self._record(session, row, verdict, at)
                if not verdict.refused:
                    self._collect(session, rid, before, verdict, at, writes, {})
        if fresh:
            items.insert(fresh)
        self._write(writes)

    def _duplicates_of(self, session: Session) -> frozenset[int]:
        found = self._duplicates.get(session.id)
        if found is None:
            row = self.db.execute("SELECT duplicates FROM keyset WHERE session = ?", (session.id,)).fetchone()
            found = frozenset(array("Q", row[0])) if row else frozenset()
            if len(self._duplicates) >= DUPLICATES_CACHED:
                self._duplicates.clear()
            self._duplicates[session.id] = found
        return found

    def _record(self, session: Session, row: Row, verdict: Verdict, at: float) -> None:
        if verdict.refused:
            session.invalid += 1
        elif verdict.after is not None or verdict.delete:
            session.persisted += 1
        self.record_issues(session, row[1], row[2], verdict.issues, at)

    def record_issues(self, session: Session, line: int, rid: str, issues: Sequence[Issue], at: float) -> None:
        if not issues:
            return
        session.errors += sum(issue.severity == item_rules.FATAL for issue in issues)
        session.warnings += sum(issue.severity == item_rules.WARNING for issue in issues)
        self.db.executemany(
            "INSERT INTO row_error VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (session.id, at, line, rid, issue.severity, issue.type, issue.field, issue.summary, issue.description)
                for issue in issues
            ],
        )

    def _collect(
        self,
        session: Session,
        rid: str,
        before: Item | None,
        verdict: Verdict,
        at: float,
        writes: _Writes,
        present: dict[str, Item],
    ) -> None:
        if verdict.delete:
            if before is not None:
                self._observe(session, rid, before, None, at)
                writes.deletes[rid] = before
                present.pop(rid, None)
            return
        if verdict.after is None:
            return
        owner, layout, values = verdict.after
        if before is None:
            number = self.world.items.former_number(session.catalog, rid) if self._keeps_ids else 0
            made = Item(number, session.catalog, rid, owner, layout, values, at, at)
            self._observe(session, rid, None, made, at)
            writes.inserts[rid] = made
            present[rid] = made
        elif (before.owner, before.layout, before.row) != (owner, layout, values):
            changed = Item(before.n, session.catalog, rid, owner, layout, values, before.created, at)
            self._observe(session, rid, before, changed, at)
            (writes.inserts if rid in writes.inserts else writes.updates)[rid] = changed
            present[rid] = changed

    @property
    def _keeps_ids(self) -> bool:
        return self.world.switches.recreated_item_keeps_id == "true"

    def _write(self, writes: _Writes) -> None:
        if writes.inserts:
            self.world.items.insert(list(writes.inserts.values()))
        if writes.updates:
            self.world.items.update(writes.updates.values())
        if writes.deletes:
            self.world.items.delete(list(writes.deletes.values()), remember=self._keeps_ids)

    def _observe(self, session: Session, rid: str, before: Item | None, after: Item | None, at: float) -> None:
        """Reads learn of it later; the journal learns what the audit needs."""
        lag = self._reads_lag(session)
        if session.reads_late and lag > 0:
            share = self.world.draw("reads", session.id, rid, at)
            self.world.reads.changed((session.catalog, rid), before, deleted=after is None, visible=at + share * lag)
        self.observe(session.catalog, rid, before, after, at, session.mutation)

    def _reads_lag(self, session: Session) -> float:
        return session.reads_lag if session.reads_lag >= 0 else self.world.switches.reads_lag_seconds

    def observe(
        self, catalog: int, rid: str, before: Item | None, after: Item | None, at: float, mutation: int
    ) -> None:
        value = self.world.items.value
        if after is None:
            self.journal.lose([Lost(at, catalog, rid, "deleted", mutation)])
            return
        if before is not None and before.row != after.row:
            was = value(before.layout, before.row, "availability")
            now = value(after.layout, after.row, "availability")
            if was in item_fields.SELLABLE and now not in item_fields.SELLABLE:
                self.journal.lose([Lost(at, catalog, rid, "unsellable", mutation)])
        watched = self.journal.watched.get(rid)
        if watched:
            changed = [
                Applied(at, catalog, rid, name, new, mutation)
                for name in sorted(watched)
                if (new := value(after.layout, after.row, name))
                != (value(before.layout, before.row, name) if before else "")
            ]
            self.journal.apply(changed)

    # -- the end of an upload

    def _finish(self, session: Session, at: float) -> None:
        feed = self.world.feeds.get(session.feed)
        if feed is not None:
            feed.completed += 1
            self.world.save(feed)
        if session.deletes and feed is not None:
            self._sweep(session, at)
        self._duplicates.pop(session.id, None)
        self.db.execute("DELETE FROM keyset WHERE session = ?", (session.id,))

    def _sweep(self, session: Session, at: float) -> None:
        row = self.db.execute("SELECT hashes FROM keyset WHERE session = ?", (session.id,)).fetchone()
        kept = array("Q", row[0] if row else b"")
        missing = keysets.missing(self.world.items.rids(session.catalog, session.feed), kept)
        session.deleted += len(missing)
        self._touch(session, missing)
        rng = self.world.rng("sweep", session.id)
        lag = self.world.switches.effects_after_finished_seconds
        scattered = len(missing) <= SCATTER_ROWS_MAX
        later = [rid for rid in missing if scattered and lag > 0 and rng.random() < LATE_SHARE]
        now = set(missing).difference(later)
        present = self.world.items.get_many(session.catalog, [rid for rid in missing if rid in now])
        writes = _Writes()
        for rid, item in present.items():
            self._observe(session, rid, item, None, at)
            writes.deletes[rid] = item
        self._write(writes)
        for rid in later:
            until = at + rng.random() * lag
            self.add(session, "rows", until, judged=True, rows=((DELETE, 0, rid, 0, ""),))
            self._extend(session, until)

    def _touch(self, session: Session, rids: Sequence[str]) -> None:
        """What came into the feed while the session ran and is deleted at its end was touched as well."""
        mutation = self.journal.mutation(session.mutation)
        touched = keysets.union(mutation.keys, keysets.keys_of(rids))
        if len(touched) > len(mutation.keys):
            mutation.keys = touched
            self.journal.save_mutation(mutation)

    def _extend(self, session: Session, until: float) -> None:
        mutation = self.journal.mutation(session.mutation)
        if until > mutation.ends:
            mutation.ends = until
            self.journal.save_mutation(mutation)
