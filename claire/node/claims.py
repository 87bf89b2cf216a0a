"""Claims: a session takes a task for itself, for a while.

A log of peers cannot lock, so a claim is an assignment with a lease. Claims made at once on several hosts are settled
alike on every node: the earliest holds, the others are shown as contested. A lease that ran out takes nothing away; it
only lets the next one in.
"""

import sqlite3
from typing import TYPE_CHECKING

from claire.node import assignments, names, sessions, tasks
from claire.node.assignments import AssignmentCreated, AssignmentEnded
from claire.node.errors import NotFound, Refused, UsageError
from claire.node.rows import Row, rows

if TYPE_CHECKING:
    from claire.node.node import Node, Transaction

LEASE_MS = 60 * 60_000
LEASE_MS_MIN, LEASE_MS_MAX = 60_000, 7 * 86_400_000


def claim(node: "Node", task_ref: str, session_ref: str, lease_ms: int = LEASE_MS) -> Row:
    """Take a task, or hold it longer. Refused names who holds it; a lapsed claim is taken over."""
    if not LEASE_MS_MIN <= lease_ms <= LEASE_MS_MAX:
        raise UsageError("a lease is between a minute and seven days", "--lease 30m")
    with node.writing() as tx:
        task, session = tasks.find(tx.db, task_ref), sessions.find(tx.db, session_ref)
        until_ms = node.now_ms() + lease_ms
        current = assignments.of_session(tx.db, session["id"])
        own = current if current and current["task_id"] == task["id"] else None
        if own is None or own["claim"] != "held":
            _check_free(tx.db, task)
            _take_over(tx, node.now_ms(), [a for a in _active(tx.db, task) if own is None or a["id"] != own["id"]])
        if own is not None:
            return _extend(tx, own, until_ms)
        if current is not None and current["claim"]:
            _let_go(tx, current, "went on to another task")
        return assignments.bind(node, tx, task, session["id"], until_ms)


def renew(node: "Node", session: str) -> bool:
    """Hold the claim of a session that shows it is alive; only writes when half of the lease is gone."""
    now_ms = node.now_ms()
    with node.reading() as db:
        own = assignments.of_session(db, session)
    if own is None or own["claim"] != "held" or own["lease_until_ms"] - now_ms > LEASE_MS // 2:
        return False
    with node.writing() as tx:
        _extend(tx, own, now_ms + LEASE_MS)
    return True


def release(node: "Node", session_ref: str, task_ref: str | None = None) -> Row:
    """Give back what a session holds; the task is to do again unless somebody else is at it."""
    with node.writing() as tx:
        session = sessions.find(tx.db, session_ref)
        own, short = assignments.of_session(tx.db, session["id"]), session["id"][:8]
        meant = tasks.find(tx.db, task_ref, deleted=True)["id"] if task_ref is not None else None
        if own is None or meant not in (None, own["task_id"]):
            raise NotFound(f"session {short} does not hold that", f"claire session show {short}")
        _let_go(tx, own, "released")
        return assignments.find(tx.db, own["id"])


def _check_free(db: sqlite3.Connection, task: Row) -> None:
    """Nothing but another session's claim may stand in the way of work that is to be done."""
    short = task["id"][:8]
    if task["status"] == "done":
        raise Refused(f"task {short} is done", f"claire task reopen {short}")
    waits = [id_[:8] for (id_,) in db.execute(_OPEN_BLOCKERS.format(task="?"), (task["id"],))]
    if waits:
        raise Refused(f"task {short} waits for {', '.join(sorted(waits))}", "claire task list --ready")


def _active(db: sqlite3.Connection, task: Row) -> list[Row]:
    return assignments.list_assignments(db, task["id"])


def _take_over(tx: "Transaction", now_ms: int, others: list[Row]) -> None:
    for other in others:
        if not lapsed(other, now_ms):
            raise Refused(_holder(tx.db, other), "claire task list --ready")
        tx.record(AssignmentEnded(other["id"], "its lease had lapsed"))


