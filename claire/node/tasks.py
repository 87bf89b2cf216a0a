"""Tasks: what is to be done, how far it is, and what it waits for."""

import sqlite3
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from claire.node import projects, registers
from claire.node.errors import UsageError
from claire.node.event import Body, Event, event_type, said
from claire.node.fold import Fold, seen
from claire.node.registers import Rank
from claire.node.rows import Row, resolve, rows

if TYPE_CHECKING:
    from claire.node.node import Node, Transaction

STATUSES = ("todo", "in_progress", "blocked", "done")
PRIORITIES = range(5)
Priority = Annotated[int, Meta(ge=0, le=4)]
PRIORITY_DEFAULT = 2
RANKS: dict[str, Rank] = {"status": registers.status_rank, "deleted": registers.true_wins}
LINK_RANKS: dict[str, Rank] = {"linked": registers.true_wins}


@event_type("task_created")
class TaskCreated(Body):
    task_id: str
    project_id: str
    title: str
    description: str = ""
    status: str = "todo"
    priority: Priority = PRIORITY_DEFAULT

    def row(self) -> tuple[str, str]:
        return "tasks", self.task_id

    def fold(self, fold: Fold, event: Event) -> None:
        values = {
            "project_id": self.project_id,
            "title": self.title,
            "description": self.description,
            "status": self.status,
            "priority": self.priority,
        }
        row = fold.assign("tasks", self.task_id, event, values, {}, RANKS)
        row["created_hlc"] = min(row["created_hlc"] or event.hlc, event.hlc)


class TaskFields(Body):
    """The registers of a task that a change may set; those not mentioned stay."""

    project_id: str | UnsetType = UNSET
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    deleted: bool | UnsetType = UNSET


@event_type("task_changed")
class TaskChanged(Body):
    """`on` names, per field, the events whose values the author saw and replaces."""

    task_id: str
    set: TaskFields
    on: dict[str, list[str]] = {}

    def row(self) -> tuple[str, str]:
        return "tasks", self.task_id

    def fold(self, fold: Fold, event: Event) -> None:
        fold.assign("tasks", self.task_id, event, said(self.set), self.on, RANKS)


class _Link(Body):
    task_id: str
    blocked_by: str
    on: list[str] = []

    def _assign(self, fold: Fold, event: Event, linked: bool) -> None:
        entity = f"{self.task_id}/{self.blocked_by}"
        row = fold.assign("task_links", entity, event, {"linked": linked}, {"linked": self.on}, LINK_RANKS)
        row["task_id"], _, row["blocked_by"] = entity.partition("/")  # whatever ids a peer made up: one row, one link


@event_type("task_linked")
class TaskLinked(_Link):
    """The task cannot go on before `blocked_by` is done."""

    def fold(self, fold: Fold, event: Event) -> None:
        self._assign(fold, event, True)


@event_type("task_unlinked")
class TaskUnlinked(_Link):
    def fold(self, fold: Fold, event: Event) -> None:
        self._assign(fold, event, False)


def add(node: "Node", project_ref: str, title: str, description: str = "", priority: int = PRIORITY_DEFAULT) -> Row:
    """A new task, status todo."""
    _check({"title": title, "priority": priority})
    with node.writing() as tx:
        project = projects.find(tx.db, project_ref)
        task_id = node.new_id()
        tx.record(TaskCreated(task_id, project["id"], title, description, priority=priority))
        return find(tx.db, task_id)


def edit(node: "Node", ref: str, **fields: Any) -> Row:
    """Change title, description, status, priority, project (a reference) or deleted; None leaves a field as it is."""
    values = {field: value for field, value in fields.items() if value is not None}
    _check(values)
    with node.writing() as tx:
        task = find(tx.db, ref, deleted=True)
        if (project_ref := values.pop("project", None)) is not None:
            values["project_id"] = projects.find(tx.db, project_ref)["id"]
        changed = {f: value for f, value in values.items() if task[f] != value or f in task["conflicts"]}
        if changed:
            on = seen(tx.db, "tasks", task["id"], changed)
            tx.record(TaskChanged(task["id"], TaskFields(**changed), on))
        return find(tx.db, task["id"], deleted=True)


def set_status(node: "Node", ref: str, status: str) -> Row:
    return edit(node, ref, status=status)


def move(tx: "Transaction", task_id: str, status: str) -> None:
    """Set the status as part of something larger; what it was until now is replaced."""
    tx.record(TaskChanged(task_id, TaskFields(status=status), seen(tx.db, "tasks", task_id, ["status"])))


def remove(node: "Node", ref: str) -> Row:
    return edit(node, ref, deleted=True)


