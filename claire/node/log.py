"""All SQL on the events: append, the index that always equals them, and the questions sync and people ask.

The log is a set. Per machine the index holds the newest stamp, the count and the digest (XOR of the 128-bit hash of
each event); equal count and digest mean equal events. Nothing here decides what may enter, and nothing commits.
"""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b

import msgspec

from claire.node import hlc
from claire.node.event import Event, event_hash
from claire.node.rows import among, insert

COLUMNS = "uuid, hlc, machine_id, event_type, payload, created_at, sig"
ARRIVAL_PAGE_EVENTS = 5_000

Key = tuple[str, str]  # (hlc, uuid): where an event stands in its machine's order
FIRST: Key = ("", "")
LAST: Key = ("~", "~")


class IndexRow(msgspec.Struct, frozen=True):
    """What the log holds of one machine. `digest` is 32 hex digits; `newest` is `hlc.start` when there is nothing."""

    newest: str
    count: int
    digest: str


EMPTY_DIGEST = "0" * 32


def append(db: sqlite3.Connection, events: Sequence[Event], hashes: Iterable[int] | None = None) -> dict[str, int]:
    """Insert events that are not in the log yet, and bring the index with them; the new count of each machine.

    `hashes` are their `event_hash`, for who has computed them already.
    """
    insert(db, f"events ({COLUMNS})", [msgspec.structs.astuple(event) for event in events])
    return _add_to_index(db, zip(events, hashes or map(event_hash, events), strict=True))


def _add_to_index(db: sqlite3.Connection, hashed: Iterable[tuple[Event, int]]) -> dict[str, int]:
    rows: dict[str, tuple[str, int, int]] = {}
    for event, number in hashed:
        newest, count, digest = rows.get(event.machine_id) or _index_row(db, event.machine_id)
        rows[event.machine_id] = (event.hlc if event.hlc > newest else newest, count + 1, digest ^ number)
    db.executemany(
        "INSERT OR REPLACE INTO log_index VALUES (?, ?, ?, ?)",
        [(machine, newest, count, f"{digest:032x}") for machine, (newest, count, digest) in rows.items()],
    )
    return {machine: count for machine, (_, count, _) in rows.items()}


def _index_row(db: sqlite3.Connection, machine_id: str) -> tuple[str, int, int]:
    row = db.execute("SELECT newest, count, digest FROM log_index WHERE machine_id = ?", (machine_id,)).fetchone()
    return (row[0], row[1], int(row[2], 16)) if row else (hlc.start(machine_id), 0, 0)


def index(db: sqlite3.Connection) -> dict[str, IndexRow]:
    """What the log holds of every member, also of those that have written nothing: they are accepted."""
    rows = db.execute(
        "SELECT m.id, i.newest, i.count, i.digest FROM members m LEFT JOIN log_index i ON i.machine_id = m.id"
        " UNION SELECT machine_id, newest, count, digest FROM log_index"
    )
    return {
        machine: IndexRow(newest, count, digest) if count else IndexRow(hlc.start(machine), 0, EMPTY_DIGEST)
        for machine, newest, count, digest in rows
    }


def etag(db: sqlite3.Connection) -> str:
    """Equal etags mean equal sets of events. 32 hex digits."""
    return etag_of(index(db))


def etag_of(rows: Mapping[str, IndexRow]) -> str:
    """The etag of an index: a hash over the count and digest of every machine that has events."""
    lines = [f"{machine} {row.count} {row.digest}\n" for machine, row in sorted(rows.items()) if row.count]
    return blake2b("".join(lines).encode(), digest_size=16).hexdigest()


def newest_own(db: sqlite3.Connection, machine_id: str) -> str | None:
    row = db.execute("SELECT newest FROM log_index WHERE machine_id = ?", (machine_id,)).fetchone()
    return row[0] if row else None


def newest_seen(db: sqlite3.Connection, below: str) -> str | None:
    """The newest stamp of any machine that is below `below`; machines beyond it do not count."""
    (newest,) = db.execute("SELECT max(newest) FROM log_index WHERE newest < ?", (below,)).fetchone()
    return newest if newest is None else str(newest)


def newest_of(db: sqlite3.Connection, machine_id: str, beyond: str, limit: int) -> list[Event]:
    """The newest events of a machine after stamp `beyond`, at most `limit`, oldest first."""
    newest_first = f"SELECT {COLUMNS} FROM events WHERE machine_id = ? AND hlc > ? ORDER BY hlc DESC, uuid DESC LIMIT ?"
    return list(_events(db.execute(newest_first, (machine_id, beyond, limit))))[::-1]


