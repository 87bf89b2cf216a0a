"""What this node remembers of talking to each peer: for people, and to dial first what worked last."""

import sqlite3
from typing import Any

from claire.node.node import Node
from claire.node.rows import Row, rows
from claire.sync.round import Exchange

ERROR_CHARS_MAX = 300
FRESH_MS = 60_000  # contact that is noted this lately is not written down again: an idle fleet writes nothing


def remember(
    node: Node,
    machine_id: str,
    url: str,
    tally: Exchange,
    *,
    error: str = "",
    failures: int = 0,
    breaker: str = "closed",
) -> None:
    """Keep what a round with a peer came to; `error` is "" if it ended well."""
    now_ms = node.now_ms()
    said: dict[str, Any] = {
        "failures": failures,
        "breaker": breaker,
        "last_error": error[:ERROR_CHARS_MAX],
    }
    if not error:
        said |= {"url": url, "behind": sum(tally.behind.values()), "etag": tally.etag or None}
    with node.reading() as db:
        before = next(iter(rows(db, "SELECT * FROM peers WHERE machine_id = ?", (machine_id,))), {})
    fresh = error or now_ms - (before.get("last_contact_ms") or 0) < FRESH_MS
    if fresh and not tally.received and not tally.sent and said.items() <= before.items():
        return
    if not error:
        said["last_contact_ms"] = now_ms
    if tally.skew_ms is not None:
        said["skew_ms"] = tally.skew_ms
    if tally.received:
        said["last_pull_ms"] = now_ms
    if tally.sent:
        said["last_push_ms"] = now_ms
    with node.writing() as tx:
        tx.db.execute("INSERT OR IGNORE INTO peers (machine_id) VALUES (?)", (machine_id,))
        columns = ", ".join(f"{column} = :{column}" for column in said)
        tx.db.execute(f"UPDATE peers SET {columns} WHERE machine_id = :machine_id", said | {"machine_id": machine_id})


def known(db: sqlite3.Connection) -> list[Row]:
    return rows(db, "SELECT * FROM peers")


def ignored(db: sqlite3.Connection) -> set[str]:
    """Machines this node does not dial; they may still dial it."""
    return {row["machine_id"] for row in known(db) if row["ignored"]}


def ignore(node: Node, machine_id: str, ignored: bool) -> None:
    """Do not dial this machine, or dial it again."""
    with node.writing() as tx:
        tx.db.execute("INSERT OR IGNORE INTO peers (machine_id) VALUES (?)", (machine_id,))
        tx.db.execute("UPDATE peers SET ignored = ? WHERE machine_id = ?", (ignored, machine_id))


def last_urls(db: sqlite3.Connection) -> dict[str, str]:
    """The address at which each machine was reached last."""
    return {row["machine_id"]: row["url"] for row in known(db) if row["url"]}
