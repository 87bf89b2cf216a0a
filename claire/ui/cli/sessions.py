"""`claire session ...`"""

from __future__ import annotations

from claire.node import assignments, overview, sessions, updates
from claire.node.errors import Refused
from claire.ui import text
from claire.ui.cli.context import Context, Result, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claire.node.rows import Row
    from claire.ui.text import Line, Span

LAST_HEARD_ROWS = 10
TAIL_ROWS = 40


def list_(ctx: Context, host: str | None, all: bool) -> Result:
    with ctx.node.reading() as db:
        rows = [row for row in sessions.list_sessions(db, gone=all) if host in (None, row["host"])]
        bound = {row["current_session"]: row for row in assignments.list_assignments(db)}
        away = overview.away(overview.hosts(db, ctx.node.machine_id), ctx.now_ms())
    for row in rows:
        row["offline"] = row["machine_id"] in away
        held = bound.get(row["id"])
        row["task_id"], row["task"] = (held["task_id"], held["title"]) if held else (None, "")
    rows.sort(key=urgency)
    notes = [] if rows else ["no sessions known; claire pull looks at this host's"]
    return Result(rows, lambda view: table(rows, view), notes=notes)


def show(ctx: Context, session: str | None) -> Result:
    ref = ctx.session(session)
    with ctx.node.reading() as db:
        row = sessions.find(db, ref)
        row["offline"] = row["machine_id"] in overview.away(overview.hosts(db, ctx.node.machine_id), ctx.now_ms())
        row["assignment"] = assignments.of_session(db, row["id"])
        row["lineage"] = sessions.links(db, row["id"])
        held = row["assignment"]
        row["updates"] = updates.list_updates(db, task_id=held["task_id"], limit=LAST_HEARD_ROWS) if held else []
    return Result(row, lambda view: _shown(row, view))


def tail(ctx: Context, session: str | None, limit: int | None, share: bool) -> Result:
    """The pane as it is now. Only its own host can look, and nothing leaves it without --share."""
    ref = ctx.session(session)
    with ctx.node.reading() as db:
        row = sessions.find(db, ref)
    if row["machine_id"] != ctx.node.machine_id:
        there = f"on {row['host']}: claire session tail {text.short(row['id'])}"
        raise Refused(f"{label(row)} is on {row['host']}", there)
    shown = ctx.wiring.pane_tail(ctx.node, row["id"], limit or TAIL_ROWS, share=share)
    notes = ["shared with the fleet, known secrets left out"] if share else []
    return Result({"id": row["id"], "text": shown, "shared": share}, shown.splitlines(), notes=notes)


def urgency(row: Row) -> tuple[bool, bool, str]:
    """Those that need a person first, then those that work."""
    return (
        row["gone"],
        row["state"] not in sessions.NEEDS_PERSON,
        "" if row["state"] == "working" else row["state"],
    )


def label(row: Row) -> str:
    """The name a session is known by on its host."""
    return str(row["name"] or row["tmux_name"] or text.short(row["id"]))


def state(row: Row, now_ms: int) -> tuple[str, str]:
    """`◐ permission 3m`: since when, where its host said so; of a host that is offline, what it said last."""
    words, style = text.state("gone" if row["gone"] else row["state"])
    if row.get("offline") and not row["gone"]:
        words, style = f"⊘ was{words[1:]}", "dim"
    return (f"{words} {text.age(now_ms - row['since_ms'])}" if row["since_ms"] else words), style


def host(row: Row) -> Span:
    """Where it runs; of a host that is offline its sessions are what they were when it was last heard."""
    return (f"⊘ {row['host']}", "dim") if row["offline"] else (row["host"], "")


def heard(row: Row, now_ms: int) -> str:
    """How long ago its host last said anything about it."""
    return f"{text.age(now_ms - sessions.seen_ms(row))} ago"


def quiet(row: Row, now_ms: int) -> str:
    return f"quiet for {text.age(now_ms - sessions.active_ms(row))}"


def table(rows: list[Row], view: View) -> list[Line]:
    head = ["ID", "STATE", "HOST??", "NAME*", "TASK*?", "SEEN???", "FOLDER*????"]
    cells = [
        [
            (text.short(row["id"]), "cyan"),
            state(row, view.now_ms),
            host(row),
            label(row),
            f"{text.short(row['task_id'])} {text.first_line(row['task'] or '')}" if row["task_id"] else "",
            heard(row, view.now_ms),
            row["cwd"],
        ]
        for row in rows
    ]
    return text.table(head, cells, view.width)


def _shown(row: Row, view: View) -> list[Line]:
    from claire.ui.cli import show

    held = row["assignment"]
    lines = text.fields(
        [
            ("session", row["id"]),
            ("state", state(row, view.now_ms)),
            ("waits for", row["waiting_for"]),
            ("said by", f"{row['source']} ({row['confidence']}), {heard(row, view.now_ms)}"),
            ("host", row["host"]),
            ("name", label(row)),
            ("pane", f"{row['tmux_name']} {row['pane']}".strip()),
            ("folder", row["cwd"]),
            ("task", f"{text.short(held['task_id'])} {held['title']}" if held else ""),
            ("triage", row["last_triage"] or ""),
            *(("continues", f"{text.short(link['old'])} ({link['reason']})") for link in row["lineage"]),
        ],
        view.width,
    )
    return [*lines, [], *show.notes(row["updates"], view)] if row["updates"] else lines
