"""Sessions and hosts as pages show them: who is offline, what a session is called, what it last said."""

from collections import Counter
from collections.abc import Iterable
from sqlite3 import Connection

from claire.node import overview, sessions
from claire.node.rows import Row
from claire.ui.ask import Ask

SKEW_MS_SHOWN = 30_000


def hosts(db: Connection, ask: Ask) -> list[Row]:
    """Members with freshness in plain terms; this node first, then those that are offline last."""
    waiting = dict(
        db.execute(
            "SELECT machine_id, count(*) FROM sessions WHERE gone IS NOT 1"
            f" AND state IN ({', '.join('?' * len(sessions.NEEDS_PERSON))}) GROUP BY 1",
            sessions.NEEDS_PERSON,
        )
    )
    found = overview.hosts(db, ask.machine_id)
    for host in found:
        host["needs"] = waiting.get(host["id"], 0)
        host["heard_ms"] = overview.heard_ms(host, ask.now_ms)
        host["offline"] = overview.offline(host, ask.now_ms)
        skew_ms = host["skew_ms"] or 0
        host["skewed"] = abs(skew_ms) > SKEW_MS_SHOWN
        host["skew_words"] = f"{abs(skew_ms) // 1000} s {'ahead' if skew_ms > 0 else 'behind'}"
    return sorted(found, key=lambda host: (not host["own"], host["state"] == "revoked", host["offline"], host["name"]))


def live(db: Connection, ask: Ask, known_hosts: list[Row] | None = None) -> list[Row]:
    """Every live session with its task, dressed for a page."""
    found = overview.with_tasks(db, sessions.list_sessions(db))
    return dress(found, hosts(db, ask) if known_hosts is None else known_hosts, ask.now_ms)


def dress(found: Iterable[Row], known_hosts: Iterable[Row], now_ms: int) -> list[Row]:
    by_id, dressed = {host["id"]: host for host in known_hosts}, []
    found = list(found)
    seats = Counter((session["host"], session["tmux_name"]) for session in found)
    for session in found:
        seat = session["host"], session["tmux_name"]
        task, host = session["task"] or {}, by_id.get(session["machine_id"], {})
        dressed.append({
            **session,
            "label": session["name"] or session["tmux_name"] or session["id"][:8],
            "ref": ":".join(seat) if all(seat) and seats[seat] == 1 else session["id"],
            "host": host.get("name") or session["host"],
            "stale": host.get("offline", False) and not session["gone"],
            "stalled": sessions.stalled(session, now_ms),
            "active_ms": sessions.active_ms(session),
            "needs": session["state"] in sessions.NEEDS_PERSON,
            "task_id": task.get("id"),
            "task_title": task.get("title") or "a task not seen yet",
            "project_id": task.get("project_id"),
            "project": task.get("project") or "",
            "said": session["last_triage"],
        })  # fmt: skip
    return dressed


def with_last_words(db: Connection, shown: list[Row]) -> list[Row]:
    """Add what each session's task last reported, for the few that are shown."""
    for session in shown:
        if session["task_id"]:
            row = db.execute(
                "SELECT payload FROM updates WHERE task_id = ? ORDER BY hlc DESC LIMIT 1",
                (session["task_id"],),
            ).fetchone()
            session["said"] = row[0] if row else session["said"]
    return shown


def urgency(session: Row) -> tuple[int, int]:
    """Sorts who needs a person first and oldest wait first, then who works, then the rest by recency."""
    if session["needs"]:
        return 0, session["since_ms"] or 0
    return (1 if session["state"] == "working" else 2), -(session["since_ms"] or 0)
