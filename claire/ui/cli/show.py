"""A project and a task with everything around them: `claire project show`, `claire task show`."""

from __future__ import annotations

from claire.node import assignments, decisions, history, names, projects, tasks, updates
from claire.node.errors import NotFound
from claire.ui import text
from claire.ui.cli import log
from claire.ui.cli.assignments import holding
from claire.ui.cli.context import Context, Result, View
from claire.ui.cli.projects import counts
from claire.ui.cli.tasks import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from claire.node.rows import Row
    from claire.ui.text import Line

NOTES_SHOWN = 10
HISTORY_ROWS_MAX = 1_000


def task(ctx: Context, ref: str, history: bool) -> Result:
    with ctx.node.reading() as db:
        row = tasks.find(db, ref, deleted=True)
        row["project"] = names.of_projects(db).get(row["project_id"], "")
        row["waits_for"] = [_blocker(db, other) for other in row["blocked_by"]]
        row["assignments"] = _assignments(db, row["id"])
        row["updates"] = updates.list_updates(db, task_id=row["id"], limit=NOTES_SHOWN)
        row["decisions"] = decisions.list_decisions(db, task_id=row["id"], limit=NOTES_SHOWN)
        if history:
            row["history"] = _history(db, row["id"])
    return Result(row, lambda view: _task(row, view))


def project(ctx: Context, ref: str, history: bool) -> Result:
    with ctx.node.reading() as db:
        row = projects.find(db, ref, deleted=True)
        row["tasks"] = tasks.list_tasks(db, row["id"])
        ids = {t["id"] for t in row["tasks"]}
        row["assignments"] = [a for a in _assignments(db) if a["task_id"] in ids]
        row["updates"] = updates.list_updates(db, project_id=row["id"], limit=NOTES_SHOWN)
        row["decisions"] = decisions.list_decisions(db, project_id=row["id"], limit=NOTES_SHOWN)
        if history:
            row["history"] = _history(db, row["id"])
    return Result(row, lambda view: _project(row, view))


def _assignments(db: sqlite3.Connection, task_id: str | None = None) -> list[Row]:
    rows = assignments.list_assignments(db, task_id)
    known = names.of(db, {row["current_session"] for row in rows})
    return [{**row, "session": known.get(row["current_session"], "")} for row in rows]


def _blocker(db: sqlite3.Connection, id: str) -> Row:
    """A task may be linked to one that has not arrived from its host yet."""
    try:
        return tasks.find(db, id, deleted=True)
    except NotFound:
        return {"id": id, "title": "", "status": "not here yet"}


def _history(db: sqlite3.Connection, id: str) -> list[Row]:
    return log.told(db, history.list_events(db, about=id, limit=HISTORY_ROWS_MAX)[::-1])


def _task(row: Row, view: View) -> list[Line]:
    contested = f"set differently on two hosts: {', '.join(row['conflicts'])}; claire conflicts"
    lines = text.fields(
        [
            ("task", row["id"]),
            ("title", (row["title"], "bold")),
            ("project", row["project"]),
            ("status", ("✕ removed", "dim") if row["deleted"] else text.state(row["status"])),
            ("priority", f"P{row['priority']}"),
            ("conflict", (contested, "wait") if row["conflicts"] else ""),
            *(("waits for", _waits(other)) for other in row["waits_for"]),
            *(("session", _held(a, view)) for a in row["assignments"]),
            ("changed", f"{text.since(row['updated_hlc'] or row['created_hlc'], view.now_ms)} ago"),
            ("text", row["description"]),
        ],
        view.width,
    )
    return lines + _around(row, view)


def _held(row: Row, view: View) -> str:
    name = f" {row['session']}" if row["session"] else ""
    return text.short(row["current_session"]) + name + holding(row, view.now_ms)


def _waits(other: Row) -> str:
    return f"{text.short(other['id'])} {text.first_line(other['title'])} ({other['status'].replace('_', ' ')})"


def _project(row: Row, view: View) -> list[Line]:
    done: dict[str, int] = {}
    for each in row["tasks"]:
        done[each["status"]] = done.get(each["status"], 0) + 1
    lines = text.fields(
        [
            ("project", row["id"]),
            ("name", (row["display"], "bold")),
            ("goal", row["goal"]),
            ("owner", row["owner"]),
            ("status", ("✕ removed", "dim") if row["deleted"] else text.state(row["status"])),
            ("merged into", text.short(row["merged_into"] or "")),
            (
                "conflict",
                (f"{', '.join(row['conflicts'])}; claire conflicts", "wait") if row["conflicts"] else "",
            ),
            ("tasks", counts(done)),
        ],
        view.width,
    )
    if row["tasks"]:
        held = {a["task_id"]: f"{text.short(a['current_session'])} {a['session']}" for a in row["assignments"]}
        lines += [
            [],
            *table([{**t, "project": held.get(t["id"], "")} for t in row["tasks"]], view, "SESSION*?"),
        ]
    return lines + _around(row, view)


def _around(row: Row, view: View) -> list[Line]:
    lines: list[Line] = []
    for title, rows in (("DECIDED", row["decisions"]), ("NOTES", row["updates"])):
        if rows:
            lines += [[], [(title, "dim")], *notes(rows, view)]
    if row.get("history"):
        lines += [[], *log.table(row["history"], view)]
    return lines


def notes(rows: list[Row], view: View) -> list[Line]:
    """What was written down, newest first, each with its age."""
    width = None if view.width is None else max(view.width - 6, 12)
    lines: list[Line] = []
    for row in rows:
        said = text.wrapped(row.get("payload") or row.get("text") or "", width)
        ago = text.since(row["hlc"], view.now_ms)
        lines += [[(f"{ago if i == 0 else '':>4}  ", "dim"), (piece, "")] for i, piece in enumerate(said)]
    return lines
