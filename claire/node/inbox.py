"""The inbox: messages that a session fetches itself, instead of having them typed into its pane.

Reading is delivery: the claim and the outcome are committed together, so what was read is never typed, and what is
being typed is not read. Read messages stay in the inbox until they are acknowledged.
"""

import sqlite3
from typing import TYPE_CHECKING

from claire.node import broadcasts, members, sessions
from claire.node.broadcasts import BroadcastDelivered
from claire.node.errors import NotFound
from claire.node.rows import Row, rows

if TYPE_CHECKING:
    from claire.node.node import Node

READ = "inbox"  # the step of a claim: read and not acknowledged
DONE = "delivered"


def read(node: "Node", session: str) -> list[Row]:
    """What is for this session: new messages, and those it has not acknowledged. Oldest first."""
    with node.reading() as db:
        waiting = pending(db, node.machine_id, session, node.now_ms())
    if waiting:
        with node.writing() as tx:
            for row in pending(tx.db, node.machine_id, session, node.now_ms()):
                claim = (row["id"], row["session_uuid"], READ, node.now_ms())
                tx.db.execute("INSERT INTO delivery_claims VALUES (?, ?, ?, ?)", claim)
                tx.record(BroadcastDelivered(row["id"], row["session_uuid"], "delivered", "read by the session itself"))
    with node.reading() as db:
        return _unacknowledged(db, node.machine_id, session)


def acknowledge(node: "Node", session: str, ref: str) -> Row:
    """Take a message off the inbox."""
    with node.writing() as tx:
        found = [row for row in _unacknowledged(tx.db, node.machine_id, session) if row["id"].startswith(ref.lower())]
        if len(found) != 1:
            raise NotFound(f"there is no message {ref!r} in the inbox")
        key = (DONE, found[0]["id"], found[0]["session_uuid"])
        tx.db.execute("UPDATE delivery_claims SET step = ? WHERE broadcast_id = ? AND session_uuid = ?", key)
        return found[0]


def pending(db: sqlite3.Connection, machine_id: str, session: str, now_ms: int) -> list[Row]:
    """Messages for this session that may be read here now. Whoever may not type here is not read here either."""
    allowed = {machine_id, *broadcasts.allowed_authors(db)}
    return [
        row
        for row in _undelivered(db, machine_id, session)
        if row["author"] in allowed and not row["elsewhere"] and now_ms <= row["expires_ms"]
    ]


def withheld(db: sqlite3.Connection, machine_id: str, session: str) -> list[str]:
    """Names of the nodes whose messages wait for a person's leave."""
    allowed, names = {machine_id, *broadcasts.allowed_authors(db)}, members.names(db)
    authors = {row["author"] for row in _undelivered(db, machine_id, session)} - allowed
    return sorted(names.get(author, author[:8]) for author in authors)


def _undelivered(db: sqlite3.Connection, machine_id: str, session: str) -> list[Row]:
    lineage, _ = sessions.seen_by(db, session, machine_id)
    claimed = set(db.execute("SELECT broadcast_id, session_uuid FROM delivery_claims"))
    return [
        row
        for row in broadcasts.undelivered(db, machine_id)
        if row["session_uuid"] in lineage and (row["id"], row["session_uuid"]) not in claimed
    ]


def _unacknowledged(db: sqlite3.Connection, machine_id: str, session: str) -> list[Row]:
    lineage, _ = sessions.seen_by(db, session, machine_id)
    marks, names = ", ".join("?" * len(lineage)), members.names(db)
    found = rows(
        db,
        "SELECT b.id, c.session_uuid, b.text, b.machine_id, b.hlc FROM delivery_claims c"
        f" JOIN broadcasts b ON b.id = c.broadcast_id WHERE c.step = ? AND c.session_uuid IN ({marks}) ORDER BY b.hlc",
        (READ, *lineage),
    )
    return [{**row, "from": names.get(row["machine_id"], "?")} for row in found]
