"""`/tasks/{id}`: one task with its sessions, progress and history, and everything one does to it."""

from sqlite3 import Connection
from typing import TYPE_CHECKING, Any

from claire.node import assignments, decisions, projects, tasks, updates
from claire.node.errors import UsageError
from claire.node.rows import Row, rows
from claire.ui.ask import Ask, Done
from claire.ui.pages import fleet, tales
from claire.ui.pages.projects import dated, with_seats

if TYPE_CHECKING:
    from claire.node.node import Node

NEWS_SHOWN = 50
CANDIDATES_SHOWN = 200


def show(db: Connection, ask: Ask) -> dict[str, Any]:
    task = tasks.find(db, ask.path["id"], deleted=True)
    live = fleet.live(db, ask)
    return {
        "task": with_seats([task], live, assignments.list_assignments(db, task["id"]))[0],
        "project": project_of(db, task),
        "held": assignments.list_assignments(db, task["id"], ended=True),
        "blockers": [short(db, id_) for id_ in task["blocked_by"]],
        "blocks": rows(
            db,
            "SELECT t.id, t.title, t.status FROM task_links l JOIN tasks t ON t.id = l.task_id"
            " WHERE l.blocked_by = ? AND l.linked AND t.deleted IS NOT 1 ORDER BY t.created_hlc",
            (task["id"],),
        ),
        "siblings": tasks.list_tasks(db, task["project_id"], limit=CANDIDATES_SHOWN),
        "projects": projects.list_projects(db),
        "live": live,
        "updates": dated(db, updates.list_updates(db, task_id=task["id"], limit=NEWS_SHOWN)),
        "decisions": dated(db, decisions.list_decisions(db, task_id=task["id"], limit=NEWS_SHOWN)),
        "history": tales.recent(db, task["id"], NEWS_SHOWN),
        "statuses": tasks.STATUSES,
        "priorities": tasks.PRIORITIES,
    }


def project_of(db: Connection, task: Row) -> Row | None:
    """The project a task belongs to; None while its event has not arrived yet."""
    known = db.execute("SELECT root_id FROM projects WHERE id = ? AND created_hlc IS NOT NULL", (task["project_id"],))
    row = known.fetchone()
    return projects.find(db, row[0], deleted=True) if row else None


def short(db: Connection, task_id: str) -> Row:
    found = rows(db, "SELECT id, title, status FROM tasks WHERE id = ?", (task_id,))
    return found[0] if found else {"id": task_id, "title": "a task not seen yet", "status": "unknown"}


def add(node: "Node", ask: Ask) -> Done:
    task = tasks.add(
        node,
        ask.path["id"],
        ask.one("title").strip(),
        ask.one("description", ""),
        number(ask.one("priority", str(tasks.PRIORITY_DEFAULT))),
    )
    return Done(f"Added {task['id'][:8]}.")


def edit(node: "Node", ask: Ask) -> Done:
    fields: dict[str, Any] = {
        name: ask.one(name) for name in ("title", "description", "status", "project") if name in ask.form
    }
    if "priority" in ask.form:
        fields["priority"] = number(ask.one("priority"))
    if "deleted" in ask.form:
        fields["deleted"] = ask.one("deleted") == "yes"
    task = tasks.edit(node, ask.path["id"], **fields)
    return Done("Deleted; it can be restored." if task["deleted"] else "Saved.")


def number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) == 1):
        raise UsageError(f"{text!r} is not a priority", "0 is the most urgent, 4 the least")
    return int(text)


def set_status(node: "Node", ask: Ask) -> Done:
    task = tasks.set_status(node, ask.path["id"], ask.one("status"))
    return Done(f"{task['title'][:60]}: {task['status'].replace('_', ' ')}.")


def assign(node: "Node", ask: Ask) -> Done:
    """A session by id or by `host:name`, as the list offers it."""
    assignments.assign(node, ask.path["id"], ask.one("session").strip())
    return Done("Assigned.")


def unassign(node: "Node", ask: Ask) -> Done:
    assignments.unassign(node, ask.path["id"])
    return Done("Nobody holds this task now.")


def note(node: "Node", ask: Ask) -> Done:
    updates.note(node, ask.path["id"], ask.one("text"))
    return Done("Noted.")


def block(node: "Node", ask: Ask) -> Done:
    tasks.link(node, ask.path["id"], ask.one("blocker"))
    return Done("It waits for that task now.")


def unblock(node: "Node", ask: Ask) -> Done:
    tasks.unlink(node, ask.path["id"], ask.one("blocker"))
    return Done("It no longer waits for that task.")
