"""Folding a batch of events into the projections: each row is read once and written once.

`apply_event` folds one event, `replay_events` rebuilds everything from the log; both go through `Fold`.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from claire.node import log, registers
from claire.node.event import Body, Event, read_body
from claire.node.rows import insert
from claire.node.schema import PROJECTIONS

Row = dict[str, Any]
Place = tuple[str, str, str]  # (table, entity, field): one register
Settle = Callable[[sqlite3.Connection, set[str]], None]

REPLAY_BATCH_EVENTS = 10_000

_read_registers = msgspec.json.Decoder(dict[str, list[registers.Head]]).decode


class Fold:
    """The rows a batch touches, until `flush` writes them in the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._rows: dict[str, dict[str, Row]] = {}
        self._columns: dict[str, list[str]] = {}
        self._registers: dict[tuple[str, str], dict[str, list[registers.Head]]] = {}
        self._dead: dict[str, set[Place]] = {}  # event still to come -> what it would set and no longer may
        self._came: set[str] = set()  # events of this batch that were marked so
        self._marked: bool | None = None  # whether the database holds such marks; asked once
        self._folding = ""  # uuid of the event being folded
        self._overruled: set[Place] = set()  # what the event being folded may not set
        self._conflicts: dict[tuple[str, str, str], list[registers.Head]] = {}
        self._settle: dict[Settle, set[str]] = {}

    def apply(self, event: Event, body: Body | None) -> None:
        """Fold one event, of which `body` is what `read_body` makes; one that cannot be read is counted instead."""
        self._folding = event.uuid
        self._overruled = self._marks(event.uuid)
        if body is None:
            self.row("unread_events", event.uuid, key="uuid")["event_type"] = event.event_type
        else:
            body.fold(self, event)

    def row(self, table: str, entity: str, key: str = "id") -> Row:
        """The row of an entity, to be changed in place; a new one has NULL in every other column."""
        rows = self._rows.setdefault(table, {})
        row = rows.get(entity)
        if row is None:
            columns, found = self._columns.get(table), None
            if columns is None or entity != self._folding:  # a row that bears the event's own id is new with it
                cursor = self.db.execute(f"SELECT * FROM {table} WHERE {key} = ?", (entity,))
                columns = self._columns[table] = [column[0] for column in cursor.description]
                found = cursor.fetchone()
            row = dict(zip(columns, found, strict=True)) if found else dict.fromkeys(columns)
            row[key] = entity
            rows[entity] = row
        return row

    def assign(
        self,
        table: str,
        entity: str,
        event: Event,
        values: Mapping[str, registers.Value],
        on: Mapping[str, Sequence[str]],
        ranks: Mapping[str, registers.Rank],
    ) -> Row:
        """Set registers of an entity: field `f` to `values[f]`, replacing what the events `on[f]` set."""
        row = self.row(table, entity)
        known = self._registers_of(table, row)
        stamp, uuid = event.hlc, event.uuid
        for field, value in values.items():
            before, replaced = known.get(field, ()), on.get(field, ())
            if not self._overruled and _saw_what_stands(before, replaced):  # nothing concurrent: nearly every change
                known[field] = [(stamp, uuid, value)]
                row[field] = value
                continue
            place = (table, entity, field)
            self._mark_dead(event, place, replaced, before)
            heads = registers.fold(before, (stamp, uuid, value), replaced, place in self._overruled)
            known[field] = heads
            won = registers.winner(heads, ranks.get(field, registers.latest_wins))
            row[field] = won[2] if won else None
            if len(before) > 1 or len(heads) > 1:
                self._conflicts[place] = heads
        if stamp > (row["updated_hlc"] or ""):
            row["updated_hlc"] = stamp
        return row

    def heads(self, table: str, entity: str, field: str) -> list[registers.Head]:
        return self._registers_of(table, self.row(table, entity)).get(field, [])

    def settle(self, function: Settle, key: str) -> None:
        """Have `function(db, keys)` recompute what follows from several rows, once, after they are written."""
        self._settle.setdefault(function, set()).add(key)

    def flush(self) -> None:
        """Write what changed. The instance is empty afterwards and may go on."""
        for table, rows in self._rows.items():
            self._write(table, rows.values())
        self._write_dead()
        self._write_conflicts()
        settle = self._settle
        self._rows, self._registers, self._conflicts, self._settle = {}, {}, {}, {}
        for function, keys in settle.items():
            function(self.db, keys)

    def _registers_of(self, table: str, row: Row) -> dict[str, list[registers.Head]]:
        found = self._registers.get((table, row["id"]))
        if found is None:
            found = _read_registers(row["registers"]) if row["registers"] else {}
            self._registers[table, row["id"]] = found
        return found

    def _mark_dead(self, event: Event, place: Place, replaced: Iterable[str], before: Sequence[registers.Head]) -> None:
        """Remember what `event` replaces that is still to come; what was folded is out of the heads for good."""
        for uuid in set(replaced).difference([head[1] for head in before]):
            if not log.arrived_before(self.db, uuid, event.uuid):
                self._dead.setdefault(uuid, set()).add(place)

    def _marks(self, event_uuid: str) -> set[Place]:
        """What was replaced of an event before it came."""
        dead = self._dead.get(event_uuid, set())
        if self._marked is None:
            (self._marked,) = self.db.execute("SELECT EXISTS (SELECT 1 FROM dead)").fetchone()
        if self._marked:
            rows = self.db.execute("SELECT noun, entity_id, field FROM dead WHERE event = ?", (event_uuid,))
            dead = dead.union(rows)
        if dead:
            self._came.add(event_uuid)
        return dead

    def _write(self, table: str, rows: Any) -> None:
        columns = self._columns[table]
        for row in rows:
            if (state := self._registers.get((table, row.get("id", "")))) is not None:
                row["registers"] = msgspec.json.encode(state, order="sorted").decode()
        updates = ", ".join(f"{column} = excluded.{column}" for column in columns[1:])
        insert(
            self.db,
            f"{table} ({', '.join(columns)})",
            [tuple(row.values()) for row in rows],
            f"ON CONFLICT ({columns[0]}) DO UPDATE SET {updates}",
        )

    def _write_dead(self) -> None:
        waiting = [(uuid, *place) for uuid, dead in self._dead.items() if uuid not in self._came for place in dead]
        self.db.executemany("INSERT OR IGNORE INTO dead VALUES (?, ?, ?, ?)", waiting)
        self.db.executemany("DELETE FROM dead WHERE event = ?", [(uuid,) for uuid in self._came])
        self._dead, self._came, self._marked = {}, set(), None

    def _write_conflicts(self) -> None:
        self.db.executemany(
            "DELETE FROM conflicts WHERE noun = ? AND entity_id = ? AND field = ?", list(self._conflicts)
        )
        self.db.executemany(
            "INSERT INTO conflicts VALUES (?, ?, ?, ?)",
            [
                (*key, msgspec.json.encode(heads).decode())
                for key, heads in self._conflicts.items()
                if registers.conflict(heads)
            ],
        )