def newest_of_type(db: sqlite3.Connection, machine_id: str, event_type: str) -> Event | None:
    sql = f"SELECT {COLUMNS} FROM events WHERE machine_id = ? AND event_type = ? ORDER BY hlc DESC, uuid DESC LIMIT 1"
    return next(_events(db.execute(sql, (machine_id, event_type))), None)


def known(db: sqlite3.Connection, uuids: Sequence[str]) -> dict[str, Event]:
    """Those of `uuids` that are in the log, as events."""
    return {event.uuid: event for event in get(db, uuids)}


def get(db: sqlite3.Connection, uuids: Sequence[str]) -> list[Event]:
    """The events with these ids, each machine's in stamp order; unknown ids are left out."""
    found = _events(among(db, f"SELECT {COLUMNS} FROM events WHERE uuid IN", uuids))
    return sorted(found, key=lambda event: (event.hlc, event.uuid))


def between(db: sqlite3.Connection, machine_id: str, first: str, last: str, limit: int) -> list[Event]:
    """A machine's events with first <= stamp <= last, in stamp order, at most `limit`."""
    sql = f"SELECT {COLUMNS} FROM events WHERE machine_id = ? AND hlc BETWEEN ? AND ? ORDER BY hlc, uuid LIMIT ?"
    return list(_events(db.execute(sql, (machine_id, first, last, limit))))


def arrived_before(db: sqlite3.Connection, uuid: str, other: str) -> bool:
    """Whether event `uuid` is in the log and came in no later than event `other` did."""
    earlier = "SELECT 1 FROM events WHERE uuid = ? AND rowid <= (SELECT rowid FROM events WHERE uuid = ?)"
    return db.execute(earlier, (uuid, other)).fetchone() is not None


def after(db: sqlite3.Connection, positions: Mapping[str, str], limit: int) -> list[Event]:
    """Events of exactly the machines named, each after its stamp, in stamp order per machine; at most `limit`."""
    events: list[Event] = []
    for machine, stamp in positions.items():
        if len(events) >= limit:
            break
        events += _events(
            db.execute(
                f"SELECT {COLUMNS} FROM events WHERE machine_id = ? AND hlc > ? ORDER BY hlc, uuid LIMIT ?",
                (machine, stamp, limit - len(events)),
            )
        )
    return events


def since(db: sqlite3.Connection, stamp: str, limit: int) -> list[Event]:
    """Everything above one stamp, in stamp order: for people and scripts. Sync does not use it, it would miss events
    that arrive late with an older stamp."""
    return list(
        _events(db.execute(f"SELECT {COLUMNS} FROM events WHERE hlc > ? ORDER BY hlc, uuid LIMIT ?", (stamp, limit)))
    )


def in_arrival_order(db: sqlite3.Connection) -> Iterator[Event]:
    """Every event, oldest arrival first, read in pages so that the caller may write meanwhile."""
    rowid = 0
    while True:
        rows = db.execute(
            f"SELECT rowid, {COLUMNS} FROM events WHERE rowid > ? ORDER BY rowid LIMIT ?",
            (rowid, ARRIVAL_PAGE_EVENTS),
        ).fetchall()
        if not rows:
            return
        rowid = rows[-1][0]
        for row in rows:
            yield Event(*row[1:])


def in_stamp_order(db: sqlite3.Connection, beyond: Key = FIRST) -> Iterator[Event]:
    """Every event beyond a key, each machine's as they happened, read in pages; keys, since clones share stamps."""
    sql = f"SELECT {COLUMNS} FROM events WHERE (hlc, uuid) > (?, ?) ORDER BY hlc, uuid LIMIT ?"
    while events := list(_events(db.execute(sql, (*beyond, ARRIVAL_PAGE_EVENTS)))):
        yield from events
        beyond = (events[-1].hlc, events[-1].uuid)


def fingerprint(db: sqlite3.Connection, machine_id: str, low: Key, high: Key) -> tuple[int, str]:
    """(count, digest) of a machine's events with low <= (hlc, uuid) < high; digest as 32 hex digits."""
    count, digest = 0, 0
    for event in _events(db.execute(f"SELECT {COLUMNS} FROM events WHERE {_RANGE}", (machine_id, *low, *high))):
        count, digest = count + 1, digest ^ event_hash(event)
    return count, f"{digest:032x}"