def restore(node: "Node", ref: str) -> Row:
    return edit(node, ref, deleted=False)


def link(node: "Node", ref: str, blocked_by_ref: str) -> Row:
    """Say that a task waits for another; UsageError if it would wait for itself."""
    with node.writing() as tx:
        task, blocker = find(tx.db, ref), find(tx.db, blocked_by_ref)
        if task["id"] == blocker["id"] or task["id"] in _blockers(tx.db, blocker["id"]):
            raise UsageError("a task cannot wait for itself", f"claire task show {blocker['id'][:8]}")
        if blocker["id"] not in task["blocked_by"]:
            on = seen(tx.db, "task_links", f"{task['id']}/{blocker['id']}", ["linked"]).get("linked", [])
            tx.record(TaskLinked(task["id"], blocker["id"], on))
        return find(tx.db, task["id"])


def unlink(node: "Node", ref: str, blocked_by_ref: str) -> Row:
    with node.writing() as tx:
        task, blocker = find(tx.db, ref, deleted=True), find(tx.db, blocked_by_ref, deleted=True)
        if blocker["id"] in task["blocked_by"]:
            on = seen(tx.db, "task_links", f"{task['id']}/{blocker['id']}", ["linked"]).get("linked", [])
            tx.record(TaskUnlinked(task["id"], blocker["id"], on))
        return find(tx.db, task["id"], deleted=True)


def _check(values: dict[str, Any]) -> None:
    if values.get("priority", 0) not in PRIORITIES:
        raise UsageError(f"priority {values['priority']} is not 0 to 4", "0 is the most urgent")
    if values.get("status", "todo") not in STATUSES:
        raise UsageError(f"{values['status']!r} is not a task status", f"choose one of {', '.join(STATUSES)}")
    if not values.get("title", "x").strip():
        raise UsageError("a task needs a title", 'claire task add PROJECT "what is to be done"')


_COLUMNS = (
    "SELECT t.id, t.project_id, t.title, t.description, t.status, t.priority, t.deleted IS 1 AS deleted,"
    " t.created_hlc, t.updated_hlc,"
    " (SELECT group_concat(l.blocked_by) FROM task_links l WHERE l.task_id = t.id AND l.linked) AS blocked_by,"
    " (SELECT group_concat(c.field) FROM conflicts c WHERE c.noun = 'tasks' AND c.entity_id = t.id) AS conflicts"
)
_SELECT = f"{_COLUMNS} FROM tasks t WHERE t.created_hlc IS NOT NULL"
_URGENCY = "ORDER BY t.status = 'done', t.priority, t.created_hlc"


def list_tasks(
    db: sqlite3.Connection,
    project_id: str | None = None,
    status: str | None = None,
    *,
    deleted: bool = False,
    limit: int = -1,
) -> list[Row]:
    """Tasks, the most urgent first, then the oldest; of one project (merged ones included) and one status if given."""
    in_project = (
        "" if project_id is None else " AND t.project_id IN (SELECT id FROM projects WHERE root_id = ?1 OR id = ?1)"
    )
    chosen = (  # first, so that links and conflicts are looked up for what is shown and for no more
        f"SELECT * FROM tasks t WHERE t.created_hlc IS NOT NULL AND t.deleted IS {'' if deleted else 'NOT'} 1"
        f"{in_project} AND (?2 IS NULL OR t.status = ?2) {_URGENCY} LIMIT ?3"
    )
    found = rows(db, f"{_COLUMNS} FROM ({chosen}) t {_URGENCY}", (project_id, status, limit))
    return [_read(row) for row in found]


def find(db: sqlite3.Connection, ref: str, *, deleted: bool = False) -> Row:
    """A task by id or unique prefix; NotFound or Ambiguous."""
    visible = "" if deleted else " AND t.deleted IS NOT 1"
    return _read(resolve(db, "task", _SELECT + visible, ref, id_column="t.id"))


def _read(row: Row) -> Row:
    row["deleted"] = bool(row["deleted"])
    row["blocked_by"] = row["blocked_by"].split(",") if row["blocked_by"] else []
    row["conflicts"] = row["conflicts"].split(",") if row["conflicts"] else []
    return row


def _blockers(db: sqlite3.Connection, task_id: str) -> set[str]:
    """Everything a task waits for, directly or not."""
    found = db.execute(
        "WITH RECURSIVE waits(id) AS (SELECT blocked_by FROM task_links WHERE task_id = ? AND linked"
        " UNION SELECT l.blocked_by FROM task_links l JOIN waits w ON l.task_id = w.id AND l.linked)"
        " SELECT id FROM waits",
        (task_id,),
    )
    return {blocker for (blocker,) in found}
