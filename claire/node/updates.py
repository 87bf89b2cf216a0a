"""Updates: progress on tasks, from people, agents, triage and panes."""

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from claire.node import assignments, tasks
from claire.node.errors import UsageError
from claire.node.event import Body, Event, event_type
from claire.node.fold import Fold
from claire.node.rows import Row, rows

if TYPE_CHECKING:
    from claire.node.node import Node

SOURCES = ("note", "triage", "message", "pane-tail", "question")


@event_type("update_added")
class UpdateAdded(Body):
    source: str
    payload: str
    task_id: str | None = None
    assignment_id: str | None = None
    session_uuid: str | None = None

    def fold(self, fold: Fold, event: Event) -> None:
        fold.row("updates", event.uuid).update(
            task_id=self.task_id,
            assignment_id=self.assignment_id,
            session_uuid=self.session_uuid,
            source=self.source,
            payload=self.payload,
            machine_id=event.machine_id,
            hlc=event.hlc,
        )


def note(node: "Node", task_ref: str, text: str, source: str = "note") -> Row:
    """Add progress to a task; it also names the assignment the task has now, if there is exactly one."""
    if not text.strip():
        raise UsageError("there is nothing to note", 'claire note TASK "what happened"')
    with node.writing() as tx:
        task = tasks.find(tx.db, task_ref)
        active = assignments.list_assignments(tx.db, task_id=task["id"])
        assignment = active[0] if len(active) == 1 else None
        event = tx.record(
            UpdateAdded(
                source,
                text,
                task["id"],
                assignment["id"] if assignment else None,
                assignment["current_session"] if assignment else None,
            )
        )
        return rows(tx.db, f"{_SELECT} WHERE u.id = ?", (event.uuid,))[0]


def add(node: "Node", session_uuid: str, source: str, text: str) -> Row:
    """Add what was learnt of a session; it lands on the task the session is bound to, if it is."""
    with node.writing() as tx:
        bound = assignments.of_session(tx.db, session_uuid)
        event = tx.record(
            UpdateAdded(source, text, bound["task_id"] if bound else None, bound["id"] if bound else None, session_uuid)
        )
        return rows(tx.db, f"{_SELECT} WHERE u.id = ?", (event.uuid,))[0]


_SELECT = (
    "SELECT u.id, u.assignment_id, u.task_id, u.session_uuid, u.source, u.payload, u.hlc, u.machine_id FROM updates u"
)


def list_updates(
    db: sqlite3.Connection,
    *,
    task_id: str | None = None,
    project_id: str | None = None,
    sources: Sequence[str] | None = None,
    limit: int = 50,
) -> list[Row]:
    """The newest updates first; of one task, of one project, from some sources if given."""
    return rows(
        db,
        f"{_SELECT} LEFT JOIN tasks t ON t.id = u.task_id LEFT JOIN projects p ON p.id = t.project_id"
        " WHERE (?1 IS NULL OR u.task_id = ?1) AND (?2 IS NULL OR p.root_id = ?2 OR p.id = ?2)"
        " AND (?4 IS NULL OR u.source IN (SELECT value FROM json_each(?4))) ORDER BY u.hlc DESC LIMIT ?3",
        (task_id, project_id, limit, sources and msgspec.json.encode(sources).decode()),
    )