def count(db: sqlite3.Connection, machine_id: str, low: Key, high: Key) -> int:
    """How many events of a machine have low <= (hlc, uuid) < high."""
    (found,) = db.execute(f"SELECT count(*) FROM events WHERE {_RANGE}", (machine_id, *low, *high)).fetchone()
    return int(found)


def parts(
    db: sqlite3.Connection, machine_id: str, low: Key, high: Key, cuts: Collection[int]
) -> list[tuple[Key, int, str]]:
    """(first key, count, digest) of the parts of a range that begin at these offsets; read once, kept nowhere."""
    found: list[tuple[Key, int, int]] = []
    query = f"SELECT {COLUMNS} FROM events WHERE {_RANGE} ORDER BY hlc, uuid"
    for offset, event in enumerate(_events(db.execute(query, (machine_id, *low, *high)))):
        if offset in cuts or not found:
            found.append(((event.hlc, event.uuid), 0, 0))
        key, count, digest = found[-1]
        found[-1] = (key, count + 1, digest ^ event_hash(event))
    return [(key, count, f"{digest:032x}") for key, count, digest in found]


def keys(db: sqlite3.Connection, machine_id: str, low: Key, high: Key, limit: int) -> list[Key]:
    """The keys of a machine's events with low <= (hlc, uuid) < high, in order; at most `limit`."""
    return db.execute(
        f"SELECT hlc, uuid FROM events WHERE {_RANGE} ORDER BY hlc, uuid LIMIT ?", (machine_id, *low, *high, limit)
    ).fetchall()


_RANGE = "machine_id = ? AND (hlc, uuid) >= (?, ?) AND (hlc, uuid) < (?, ?)"


def set_aside(db: sqlite3.Connection, machine_id: str, through: str) -> int:
    """Take a machine's events beyond `through` out of the set, keeping them in `events_aside`; how many."""
    beyond = "machine_id = ? AND hlc > ?"
    found = list(_events(db.execute(f"SELECT {COLUMNS} FROM events WHERE {beyond}", (machine_id, through))))
    if found:
        db.executemany(
            "INSERT OR IGNORE INTO events_aside VALUES (?, ?, ?, ?, ?, ?, ?)",
            [msgspec.structs.astuple(event) for event in found],
        )
        db.execute(f"DELETE FROM events WHERE {beyond}", (machine_id, through))
        reindex(db, machine_id)
    return len(found)


def bring_back(db: sqlite3.Connection, machine_id: str, through: str) -> int:
    """Put events up to `through` that were set aside into the set again: their revocation turned out void."""
    within = "machine_id = ? AND hlc <= ?"
    found = list(_events(db.execute(f"SELECT {COLUMNS} FROM events_aside WHERE {within}", (machine_id, through))))
    there = known(db, [event.uuid for event in found])
    append(db, [event for event in found if event.uuid not in there])
    db.execute(f"DELETE FROM events_aside WHERE {within}", (machine_id, through))
    return len(found) - len(there)


def drop(db: sqlite3.Connection, events: Iterable[Event]) -> None:
    """Take events out of the set that should not have come into it."""
    machines = set()
    for event in events:
        db.execute("DELETE FROM events WHERE uuid = ?", (event.uuid,))
        machines.add(event.machine_id)
    for machine_id in machines:
        reindex(db, machine_id)


def machines_aside(db: sqlite3.Connection) -> list[str]:
    return [machine for (machine,) in db.execute("SELECT DISTINCT machine_id FROM events_aside")]


def reindex(db: sqlite3.Connection, machine_id: str) -> None:
    """Recompute a machine's index row from its events."""
    db.execute("DELETE FROM log_index WHERE machine_id = ?", (machine_id,))
    rows = db.execute(f"SELECT {COLUMNS} FROM events WHERE machine_id = ? ORDER BY hlc", (machine_id,))
    _add_to_index(db, ((event, event_hash(event)) for event in _events(rows)))


def recount(db: sqlite3.Connection) -> dict[str, IndexRow]:
    """The index as the events themselves have it, for checking the stored one."""
    rows: dict[str, tuple[str, int, int]] = {}
    for event in in_arrival_order(db):
        newest, count, digest = rows.get(event.machine_id, ("", 0, 0))
        rows[event.machine_id] = (max(newest, event.hlc), count + 1, digest ^ event_hash(event))
    return {machine: IndexRow(newest, count, f"{digest:032x}") for machine, (newest, count, digest) in rows.items()}


def _events(rows: Iterable[tuple[str, ...]]) -> Iterator[Event]:
    return (Event(*row) for row in rows)
