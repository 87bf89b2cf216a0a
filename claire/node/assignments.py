"""Assignments: which session works on which task. A binding follows its session's lineage across restarts."""

import sqlite3
from collections.abc import Iterable
from typing import TYPE_CHECKING

from claire.node import registers, sessions, tasks
from claire.node.errors import NotFound
from claire.node.event import Body, Event, Millis, event_type
from claire.node.fold import Fold
from claire.node.rows import Row, resolve, rows

if TYPE_CHECKING:
    from claire.node.node import Node, Transaction


@event_type("assignment_created")
class AssignmentCreated(Body):
    """Said again with a later `lease_until_ms` it renews a claim; `claims.py` says what a claim is."""

    assignment_id: str
    task_id: str
    session_uuid: str
    lease_until_ms: Millis | None = None  # None: given by somebody, not claimed

    def fold(self, fold: Fold, event: Event) -> None:
        row = fold.row("assignments", self.assignment_id)
        if row["session_uuid"] is not None:
            fold.settle(settle, row["session_uuid"])  # it counted there until now
        values = {"task_id": self.task_id, "session_uuid": self.session_uuid}
        registers.set_oldest(row, "created_hlc", event.hlc, values)
        if self.lease_until_ms is not None:
            row["lease_until_ms"] = max(row["lease_until_ms"] or 0, self.lease_until_ms)
        fold.settle(settle, row["session_uuid"])


@event_type("assignment_ended")
class AssignmentEnded(Body):
    """Ended for good; going on is a new assignment."""

    assignment_id: str
    reason: str = ""

    def fold(self, fold: Fold, event: Event) -> None:
        row = fold.row("assignments", self.assignment_id)
        registers.set_oldest(row, "ended_hlc", event.hlc, {"reason": self.reason})
        if row["session_uuid"] is not None:
            fold.settle(settle, row["session_uuid"])


def settle(db: sqlite3.Connection, touched: Iterable[str]) -> None:
    """Recompute `active` for all assignments of the lineages touched: the newest one, unless it has ended."""
    done: set[str] = set()
    for session in touched:
        if session in done:
            continue
        lineage = sessions.lineage(db, session)
        done.update(lineage)
        marks = ", ".join("?" * len(lineage))
        found = db.execute(
            f"SELECT id, ended_hlc FROM assignments WHERE session_uuid IN ({marks}) ORDER BY created_hlc DESC, id DESC",
            lineage,
        ).fetchall()
        db.executemany(
            "UPDATE assignments SET active = ? WHERE id = ? AND active IS NOT ?",
            [
                (int(n == 0 and ended is None), id_, int(n == 0 and ended is None))
                for n, (id_, ended) in enumerate(found)
            ],
        )


def assign(node: "Node", task_ref: str, session_ref: str) -> Row:
    """Bind a task to a session. A task not begun yet becomes in_progress. Binding it again changes nothing."""
    with node.writing() as tx:
        task, session = tasks.find(tx.db, task_ref), sessions.find(tx.db, session_ref)
        current = of_session(tx.db, session["id"])
        if current is not None and current["task_id"] == task["id"]:
            return current
        return bind(node, tx, task, session["id"])


def bind(node: "Node", tx: "Transaction", task: Row, session: str, lease_until_ms: int | None = None) -> Row:
    assignment_id = node.new_id()
    tx.record(AssignmentCreated(assignment_id, task["id"], session, lease_until_ms))
    if task["status"] == "todo":
        tasks.move(tx, task["id"], "in_progress")
    return find(tx.db, assignment_id)


def unassign(node: "Node", task_ref: str, reason: str = "unassigned") -> list[Row]:
    """End every active assignment of a task; those ended."""
    with node.writing() as tx:
        task = tasks.find(tx.db, task_ref, deleted=True)
        active = list_assignments(tx.db, task_id=task["id"])
        if not active:
            raise NotFound(
                f"no session is assigned to task {task['id'][:8]}", f"claire assign {task['id'][:8]} SESSION"
            )
        for assignment in active:
            tx.record(AssignmentEnded(assignment["id"], reason))
        return [find(tx.db, assignment["id"]) for assignment in active]


_SELECT = (
    "SELECT a.id, a.task_id, a.session_uuid, coalesce(l.head, a.session_uuid) AS current_session, a.created_hlc,"
    " a.ended_hlc, a.reason, a.lease_until_ms, a.active IS 1 AS active, t.title, t.status, t.project_id,"
    # Of claims made at once on several hosts the earliest holds the task, on every node alike.
    " (SELECT c.id FROM assignments c WHERE c.task_id = a.task_id AND c.active = 1 AND c.lease_until_ms IS NOT NULL"
    " ORDER BY c.created_hlc, c.id LIMIT 1) AS holder"
    " FROM assignments a LEFT JOIN lineages l ON l.session_uuid = a.session_uuid"
    " LEFT JOIN tasks t ON t.id = a.task_id WHERE a.created_hlc IS NOT NULL"
)


def list_assignments(db: sqlite3.Connection, task_id: str | None = None, *, ended: bool = False) -> list[Row]:
    """Active assignments (all if `ended`), newest first; `current_session` is where the session's lineage is now."""
    return _read(
        rows(
            db,
            f"{_SELECT}{'' if ended else ' AND a.active = 1'}"
            f"{'' if task_id is None else ' AND a.task_id = ?1'} ORDER BY a.created_hlc DESC, a.id DESC",
            () if task_id is None else (task_id,),
        )
    )


def of_session(db: sqlite3.Connection, session: str) -> Row | None:
    """What a session, or the lineage it belongs to, is bound to now."""
    lineage = sessions.lineage(db, session)
    marks = ", ".join("?" * len(lineage))
    return next(iter(_read(rows(db, f"{_SELECT} AND a.active = 1 AND a.session_uuid IN ({marks})", lineage))), None)


def duplicate_work(db: sqlite3.Connection) -> list[Row]:
    """Tasks held by more than one live session: shown, never stopped. `claimed_by` is whose claim holds, if any."""
    return rows(
        db,
        "SELECT a.task_id AS id, t.title, count(*) AS sessions,"
        " group_concat(coalesce(l.head, a.session_uuid)) AS session_uuids,"
        " (SELECT coalesce(m.head, c.session_uuid) FROM assignments c"
        " LEFT JOIN lineages m ON m.session_uuid = c.session_uuid"
        " WHERE c.task_id = a.task_id AND c.active = 1 AND c.lease_until_ms IS NOT NULL"
        " ORDER BY c.created_hlc, c.id LIMIT 1) AS claimed_by"
        " FROM assignments a LEFT JOIN lineages l ON l.session_uuid = a.session_uuid"
        " LEFT JOIN sessions s ON s.id = coalesce(l.head, a.session_uuid) LEFT JOIN tasks t ON t.id = a.task_id"
        " WHERE a.active = 1 AND s.gone IS NOT 1 AND t.deleted IS NOT 1 AND t.status <> 'done'"
        " GROUP BY a.task_id HAVING count(*) > 1",
    )


def find(db: sqlite3.Connection, ref: str) -> Row:
    return _read([resolve(db, "assignment", _SELECT, ref, id_column="a.id")])[0]


def _read(found: list[Row]) -> list[Row]:
    """`claim`: '' (given), 'held', or 'contested' (another's claim, made at once, was earlier)."""
    for row in found:
        row["active"] = bool(row["active"])
        claimed = row["active"] and row["lease_until_ms"] is not None
        row["claim"] = ("held" if row["holder"] == row["id"] else "contested") if claimed else ""
        del row["holder"]
    return found
