"""`/sessions` and `/sessions/{id}`: the fleet view, and one session with its task, lineage and past."""

from shlex import quote
from sqlite3 import Connection
from typing import Any

from claire.node import assignments, groups, overview, sessions
from claire.node.rows import Row
from claire.ui.ask import Ask
from claire.ui.pages import fleet, tales

SESSIONS_SHOWN = 250
NEWS_SHOWN = 40


def listing(db: Connection, ask: Ask) -> dict[str, Any]:
    everyone = overview.with_tasks(db, sessions.list_sessions(db, gone=ask.query.get("gone") == "yes"))
    hosts = fleet.hosts(db, ask)
    found = sorted(fleet.dress(everyone, hosts, ask.now_ms), key=fleet.urgency)
    state, host, group = (ask.query.get(name, "") for name in ("state", "host", "group"))
    if state:
        found = [s for s in found if s["state"] == state or (state == "needs" and s["needs"])]
    if host:
        found = [s for s in found if s["machine_id"] == host]
    if group:
        pattern = groups.find(db, group)["pattern"]
        found = [s for s in found if groups.matches(pattern, s)]
    if wanted := ask.query.get("q", "").casefold():
        found = [s for s in found if wanted in f"{s['label']} {s['cwd']} {s['task_title']} {s['id']}".casefold()]
    return {
        "sessions": fleet.with_last_words(db, found[:SESSIONS_SHOWN]),
        "count": len(found),
        "everyone": len(everyone),
        "sessions_more": max(0, len(found) - SESSIONS_SHOWN),
        "states": sorted({s["state"] for s in everyone}),
        "hosts": hosts,
        "groups": groups.list_groups(db),
        "asked": {"state": state, "host": host, "group": group, "q": ask.query.get("q", "")},
    }


def show(db: Connection, ask: Ask) -> dict[str, Any]:
    found = sessions.find(db, ask.path["id"])
    session = fleet.dress(overview.with_tasks(db, [found]), fleet.hosts(db, ask), ask.now_ms)[0]
    lineage = sessions.lineage(db, session["id"])
    return {
        "session": fleet.with_last_words(db, [session])[0],
        "attach": attach(session, session["machine_id"] == ask.machine_id),
        "resume": f"cd {quote(session['cwd'] or '.')} && claude --resume {quote(session['id'])}",
        "seen_ms": sessions.seen_ms(found),
        "links": sessions.links(db, session["id"]),
        "past": [a for a in assignments.list_assignments(db, ended=True) if a["session_uuid"] in lineage],
        "history": tales.recent(db, session["id"], NEWS_SHOWN),
    }


def attach(session: Row, here: bool) -> str:
    """The command that shows the session's terminal; empty if it is in none."""
    if session["gone"]:
        return ""
    if session["pane"].startswith(sessions.BACKGROUND):
        command = f"claude attach {quote(session['pane'].removeprefix(sessions.BACKGROUND))}"
    elif session["tmux_name"]:
        command = f"tmux attach -t {quote('=' + session['tmux_name'])}"
    else:
        return ""
    return command if here else f"ssh -t {quote(session['host'])} {quote(command)}"
