"""Items as compact rows: one text per item, its columns named once per layout.

A million items as dictionaries take 4.4 GiB; as joined text in SQLite they take what the text takes. The table is the
truth; `Reads` on top of it answers as reads at Meta do, up to a minute behind.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from hack.emulator import jsons
from hack.emulator.storage import Store

SEPARATOR = "\x1f"  # unit separator: taken out of values when they come in
BATCH_OWNER = 0  # items that a batch created belong to no feed
ID_BASE = 7_000_000_000_000_000  # Graph ids of items start here
SELECT_MAX = 5_000  # values in one IN (…)


@dataclass(slots=True)
class Item:
    n: int
    catalog: int
    rid: str
    owner: int
    layout: int
    row: str
    created: float
    changed: float

    @property
    def id(self) -> str:
        return str(ID_BASE + self.n)


COLUMNS = "n, catalog, rid, owner, layout, row, created, changed"
ItemRow: TypeAlias = tuple[int, int, str, int, int, str, float, float]


class ItemTable:
    def __init__(self, store: Store) -> None:
        self.db = store.db
        self._layouts: list[tuple[str, ...]] = [()]
        self._layout_ids: dict[tuple[str, ...], int] = {(): 0}
        self._positions: list[dict[str, int]] = [{}]
        for number, columns in self.db.execute("SELECT id, columns FROM layout ORDER BY id").fetchall():
            assert number == len(self._layouts), "layouts are numbered without gaps"
            self._remember(tuple(str(name) for name in jsons.as_list(jsons.parse(columns))))

    # -- rows as text

    def _remember(self, columns: tuple[str, ...]) -> int:
        number = len(self._layouts)
        self._layouts.append(columns)
        self._layout_ids[columns] = number
        self._positions.append({name: place for place, name in enumerate(columns)})
        return number

    def layout(self, columns: Sequence[str]) -> int:
        wanted = tuple(columns)
        number = self._layout_ids.get(wanted)
        if number is None:
            number = self._remember(wanted)
            self.db.execute("INSERT INTO layout VALUES (?, ?)", (number, jsons.dump_text(list(wanted))))
        return number

    def columns(self, layout: int) -> tuple[str, ...]:
        return self._layouts[layout]

    def encode(self, values: Mapping[str, str]) -> tuple[int, str]:
        layout = self.layout(tuple(values))
        return layout, SEPARATOR.join(value.replace(SEPARATOR, " ") for value in values.values())

    def decode(self, layout: int, row: str, *, empty: bool = False) -> dict[str, str]:
        """Values by column; empty ones are absent unless asked for."""
        columns = self._layouts[layout]
        if not columns:
            return {}
        return {name: value for name, value in zip(columns, row.split(SEPARATOR), strict=True) if value or empty}

    def value(self, layout: int, row: str, name: str) -> str:
        place = self._positions[layout].get(name)
        return "" if place is None else row.split(SEPARATOR)[place]

    # -- rows in the table

    def get(self, catalog: int, rid: str) -> Item | None:
        row = self.db.execute(f"SELECT {COLUMNS} FROM item WHERE catalog = ? AND rid = ?", (catalog, rid)).fetchone()  # noqa: S608
        return None if row is None else Item(*row)

    def by_number(self, n: int) -> Item | None:
        row = self.db.execute(f"SELECT {COLUMNS} FROM item WHERE n = ?", (n,)).fetchone()  # noqa: S608
        return None if row is None else Item(*row)

    def get_many(self, catalog: int, rids: Sequence[str]) -> dict[str, Item]:
        found: dict[str, Item] = {}
        for start in range(0, len(rids), SELECT_MAX):
            some = rids[start : start + SELECT_MAX]
            marks = ",".join("?" * len(some))
            query = f"SELECT {COLUMNS} FROM item WHERE catalog = ? AND rid IN ({marks})"  # noqa: S608
            for row in self.db.execute(query, (catalog, *some)):
                item = Item(*row)
                found[item.rid] = item
        return found

    def raw_many(self, catalog: int, rids: Sequence[str]) -> dict[str, ItemRow]:
        """As `get_many`, without an object for each."""
        found: dict[str, ItemRow] = {}
        for start in range(0, len(rids), SELECT_MAX):
            some = rids[start : start + SELECT_MAX]
            marks = ",".join("?" * len(some))
            query = f"SELECT {COLUMNS} FROM item WHERE catalog = ? AND rid IN ({marks})"  # noqa: S608
            found.update((row[2], row) for row in self.db.execute(query, (catalog, *some)))
        return found

    def insert(self, items: Sequence[Item]) -> None:
        """New items; n = 0 takes the next number, which is written back."""
        top = self.db.execute("SELECT coalesce(max(n), 0) FROM item").fetchone()[0]
        following = max(top, self._spent) + 1
        for item in items:
            if item.n == 0:
                item.n = following
                following += 1
        self._spent = max(self._spent, following - 1)
        self.db.executemany(
            f"INSERT INTO item ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            [(i.n, i.catalog, i.rid, i.owner, i.layout, i.row, i.created, i.changed) for i in items],
        )

    _spent: int = 0

    def update(self, items: Iterable[Item]) -> None:
        self.db.executemany(
            "UPDATE item SET owner = ?, layout = ?, row = ?, changed = ? WHERE n = ?",
            [(i.owner, i.layout, i.row, i.changed, i.n) for i in items],
        )

    def delete(self, items: Sequence[Item], *, remember: bool) -> None:
        if items:
            self._spent = max(self._spent, *(item.n for item in items))
        if remember:
            self.db.executemany(
                "INSERT OR REPLACE INTO former VALUES (?, ?, ?)", [(i.catalog, i.rid, i.n) for i in items]
            )
        self.db.executemany("DELETE FROM item WHERE n = ?", [(i.n,) for i in items])
        self.db.executemany("DELETE FROM override WHERE n = ?", [(i.n,) for i in items])

    def former_number(self, catalog: int, rid: str) -> int:
        row = self.db.execute("SELECT n FROM former WHERE catalog = ? AND rid = ?", (catalog, rid)).fetchone()
        return 0 if row is None else int(row[0])

    def count(self, catalog: int, owner: int | None = None) -> int:
        if owner is None:
            return int(self.db.execute("SELECT count(*) FROM item WHERE catalog = ?", (catalog,)).fetchone()[0])
        query = "SELECT count(*) FROM item WHERE catalog = ? AND owner = ?"
        return int(self.db.execute(query, (catalog, owner)).fetchone()[0])

    def page(self, catalog: int, owner: int | None, *, after: int, limit: int) -> list[Item]:
        """Items in the order of their numbers. The plus sign keeps SQLite from sorting the whole catalog."""
        where = "+catalog = ? AND n > ?" if owner is None else "catalog = ? AND n > ? AND owner = ?"
        values = (catalog, after) if owner is None else (catalog, after, owner)
        query = f"SELECT {COLUMNS} FROM item WHERE {where} ORDER BY n LIMIT ?"  # noqa: S608
        return [Item(*row) for row in self.db.execute(query, (*values, limit))]

    def page_before(self, catalog: int, owner: int | None, *, before: int, limit: int) -> list[Item]:
        where = "+catalog = ? AND n < ?" if owner is None else "catalog = ? AND n < ? AND owner = ?"
        values = (catalog, before) if owner is None else (catalog, before, owner)
        query = f"SELECT {COLUMNS} FROM item WHERE {where} ORDER BY n DESC LIMIT ?"  # noqa: S608
        return [Item(*row) for row in self.db.execute(query, (*values, limit))][::-1]

    def rids(self, catalog: int, owner: int) -> list[str]:
        query = "SELECT rid FROM item WHERE catalog = ? AND owner = ?"
        return [rid for (rid,) in self.db.execute(query, (catalog, owner))]


@dataclass(slots=True)
class _Past:
    """An item as it was (None: not there) until reads see the change, at `visible`."""

    visible: float
    before: Item | None


@dataclass(slots=True)
class Reads:
    """What item reads answer: each change becomes visible some time after it was made.

    The images of before a change are kept in memory only until then. They are lost in a restart, as caches are.
    """

    past: dict[tuple[int, str], list[_Past]] = field(default_factory=dict)
    gone: dict[int, tuple[int, str]] = field(default_factory=dict)  # deleted items that reads may still see
    due: list[tuple[float, tuple[int, str]]] = field(default_factory=list)

    def changed(self, key: tuple[int, str], before: Item | None, *, deleted: bool, visible: float) -> None:
        chain = self.past.setdefault(key, [])
        if chain:
            visible = max(visible, chain[-1].visible)
        chain.append(_Past(visible, before))
        heapq.heappush(self.due, (visible, key))
        if deleted and before is not None:
            self.gone[before.n] = key

    def forget(self, now: float) -> None:
        while self.due and self.due[0][0] <= now:
            _, key = heapq.heappop(self.due)
            chain = [past for past in self.past.get(key, ()) if past.visible > now]
            if chain:
                self.past[key] = chain
            else:
                self.past.pop(key, None)
        if self.gone and not self.past:
            self.gone.clear()
        elif self.gone:
            self.gone = {n: key for n, key in self.gone.items() if key in self.past}

    def _first(self, key: tuple[int, str], now: float) -> _Past | None:
        return next((past for past in self.past.get(key, ()) if past.visible > now), None)

    def seen(self, item: Item, now: float) -> Item | None:
        """The item as a read sees it now; None where it does not exist for reads yet."""
        past = self._first((item.catalog, item.rid), now)
        if past is None:
            return item
        return past.before if past.before is not None and past.before.n == item.n else None

    def ghosts(self, now: float) -> Iterator[Item]:
        """Deleted items that reads still see, in the order of their numbers."""
        for n in sorted(self.gone):
            past = self._first(self.gone[n], now)
            if past is not None and past.before is not None and past.before.n == n:
                yield past.before
