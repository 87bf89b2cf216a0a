"""What a session has to know of its task, for the agent in it: the same words for `claire prime` and for MCP."""

from __future__ import annotations

from claire.node import assignments, decisions, names, projects, sessions, tasks, updates
from claire.node.errors import NotFound
from claire.ui import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from claire.node.rows import Row

DECISIONS_SHOWN = 8
NOTES_SHOWN = 5
FOR_AGENTS = (
    "note",
    "question",
    "message",
)  # not triage, nor a pane: a transcript's words must not reach another model
DESCRIPTION_CHARS_MAX = 4_000
WORDS_CHARS_MAX = 500  # of one decision or note


def brief(db: sqlite3.Connection, ref: str) -> Row | None:
    """The task of a session with its goal, decisions and notes; None if it has none. NotFound: no such session."""
    session = sessions.find(db, ref)
    held = assignments.of_session(db, session["id"])
    if held is None:
        return None
    task = tasks.find(db, held["task_id"], deleted=True)
    project = _project(db, task["project_id"])
    holder = _holder(db, task["id"]) if held["claim"] == "contested" else ""
    return {
        "session": session["id"],
        "host": session["host"],
        "task": task,
        "project": project,
        "lease_until_ms": held["lease_until_ms"],
        "contested_by": holder,
        "waits_for": [_title(db, id_) for id_ in task["blocked_by"]],
        "decisions": decisions.list_decisions(db, project_id=project["id"], limit=DECISIONS_SHOWN) if project else [],
        "notes": updates.list_updates(db, task_id=task["id"], sources=FOR_AGENTS, limit=NOTES_SHOWN),
    }


def _project(db: sqlite3.Connection, project_id: str) -> Row | None:
    try:
        return projects.find(db, project_id, deleted=True)
    except NotFound:
        return None  # its event has not arrived yet


def _title(db: sqlite3.Connection, task_id: str) -> Row:
    try:
        return tasks.find(db, task_id, deleted=True)
    except NotFound:
        return {"id": task_id, "title": "a task not seen yet", "status": "unknown"}


def _holder(db: sqlite3.Connection, task_id: str) -> str:
    held = [a for a in assignments.list_assignments(db, task_id) if a["claim"] == "held"]
    session = held[0]["current_session"] if held else ""
    return f"{session[:8]} {names.of(db, {session}).get(session, '')}".strip()


def words(row: Row, now_ms: int) -> list[str]:
    """The brief in lines an agent reads at the start of its session."""
    task, project = row["task"], row["project"]
    status = task["status"].replace("_", " ")
    lines = [f"Your task in Claire: {text.short(task['id'])} {task['title']} ({status}, P{task['priority']})"]
    if task["description"]:
        lines += text.wrapped(cut(task["description"], DESCRIPTION_CHARS_MAX), None)
    if project:
        goal = f", whose goal is: {project['goal']}" if project["goal"] else ""
        lines.append(f"Project {project['display']}{goal}")
    if row["contested_by"]:
        lines.append(f"Session {row['contested_by']} claimed this task earlier: stop, and release it or ask.")
    lines += [f"It waits for {text.short(t['id'])} {t['title']} ({t['status']})" for t in row["waits_for"]]
    lines += _said("Decided so far, newest first:", row["decisions"], "text", now_ms)
    lines += _said("Noted on this task, newest first:", row["notes"], "payload", now_ms)
    return lines


def _said(head: str, rows: list[Row], field: str, now_ms: int) -> list[str]:
    found = [
        f"- {text.since(row['hlc'], now_ms)} ago: {cut(' '.join(row[field].split()), WORDS_CHARS_MAX)}" for row in rows
    ]
    return [head, *found] if found else []


def cut(said: str, chars_max: int) -> str:
    return said if len(said) <= chars_max else f"{said[:chars_max]}… ({len(said) - chars_max} more characters)"
