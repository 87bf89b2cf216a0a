"""Broadcasts: text the user wants typed into sessions, to whom, and what became of it.

A broadcast is a record and nothing more: folding it types nothing. The host of each target decides whether to deliver.
"""

import sqlite3
from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec

from claire.node import assignments, groups, members, projects, registers, sessions
from claire.node.errors import Ambiguous, NotFound, Refused, UsageError
from claire.node.event import Body, Event, Millis, event_type
from claire.node.fold import Fold
from claire.node.rows import Row, resolve, rows

if TYPE_CHECKING:
    from claire.node.node import Node

EXPIRY_MS = 10 * 60_000
TEXT_CHARS_MAX = 20_000
COMMAND_PREFIXES = ("/", "!", "#", "@", "&")


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One session the text is for, the machine that is to deliver, and the assignment that was active."""

    session_uuid: str
    machine_id: str
    assignment_id: str | None = None


@event_type("broadcast_sent")
class BroadcastSent(Body):
    broadcast_id: str
    target: str
    text: str
    targets: list[Target]
    expires_ms: Millis
    raw: bool = False

    def fold(self, fold: Fold, event: Event) -> None:
        values = {
            "target": self.target,
            "text": self.text,
            "raw": self.raw,
            "expires_ms": self.expires_ms,
            "machine_id": event.machine_id,
            "targets": msgspec.json.encode(self.targets).decode(),
        }
        # An id is used once; a second use, by accident or malice, changes nothing.
        registers.set_oldest(fold.row("broadcasts", self.broadcast_id), "hlc", event.hlc, values)


@event_type("broadcast_delivered")
class BroadcastDelivered(Body):
    """What became of one target. It counts only from the host that was to deliver: see `undelivered`."""

    broadcast_id: str
    session_uuid: str
    outcome: str  # delivered, refused, expired, unverified
    why: str = ""

    def fold(self, fold: Fold, event: Event) -> None:
        values = {
            "broadcast_id": self.broadcast_id,
            "session_uuid": self.session_uuid,
            "outcome": self.outcome,
            "why": self.why,
            "machine_id": event.machine_id,
        }
        row = fold.row("deliveries", f"{self.broadcast_id}/{self.session_uuid}/{event.machine_id}")
        registers.set_newest(row, "hlc", event.hlc, values)


def resolve_targets(db: sqlite3.Connection, ref: str) -> tuple[str, list[Row]]:
    """(what `ref` is, as 'project:…', 'group:…' or 'session:…', the live sessions it means)."""
    try:
        project = projects.find(db, ref)
    except Ambiguous:
        raise
    except NotFound:
        pass
    else:
        return f"project:{project['id']}", _sessions_of_project(db, project["id"])
    try:
        group = groups.find(db, ref)
    except NotFound:
        pass
    else:
        return f"group:{group['id']}", groups.members(db, group["id"])
    session = sessions.find(db, ref)
    return f"session:{session['id']}", [session]


def _sessions_of_project(db: sqlite3.Connection, project_id: str) -> list[Row]:
    roots = dict(db.execute("SELECT id, root_id FROM projects"))
    bound = {
        assignment["current_session"]
        for assignment in assignments.list_assignments(db)
        if roots.get(assignment["project_id"]) == project_id
    }
    return [session for session in sessions.list_sessions(db) if session["id"] in bound]


def send(
    node: "Node",
    ref: str,
    text: str,
    *,
    expiry_ms: int = EXPIRY_MS,
    raw: bool = False,
    broadcast_id: str = "",
    only: Collection[str] = (),
) -> Row:
    """Record a broadcast to a project, group or session; the row has its `targets`. NotFound if nobody is meant.

    Sent again with the same `broadcast_id` it is still one broadcast. `only` are the sessions a person has confirmed:
    Refused if others are meant by now.
    """
    check(text, raw)
    with node.writing() as tx:
        if broadcast_id and tx.db.execute("SELECT 1 FROM broadcasts WHERE id = ?", (broadcast_id,)).fetchone():
            return find(tx.db, broadcast_id)
        target, found = resolve_targets(tx.db, ref)
        if not found:
            raise NotFound(f"no live session belongs to {ref!r}", "claire session list")
        if only and {session["id"] for session in found} != set(only):
            raise Refused("the sessions meant have changed since they were confirmed", "confirm the new list")
        broadcast_id = broadcast_id or node.new_id()
        targets = [_target(tx.db, session) for session in found]
        tx.record(BroadcastSent(broadcast_id, target, text, targets, node.now_ms() + expiry_ms, raw))
        return find(tx.db, broadcast_id)


def _target(db: sqlite3.Connection, session: Row) -> Target:
    bound = assignments.of_session(db, session["id"])
    return Target(session["id"], session["machine_id"], bound["id"] if bound else None)


def check(text: str, raw: bool) -> None:
    """UsageError if this text cannot be sent; asked before a person is shown whom it would reach."""
    if not text.strip() or len(text) > TEXT_CHARS_MAX:
        raise UsageError(f"a message has 1 to {TEXT_CHARS_MAX} characters")
    if text.lstrip().startswith(COMMAND_PREFIXES) and not raw:
        raise UsageError(
            f"a message that begins with {text.lstrip()[0]!r} is a command to Claude, not text",
            "add --raw if you mean it",
        )


_SELECT = (
    "SELECT b.id, b.target, b.text, b.raw IS 1 AS raw, b.expires_ms, b.machine_id, b.hlc, b.targets"
    " FROM broadcasts b WHERE 1"
)


def list_broadcasts(db: sqlite3.Connection, limit: int = 50) -> list[Row]:
    """The newest broadcasts first, each with its `targets` and what became of every one."""
    return [_read(db, row) for row in rows(db, f"{_SELECT} ORDER BY b.hlc DESC LIMIT ?", (limit,))]


def find(db: sqlite3.Connection, ref: str) -> Row:
    return _read(db, resolve(db, "broadcast", _SELECT, ref, id_column="b.id"))


def undelivered(db: sqlite3.Connection, machine_id: str, since: str = "") -> list[Row]:
    """(broadcast, target) pairs that this machine is to deliver and that have no outcome yet, oldest first.

    Expired ones are among them: their outcome is that they expired. `elsewhere` says that one bears this node's name
    and was not written here. `since` is a stamp, or the beginning of one.
    """
    return rows(
        db,
        "SELECT b.id, b.target, b.text, b.raw IS 1 AS raw, b.expires_ms, b.machine_id AS author, b.hlc,"
        " t.value ->> 'session_uuid' AS session_uuid, t.value ->> 'assignment_id' AS assignment_id,"
        " EXISTS (SELECT 1 FROM own_elsewhere o WHERE o.hlc = b.hlc) AS elsewhere"
        " FROM broadcasts b, json_each(b.targets) t"
        " LEFT JOIN deliveries d"
        "  ON d.id = b.id || '/' || (t.value ->> 'session_uuid') || '/' || (t.value ->> 'machine_id')"
        " WHERE b.hlc >= ? AND t.value ->> 'machine_id' = ? AND d.id IS NULL ORDER BY b.hlc",
        (since, machine_id),
    )


def allow(node: "Node", member_ref: str, allowed: bool = True) -> Row:
    """Let a member's broadcasts be typed on this host, or no longer; said here only, never replicated."""
    with node.writing() as tx:
        member = members.find(tx.db, member_ref)
        if member["id"] == node.machine_id:
            raise Refused("what is sent from this host may always be typed here", "name another node")
        if allowed and member["state"] == "revoked":
            raise Refused(f"{member['name']} was cut off")
        tx.db.execute("DELETE FROM allow_send WHERE machine_id = ?", (member["id"],))
        if allowed:
            tx.db.execute("INSERT INTO allow_send VALUES (?, ?)", (member["id"], node.now_ms()))
        tx.wrote = True  # rings the daemon: what waits may be typed now
        return {**member, "may_send": allowed}


def allowed_authors(db: sqlite3.Connection) -> set[str]:
    """Machines whose broadcasts may be typed on this host, besides this one; whoever was cut off is none of them."""
    allowed = "SELECT machine_id FROM allow_send JOIN members ON id = machine_id WHERE through_hlc IS NULL"
    return {machine for (machine,) in db.execute(allowed)}


def _read(db: sqlite3.Connection, row: Row) -> Row:
    found = rows(db, "SELECT * FROM deliveries WHERE broadcast_id = ?", (row["id"],))
    outcomes = {(delivery["session_uuid"], delivery["machine_id"]): delivery for delivery in found}
    row["raw"] = bool(row["raw"])
    targets, row["targets"] = msgspec.json.decode(row["targets"]), []
    for target in targets:
        came = outcomes.get((target["session_uuid"], target["machine_id"]), {})
        row["targets"].append({**target, "outcome": came.get("outcome"), "why": came.get("why")})
    return row
