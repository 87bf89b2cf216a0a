"""The past: the projections as the log tells them up to a moment, rebuilt in memory."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from claire.node import log
from claire.node.fold import replay_events
from claire.node.node import Node
from claire.node.schema import SCHEMA

COPIED = ("meta", "pins")  # who this node is and whom it trusts; what it knows of peers' health has no past


@contextmanager
def as_of(node: Node, at_ms: int) -> Iterator[sqlite3.Connection]:
    """A database every query works on, holding what had happened by then (Unix ms), by the stamps of its hosts."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    try:
        db.executescript(SCHEMA)
        with node.reading() as live:
            _copy(live, db, f"{max(at_ms, 0) + 1:013d}")
        replay_events(db)
        yield db
    finally:
        db.close()


def _copy(live: sqlite3.Connection, db: sqlite3.Connection, below: str) -> None:
    db.execute("BEGIN")
    for table in COPIED:
        found = live.execute(f"SELECT * FROM {table}")
        marks = ", ".join("?" * len(found.description))
        db.executemany(f"INSERT INTO {table} VALUES ({marks})", found)
    db.executemany(
        f"INSERT INTO events (rowid, {log.COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        live.execute(f"SELECT rowid, {log.COLUMNS} FROM events WHERE hlc < ? ORDER BY rowid", (below,)),
    )
    db.execute(
        "INSERT INTO log_index SELECT machine_id, max(hlc), count(*), ? FROM events GROUP BY machine_id",
        (log.EMPTY_DIGEST,),
    )
    db.execute("COMMIT")
