"""`claire diff`: what is different from how it was, net of what came and went between."""

from __future__ import annotations

from claire.node import decisions, names, past, projects, sessions, tasks, updates
from claire.ui import text
from claire.ui.cli.context import Context, Result, View
from claire.ui.cli.sessions import label
from claire.ui.cli.when import moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from claire.node.rows import Row
    from claire.ui.text import Line, Span

NOTES_MAX = 200
TASK_FIELDS = ("title", "description", "priority", "project_id")
PROJECT_FIELDS = ("name", "goal", "owner")


def diff(ctx: Context, since: str, project: str | None) -> Result:
    since_ms = moment(since, ctx.now_ms())
    with ctx.node.reading() as db:
        only = projects.find(db, project)["id"] if project is not None else None
        now = _state(db, only)
        known = names.of_projects(db)
        notes = [*decisions.list_decisions(db, project_id=only, limit=NOTES_MAX)]
        notes += updates.list_updates(db, project_id=only, limit=NOTES_MAX)
    with past.as_of(ctx.node, since_ms) as db:
        was = _state(db, None)
    data: Row = {
        "since_ms": since_ms,
        "projects": [
            _changed(was["projects"].get(id), row, "active", PROJECT_FIELDS) for id, row in now["projects"].items()
        ],
        "tasks": [
            {**_changed(was["tasks"].get(id), row, "todo", TASK_FIELDS), "project": known.get(row["project_id"], "")}
            for id, row in now["tasks"].items()
        ],
        "sessions": _sessions(was["sessions"], now["sessions"]) if only is None else [],
        "notes": [n for n in notes if int(n["hlc"][: text.WALL_CHARS]) >= since_ms],
    }
    for noun in ("projects", "tasks"):
        data[noun] = [row for row in data[noun] if row["changes"]]
    return Result(data, lambda view: _shown(data, view))


def _state(db: sqlite3.Connection, project_id: str | None) -> dict[str, dict[str, Row]]:
    found = [*tasks.list_tasks(db, project_id), *tasks.list_tasks(db, project_id, deleted=True)]
    of_all = [*projects.list_projects(db, counted=False), *projects.list_projects(db, deleted=True, counted=False)]
    return {
        "projects": {row["id"]: row for row in of_all if project_id in (None, row["id"])},
        "tasks": {row["id"]: row for row in found},
        "sessions": {row["id"]: row for row in sessions.list_sessions(db, gone=True)},
    }


def _changed(was: Row | None, now: Row, at_first: str, fields: tuple[str, ...]) -> Row:
    """The task or project with a word for each change: 'new', 'done', 'title' and so on."""
    changes = []
    if was is None:
        changes.append("new")
    if now["status"] != (was["status"] if was else at_first):
        changes.append(now["status"])
    if was and now["deleted"] != was["deleted"]:
        changes.append("removed" if now["deleted"] else "restored")
    if was:
        changes += [field.removesuffix("_id") for field in fields if now[field] != was[field]]
    return {**now, "was": was and was["status"], "changes": changes}


def _sessions(was: dict[str, Row], now: dict[str, Row]) -> list[Row]:
    """Sessions that appeared, went, or do something else now."""
    found = []
    for id, row in now.items():
        before = was.get(id)
        if before is None or before["gone"] != row["gone"] or before["state"] != row["state"]:
            change = "gone" if row["gone"] else row["state"] if before and not before["gone"] else "new"
            found.append({**row, "was": before and before["state"], "change": change})
    return found


def _shown(data: Row, view: View) -> list[Line]:
    lines: list[Line] = []
    for title, status in (("DONE", "done"), ("BLOCKED", "blocked"), ("STARTED", "in_progress"), ("REOPENED", "todo")):
        moved = [task for task in data["tasks"] if status in task["changes"]]
        lines += _part(title, [_task_cells(task, "") for task in moved], view)
    lines += _part("NEW", [_task_cells(t, "") for t in data["tasks"] if t["changes"] == ["new"]], view)
    other = [t for t in data["tasks"] if not {"new", "done", "blocked", "in_progress", "todo"} & set(t["changes"])]
    lines += _part("CHANGED", [_task_cells(task, ", ".join(task["changes"])) for task in other], view)
    lines += _part("PROJECTS", [_project_cells(row) for row in data["projects"]], view)
    lines += _part("SESSIONS", [_session_cells(row) for row in data["sessions"]], view)
    lines += _part("WRITTEN DOWN", [_note_cells(note, view) for note in data["notes"]], view)
    return lines[1:] or [[("nothing changed", "dim")]]


def _part(title: str, cells: list[list[str | Span]], view: View) -> list[Line]:
    if not cells:
        return []
    return [[], [(f"{title} {len(cells)}", "dim")], *text.table(["", "*", "*?"], cells, view.width)[1:]]


def _project_cells(project: Row) -> list[str | Span]:
    return [(text.short(project["id"]), "cyan"), project["display"], ", ".join(project["changes"])]


def _task_cells(task: Row, said: str) -> list[str | Span]:
    return [(text.short(task["id"]), "cyan"), text.first_line(task["title"]), said or task["project"]]


def _session_cells(row: Row) -> list[str | Span]:
    now = text.state("gone" if row["gone"] else row["state"])
    return [(text.short(row["id"]), "cyan"), now, f"{label(row)} on {row['host']}"]


def _note_cells(note: Row, view: View) -> list[str | Span]:
    said = text.first_line(note.get("text") or note.get("payload") or "")
    return [
        (f"{text.since(note['hlc'], view.now_ms)} ago", "dim"),
        said,
        "decided" if "text" in note else note["source"],
    ]