def _holder(db: sqlite3.Connection, held: Row) -> str:
    session = held["current_session"]
    name = names.of(db, {session}).get(session, "")
    host = next((row["host"] for row in rows(db, "SELECT host FROM sessions WHERE id = ?", (session,))), "?")
    return f"task {held['task_id'][:8]} is held by session {session[:8]} {name} on {host}".replace("  ", " ")


def _extend(tx: "Transaction", own: Row, until_ms: int) -> Row:
    tx.record(AssignmentCreated(own["id"], own["task_id"], own["session_uuid"], until_ms))
    return assignments.find(tx.db, own["id"])


def _let_go(tx: "Transaction", own: Row, reason: str) -> None:
    tx.record(AssignmentEnded(own["id"], reason))
    if own["status"] == "in_progress" and not assignments.list_assignments(tx.db, own["task_id"]):
        tasks.move(tx, own["task_id"], "todo")


def lapsed(assignment: Row, now_ms: int) -> bool:
    """A claim that others may take over, for it was not renewed in time."""
    return assignment["lease_until_ms"] is not None and assignment["lease_until_ms"] <= now_ms


_OPEN_BLOCKERS = (
    "SELECT l.blocked_by AS id FROM task_links l LEFT JOIN tasks b ON b.id = l.blocked_by"
    " WHERE l.task_id = {task} AND l.linked AND b.status IS NOT 'done' AND b.deleted IS NOT 1"
)


def ready(db: sqlite3.Connection, now_ms: int, project_id: str | None = None) -> list[Row]:
    """What a session may begin now, the most urgent first: waits for nothing, and nobody holds it."""
    found = db.execute(
        "SELECT t.id FROM tasks t LEFT JOIN projects p ON p.id = t.project_id"
        " LEFT JOIN projects r ON r.id = coalesce(p.root_id, p.id)"
        " WHERE t.deleted IS NOT 1 AND r.deleted IS NOT 1 AND coalesce(r.status, 'active') = 'active'"
        f" AND NOT EXISTS ({_OPEN_BLOCKERS.format(task='t.id')})"
        " AND NOT EXISTS (SELECT 1 FROM assignments a WHERE a.task_id = t.id AND a.active = 1"
        " AND (a.lease_until_ms IS NULL OR a.lease_until_ms > ?))"
        " AND (t.status = 'todo' OR t.status = 'in_progress'"
        " AND EXISTS (SELECT 1 FROM assignments a WHERE a.task_id = t.id AND a.active = 1))",
        (now_ms,),
    )
    free = {id_ for (id_,) in found}
    listed = (tasks.list_tasks(db, project_id, status) for status in ("todo", "in_progress"))
    kept = [task for part in listed for task in part if task["id"] in free]
    return sorted(kept, key=lambda task: (task["priority"], task["created_hlc"]))


def contested(db: sqlite3.Connection) -> list[Row]:
    """Tasks that several sessions claimed at once, in the shape of a conflict: `shown` is the session that holds."""
    by_task: dict[str, list[Row]] = {}
    for assignment in assignments.list_assignments(db):
        if assignment["claim"]:
            by_task.setdefault(assignment["task_id"], []).append(assignment)
    hosts = dict(db.execute("SELECT id, host FROM sessions"))
    return [
        {
            "id": task_id,
            "noun": "task",
            "label": claims[0]["title"] or "",
            "field": "claim",
            "shown": next(c["current_session"] for c in claims if c["claim"] == "held"),
            "values": [
                {
                    "value": c["current_session"],
                    "hlc": c["created_hlc"],
                    "event": c["id"],
                    "host": hosts.get(c["current_session"], "?"),
                }
                for c in reversed(claims)
            ],
        }
        for task_id, claims in by_task.items()
        if len(claims) > 1
    ]