def _saw_what_stands(before: Sequence[registers.Head], replaced: Sequence[str]) -> bool:
    """Whether a change replaces exactly the one value there is, or none where there is none."""
    if not before:
        return not replaced
    return len(before) == len(replaced) == 1 and before[0][1] == replaced[0]


def seen(db: sqlite3.Connection, table: str, entity: str, fields: Iterable[str]) -> dict[str, list[str]]:
    """Per field, the events whose values are shown now: what an edit made here replaces, as its `on`."""
    fold = Fold(db)
    heads = {field: [head[1] for head in fold.heads(table, entity, field)] for field in fields}
    return {field: uuids for field, uuids in heads.items() if uuids}


def apply_event(db: sqlite3.Connection, event: Event) -> None:
    """Fold one event into the projections, in the caller's transaction."""
    fold = Fold(db)
    fold.apply(event, read_body(event))
    fold.flush()


def replay_events(db: sqlite3.Connection, progress: Callable[[int], None] | None = None) -> None:
    """Rebuild all projections from the log, in the caller's transaction; `progress` hears how many are folded."""
    from claire.node import members  # which folds through this module, and replays after a late revocation

    for table in PROJECTIONS:
        db.execute(f"DELETE FROM {table}")
    fold = Fold(db)
    members.settle(db, ())  # pins alone make members, before any event speaks of them
    for folded, event in enumerate(log.in_arrival_order(db), 1):
        fold.apply(event, read_body(event))
        if folded % REPLAY_BATCH_EVENTS == 0:
            fold.flush()
            if progress is not None:
                progress(folded)
    fold.flush()
