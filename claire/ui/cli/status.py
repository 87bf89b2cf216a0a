"""`claire status`: one screen, who needs you first."""

from __future__ import annotations

from claire.node import groups, names, overview, projects, tasks, updates
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


def status(ctx: Context, project: str | None, group: str | None, at: str | None, quiet: bool) -> Result:
    if at is None:
        with ctx.node.reading() as db:
            data = gather(db, ctx.node.machine_id, ctx.now_ms(), project, group)
        return Result(data, [summary(data)] if quiet else lambda view: screen(data, view))
    from claire.node import past
    from claire.ui.cli.when import moment

    at_ms = moment(at, ctx.now_ms())
    with past.as_of(ctx.node, at_ms) as db:
        data = gather(db, ctx.node.machine_id, at_ms, project, group)
    return Result(data, [summary(data)] if quiet else lambda view: screen(data, view.at(at_ms)))


def gather(db: sqlite3.Connection, own: str, now_ms: int, project: str | None, group: str | None) -> Row:
    """The overview, narrowed to a project or group, with the blocked tasks and what each waits for."""
    data = overview.overview(db, own)
    only = projects.find(db, project)["id"] if project is not None else None
    known = names.of_projects(db)
    data["blocked_tasks"] = [
        {**task, "project": known.get(task["project_id"], ""), "why": ""}
        for task in tasks.list_tasks(db, only, "blocked")
    ]
    for task in data["blocked_tasks"][:ROWS_PER_PART]:
        task["why"] = next((note["payload"] for note in updates.list_updates(db, task_id=task["id"], limit=1)), "")
    if only is not None:
        _keep_project(data, only)
    if group is not None:
        _keep_group(db, data, group)
    away = overview.away(data["hosts"], now_ms)
    for session in data["sessions"]:
        session["offline"] = session["machine_id"] in away
    data["offline"] = len(away)
    data["tally"] = dict(overview.tally(data["sessions"], away))
    data["stalled"] = overview.stalled(data["sessions"], data["hosts"], now_ms)
    return data


def _keep_project(data: Row, project_id: str) -> None:
    for part in ("needs_you", "sessions"):
        data[part] = [s for s in data[part] if s["task"] and s["task"]["project_id"] == project_id]
    data["projects"] = [p for p in data["projects"] if p["id"] == project_id]


def _keep_group(db: sqlite3.Connection, data: Row, group: str) -> None:
    pattern = groups.find(db, group)["pattern"]
    for part in ("needs_you", "sessions"):
        data[part] = [s for s in data[part] if groups.matches(pattern, s)]


def summary(data: Row) -> str:
    """`2 waiting · 5 working · 3 idle`, for a status bar too."""
    tally = data["tally"]
    counted = (
        (tally.get("needs", 0), "waiting"),
        (tally.get("working", 0), "working"),
        (tally.get("idle", 0), "idle"),
        (tally.get("unknown", 0), "unknown"),
        (len(data["blocked_tasks"]), "blocked"),
        (data["offline"], "host offline" if data["offline"] == 1 else "hosts offline"),
    )
    return " · ".join(f"{count} {word}" for count, word in counted if count) or "nothing running"


def screen(data: Row, view: View) -> list[Line]:
    waiting = {session["id"] for session in data["needs_you"]}
    others = [s for s in sorted(data["sessions"], key=sessions.urgency) if s["id"] not in waiting]
    counted = summary(data)
    lines: list[Line] = [[(text.cut(counted, view.width) if view.width else counted, "bold")]]
    lines += _part("NEEDS YOU", _needs(data, view), "")
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
    if left <= 0 or not more:
        return [[], [(title, "dim")], *body]
    return [[], [(title, "dim")], *body[:ROWS_PER_PART], [(f"… {left} more: {more}", "dim")]]


def _needs(data: Row, view: View) -> list[Line]:
    """Sessions that wait for a person, then blocked tasks; since when, and what for."""
    cells: list[list[str | Span]] = [
        [
            sessions.state(s, view.now_ms),
            (text.short(s["id"]), "cyan"),
            sessions.label(s),
            sessions.host(s),
            waits_for(s),
            as_of(s, view),
        ]
        for s in data["needs_you"]
    ]
    cells += [
        [
            ("⊘ blocked " + text.since(task["updated_hlc"], view.now_ms), "alarm"),
            (text.short(task["id"]), "cyan"),
            text.first_line(task["title"]),
            task["project"],
            text.first_line(task["why"]),
            "",
        ]
        for task in data["blocked_tasks"]
    ]
    return text.table(["", "", "*", "??", "*?", "???"], cells, view.width)[1:]


def waits_for(session: Row) -> str:
    """What the session asked for, where that says more than its state, and the task it holds up."""
    asked = session["waiting_for"] or ""
    said = [] if asked in SAID_BY_STATE else [asked]
    if session["task"]:
        said.append(task_of(session))
    return ": ".join(filter(None, said))


SAID_BY_STATE = ("permission prompt", "input needed", "dialog open")


def _wrong(data: Row, view: View) -> list[Line]:
    said = [f"{text.plural(data['conflicts'], 'conflict')}: claire conflicts"] if data["conflicts"] else []
    said += [_doubled(d) for d in data["duplicate_work"]]
    said += [
        f"{text.short(s['id'])} {sessions.label(s)} on {s['host']} works, {sessions.quiet(s, view.now_ms)}"
        for s in data["stalled"]
    ]
    said += [f"{a['kind']}: {a['detail']} ({a['count']} times)" for a in data["alarms"]]
    return [[], *text.table(["", "*"], [[("!", "alarm"), line] for line in said], view.width)[1:]] if said else []


def _doubled(row: Row) -> str:
    title = text.first_line(row["title"])
    if row["claimed_by"]:
        holder = text.short(row["claimed_by"])
        return f"{text.short(row['id'])} is contested by {row['sessions']} sessions, {holder} holds it: {title}"
    return f"{text.short(row['id'])} is held by {row['sessions']} sessions: {title}"


def _sessions(rows: list[Row], view: View) -> list[Line]:
    cells: list[list[str | Span]] = [
        [
            sessions.state(s, view.now_ms),
            (text.short(s["id"]), "cyan"),
            sessions.label(s),
            sessions.host(s),
            task_of(s),
            as_of(s, view),
        ]
        for s in rows
    ]
    return text.table(["", "", "*", "??", "*?", "???"], cells, view.width)[1:]


def task_of(session: Row) -> str:
    task = session["task"]
    return f"{text.short(task['id'])} {text.first_line(task['title'] or '')}" if task else "no task"


def as_of(session: Row, view: View) -> Span:
    return f"seen {sessions.heard(session, view.now_ms)}", "dim"


def _projects(rows: list[Row], view: View) -> list[Line]:
    cells = [
        [text.state(p["status"]), p["display"], counts(p["tasks"]), text.first_line(p["goal"] or "")]
        for p in rows
        if p["status"] != "done"
    ]
    return text.table(["", "*", "", "*?"], cells, view.width)[1:]
