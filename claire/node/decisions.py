"""Decisions: what was settled, in a project or for a task, and by whom it was recorded."""

import sqlite3
from typing import TYPE_CHECKING

from claire.node import projects, tasks
from claire.node.errors import Ambiguous, NotFound, UsageError
from claire.node.event import Body, Event, event_type
from claire.node.fold import Fold
from claire.node.rows import Row, rows

if TYPE_CHECKING:
    from claire.node.node import Node


@event_type("decision_logged")
class DecisionLogged(Body):
    text: str
    project_id: str | None = None
    task_id: str | None = None

    def fold(self, fold: Fold, event: Event) -> None:
        fold.row("decisions", event.uuid).update(
            project_id=self.project_id,
            task_id=self.task_id,
            text=self.text,
            machine_id=event.machine_id,
            hlc=event.hlc,
        )


def decide(node: "Node", ref: str, text: str) -> Row:
    """Record a decision on a project (by name or id) or on a task (by id)."""
    if not text.strip():
        raise UsageError("there is nothing to record", 'claire decide PROJECT "what was decided"')
    with node.writing() as tx:
        try:
            body = DecisionLogged(text, projects.find(tx.db, ref)["id"])
        except Ambiguous:
            raise
        except NotFound:
            task = tasks.find(tx.db, ref)
            body = DecisionLogged(text, task["project_id"], task["id"])
        event = tx.record(body)
        return rows(tx.db, f"{_SELECT} WHERE d.id = ?", (event.uuid,))[0]


_SELECT = "SELECT d.id, d.project_id, d.task_id, d.text, d.hlc, d.machine_id FROM decisions d"


def list_decisions(
    db: sqlite3.Connection, *, project_id: str | None = None, task_id: str | None = None, limit: int = 50
) -> list[Row]:
    """The newest decisions first, of one project (merged ones included) or one task if given."""
    return rows(
        db,
        f"{_SELECT} LEFT JOIN projects p ON p.id = d.project_id"
        " WHERE (?1 IS NULL OR p.root_id = ?1 OR p.id = ?1) AND (?2 IS NULL OR d.task_id = ?2)"
        " ORDER BY d.hlc DESC LIMIT ?3",
        (project_id, task_id, limit),
    )
