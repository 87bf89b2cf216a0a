"""History: the log as people read it, newest first or as it grows."""

import sqlite3
from typing import Any

import msgspec

from claire.node import hlc, members
from claire.node.rows import Row, rows

_COLUMNS = "e.rowid, e.uuid AS id, e.hlc, e.machine_id, e.event_type, e.payload, e.created_at"


def list_events(
    db: sqlite3.Connection,
    *,
    about: str | None = None,
    machine_id: str | None = None,
    event_type: str | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    limit: int = 50,
    within: int | None = None,
) -> list[Row]:
    """Events in causal order, newest first; `about` is an id that the payload mentions.

    No index knows what a payload mentions. `within` looks only at so many of the newest events, for who cannot wait.
    """
    conditions, values = ["1"], []
    for condition, value in (
        ("instr(e.payload, ?)", about),
        ("e.machine_id = ?", machine_id),
        ("e.event_type = ?", event_type),
        ("e.hlc >= ?", None if since_ms is None else f"{max(since_ms, 0):013d}"),
        ("e.hlc < ?", None if until_ms is None else f"{max(until_ms, 0):013d}"),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    newest = "events" if within is None else f"(SELECT rowid, * FROM events ORDER BY hlc DESC LIMIT {within:d})"
    sql = f"SELECT {_COLUMNS} FROM {newest} e WHERE {' AND '.join(conditions)} ORDER BY e.hlc DESC, e.uuid DESC LIMIT ?"
    return _read(db, rows(db, sql, [*values, limit]))


def arrived_after(db: sqlite3.Connection, rowid: int, limit: int = 500) -> list[Row]:
    """Events in the order they arrived here, after a local row number: for following the log."""
    return _read(
        db,
        rows(db, f"SELECT {_COLUMNS} FROM events e WHERE e.rowid > ? ORDER BY e.rowid LIMIT ?", (rowid, limit)),
    )


def newest_rowid(db: sqlite3.Connection) -> int:
    return db.execute("SELECT coalesce(max(rowid), 0) FROM events").fetchone()[0] or 0


def _read(db: sqlite3.Connection, found: list[Row]) -> list[Row]:
    names = members.names(db)
    for row in found:
        row["host"] = names.get(row["machine_id"], row["machine_id"][:8])
        row["at_ms"] = hlc.decode(row["hlc"])[0]
        row["payload"] = _payload(row["payload"])
    return found


def _payload(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
