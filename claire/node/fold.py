"""Folding a batch of events into the projections: each row is read once and written once.

`apply_event` folds one event, `replay_events` rebuilds everything from the log; both go through `Fold`.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from itertools import islice
from typing import Any

import msgspec

from claire.node import log, registers
from claire.node.event import Body, Event, read_body
from claire.node.rows import among, insert
from claire.node.schema import PROJECTIONS

Row = dict[str, Any]
Place = tuple[str, str, str]  # (table, entity, field): one register
Settle = Callable[[sqlite3.Connection, set[str]], None]

REPLAY_BATCH_EVENTS = 10_000

Standing = dict[str, tuple[str, dict[str, registers.Value]]]  # event -> its stamp, and what it set that still stands

_read_standing = msgspec.json.Decoder(Standing).decode
_write_standing = msgspec.json.Encoder(order="sorted").encode
_blanks: dict[str, Row] = {}  # of each projection, which are this Claire's in every database that it folds into
_nowhere = frozenset[Place]()


class Fold:
    """The rows a batch touches, until `flush` writes them in the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._rows = defaultdict[str, dict[str, Row]](dict)
        self._dead: dict[str, set[Place]] = {}  # event still to come -> what it would set and no longer may
        self._came: set[str] = set()  # events of this batch that were marked so
        self._marked: bool | None = None  # whether the database holds such marks; asked once
        self._folding = ""  # uuid of the event being folded
        self._overruled: Set[Place] = _nowhere  # what the event being folded may not set
        self._conflicts: dict[tuple[str, str, str], list[registers.Head]] = {}
        self._settle: dict[Settle, set[str]] = {}

    def apply(self, event: Event, body: Body | None) -> None:
        """Fold one event, of which `body` is what `read_body` makes; one that cannot be read is counted instead."""
        self._folding = event.uuid
        self._overruled = self._marks(event.uuid) if self._dead or self._marked is not False else _nowhere
        if body is None:
            self.row("unread_events", event.uuid, key="uuid")["event_type"] = event.event_type
        else:
            body.fold(self, event)

    def apply_all(self, events: Sequence[Event], bodies: Sequence[Body | None]) -> None:
        """Fold events in their order; the rows that their bodies name are read beforehand, in few statements."""
        named = defaultdict[str, dict[str, None]](dict)
        for body in bodies:
            if body is not None and (place := body.row()) is not None:
                named[place[0]][place[1]] = None
        for table, entities in named.items():
            self._read(table, [entity for entity in entities if entity not in self._rows[table]])
        for event, body in zip(events, bodies, strict=True):
            self.apply(event, body)

    def row(self, table: str, entity: str, key: str = "id") -> Row:
        """The row of an entity, to be changed in place; a new one has NULL in every other column."""
        rows = self._rows[table]
        if entity not in rows:
            if entity == self._folding:  # a row that bears the event's own id is new with it
                rows[entity] = {**self._blank(table), key: entity}
            else:
                self._read(table, [entity], key)
        return rows[entity]

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
        standing = _standing_of(row)
        stamp, uuid = event.hlc, event.uuid
        if values and not standing and not on and not self._overruled:  # nothing was set before: nearly every creation
            standing[uuid] = (stamp, dict(values))
            row.update(values)
            values = {}
        for field, value in values.items():
            before, replaced = _heads(standing, field), on.get(field, ())
            if not self._overruled and len(before) < 2 and [head[1] for head in before] == [*replaced]:
                heads = [(stamp, uuid, value)]  # it replaces just what stands: nearly every change
            else:
                place = (table, entity, field)
                self._mark_dead(event, place, replaced, before)
                heads = registers.fold(before, (stamp, uuid, value), replaced, place in self._overruled)
                if len(before) > 1 or len(heads) > 1:
                    self._conflicts[place] = heads
            _put(standing, field, before, heads)
            won = registers.winner(heads, ranks.get(field, registers.latest_wins))
            row[field] = won[2] if won else None
        if stamp > (row["updated_hlc"] or ""):
            row["updated_hlc"] = stamp
        return row

    def heads(self, table: str, entity: str, field: str) -> list[registers.Head]:
        return _heads(_standing_of(self.row(table, entity)), field)

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
        self._rows, self._conflicts, self._settle = defaultdict(dict), {}, {}
        for function, keys in settle.items():
            function(self.db, keys)

    def _read(self, table: str, entities: Sequence[str], key: str = "id") -> None:
        rows, blank = self._rows[table], self._blank(table)
        for found in among(self.db, f"SELECT * FROM {table} WHERE {key} IN", entities):
            row = dict(zip(blank, found, strict=True))
            rows[row[key]] = row
        for entity in entities:
            if entity not in rows:
                rows[entity] = {**blank, key: entity}

    def _blank(self, table: str) -> Row:
        """A row that has NULL in every column."""
        if table not in _blanks:
            _blanks[table] = dict.fromkeys(column[1] for column in self.db.execute(f"PRAGMA table_info({table})"))
        return _blanks[table]

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
        columns = list(self._blank(table))
        if "registers" in columns:
            for row in rows:
                row["registers"] = _write_standing(_standing_of(row)).decode()
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


def _standing_of(row: Row) -> Standing:
    """The registers of a row, decoded in place when first asked for; `flush` writes them as text again."""
    if not isinstance(row["registers"], dict):
        row["registers"] = _read_standing(row["registers"]) if row["registers"] else {}
    standing: Standing = row["registers"]
    return standing


def _heads(standing: Standing, field: str) -> list[registers.Head]:
    heads = [(stamp, uuid, fields[field]) for uuid, (stamp, fields) in standing.items() if field in fields]
    return heads if len(heads) < 2 else sorted(heads, key=lambda head: head[:2])


def _put(standing: Standing, field: str, before: Iterable[registers.Head], heads: Iterable[registers.Head]) -> None:
    """Have the heads of a field be these, which were those before."""
    for _, uuid, _ in before:
        fields = standing[uuid][1]
        del fields[field]
        if not fields:
            del standing[uuid]
    for stamp, uuid, value in heads:
        standing.setdefault(uuid, (stamp, {}))[1][field] = value


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
    log_events, folded = log.in_arrival_order(db), 0
    while events := list(islice(log_events, REPLAY_BATCH_EVENTS)):
        fold.apply_all(events, [read_body(event) for event in events])
        fold.flush()
        folded += len(events)
        if progress is not None and len(events) == REPLAY_BATCH_EVENTS:  # of a small log nothing need be said
            progress(folded)
