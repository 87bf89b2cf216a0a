"""`claire status`: one screen, who needs you first."""

from __future__ import annotations

from claire.node import groups, overview, projects, tasks
from claire.ui import text
from claire.ui.cli import peers, sessions
from claire.ui.cli.context import Context, Result, View
from claire.ui.cli.projects import counts

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from claire.node.rows import Row
    from claire.ui.text import Line, Span

ROWS_PER_PART = 12


def status(ctx: Context, project: str | None, group: str | None, quiet: bool) -> Result:
    with ctx.node.reading() as db:
        data = overview.overview(db, ctx.node.machine_id)
        only = projects.find(db, project)["id"] if project is not None else None
        data["blocked_tasks"] = tasks.list_tasks(db, only, "blocked")
        if only is not None:
            _keep_project(data, only)
        if group is not None:
            _keep_group(db, data, group)
    return Result(data, [_summary(data)] if quiet else lambda view: screen(data, view))


def _keep_project(data: Row, project_id: str) -> None:
    for part in ("needs_you", "sessions"):
        data[part] = [s for s in data[part] if s["task"] and s["task"]["project_id"] == project_id]
    data["projects"] = [p for p in data["projects"] if p["id"] == project_id]


def _keep_group(db: sqlite3.Connection, data: Row, group: str) -> None:
    pattern = groups.find(db, group)["pattern"]
    for part in ("needs_you", "sessions"):
        data[part] = [s for s in data[part] if groups.matches(pattern, s)]


def _summary(data: Row) -> str:
    """`2 waiting · 5 working · 3 idle`, for a status bar too."""
    live = data["sessions"]
    working = sum(s["state"] == "working" for s in live)
    counted = (
        (len(data["needs_you"]), "waiting"),
        (working, "working"),
        (len(live) - working - len(data["needs_you"]), "idle"),
        (len(data["blocked_tasks"]), "blocked"),
    )
    return " · ".join(f"{count} {word}" for count, word in counted if count) or "nothing running"


def screen(data: Row, view: View) -> list[Line]:
    lines: list[Line] = [[(_summary(data), "bold")]]
    others = [s for s in sorted(data["sessions"], key=sessions.urgency) if s not in data["needs_you"]]
    lines += _part("NEEDS YOU", [*_waiting(data["needs_you"], view), *_blocked(data["blocked_tasks"], view)], "")
    lines += _wrong(data, view)
    lines += _part("SESSIONS", _sessions(others, view), "claire session list")
    lines += _part("PROJECTS", _projects(data["projects"], view), "claire project list")
    if len(data["hosts"]) > 1:
        lines += _part("HOSTS", peers.table(data["hosts"], view)[1:], "claire peer list")
    if not data["projects"] and not data["sessions"]:
        lines += [[], [("claire project new NAME begins a project, claire pull finds sessions", "dim")]]
    return lines


def _part(title: str, body: list[Line], more: str) -> list[Line]:
    if not body:
        return []
    left = len(body) - ROWS_PER_PART
    cut: list[Line] = [[(f"… {left} more: {more}", "dim")]] if left > 0 and more else []
    shown = body[:ROWS_PER_PART] if cut else body
    return [[], [(title, "dim")], *shown, *cut]


def _waiting(rows: list[Row], view: View) -> list[Line]:
    cells = [
        [
            sessions.state(s, view.now_ms),
            (text.short(s["id"]), "cyan"),
            sessions.label(s),
            s["host"],
            s["waiting_for"] or "",
            _task(s),
            _as_of(s, view),
        ]
        for s in rows
    ]
    return text.table(["", "", "*", "", "*?", "*", "?"], cells, view.width)[1:]


def _blocked(rows: list[Row], view: View) -> list[Line]:
    cells: list[list[str | Span]] = [
        [
            ("⊘ blocked " + text.since(t["updated_hlc"], view.now_ms), "alarm"),
            (text.short(t["id"]), "cyan"),
            text.first_line(t["title"]),
        ]
        for t in rows
    ]
    return text.table(["", "", "*"], cells, view.width)[1:]


def _wrong(data: Row, view: View) -> list[Line]:
    said = [f"{text.plural(data['conflicts'], 'conflict')}: claire conflicts"] if data["conflicts"] else []
    said += [
        f"{text.short(d['id'])} is held by {d['sessions']} sessions: {text.first_line(d['title'])}"
        for d in data["duplicate_work"]
    ]
    said += [f"{a['kind']}: {a['detail']} ({a['count']} times)" for a in data["alarms"]]
    return [[], *text.table(["", "*"], [[("!", "alarm"), line] for line in said], view.width)[1:]] if said else []


def _sessions(rows: list[Row], view: View) -> list[Line]:
    cells = [
        [
            sessions.state(s, view.now_ms),
            (text.short(s["id"]), "cyan"),
            sessions.label(s),
            s["host"],
            _task(s),
            _as_of(s, view),
        ]
        for s in rows
    ]
    return text.table(["", "", "*", "", "*", "?"], cells, view.width)[1:]


def _task(session: Row) -> str:
    task = session["task"]
    return f"{text.short(task['id'])} {text.first_line(task['title'] or '')}" if task else "no task"


def _as_of(session: Row, view: View) -> Span:
    return f"seen {sessions.heard(session, view.now_ms)}", "dim"


def _projects(rows: list[Row], view: View) -> list[Line]:
    cells = [
        [text.state(p["status"]), p["display"], counts(p["tasks"]), text.first_line(p["goal"] or "")]
        for p in rows
        if p["status"] != "done"
    ]
    return text.table(["", "*", "", "*?"], cells, view.width)[1:]
