"""Overview: the state of the fleet across nouns, for the dashboard and `claire status`."""

import sqlite3
from collections import Counter
from collections.abc import Container, Iterable

from claire.node import assignments, broadcasts, conflicts, hlc, members, names, projects, sessions
from claire.node.rows import Row, rows

OFFLINE_AFTER_MS = 2 * sessions.STALE_MS  # a host that is up writes at least every STALE_MS
SAID = {"working": "working", "idle": "idle", "shell": "idle"}
AHEAD_MS_MAX = 60_000  # a stamp further ahead says nothing about when its host was heard of


def overview(db: sqlite3.Connection, own: str) -> Row:
    """Who needs a person (oldest first), all live sessions with their tasks, projects, hosts, and what is wrong.

    `own` is this node's machine id.
    """
    live = with_tasks(db, sessions.list_sessions(db))
    waiting = [session for session in live if session["state"] in sessions.NEEDS_PERSON]
    return {
        "needs_you": sorted(waiting, key=lambda session: session["since_ms"] or 0),
        "sessions": live,
        "projects": projects.list_projects(db),
        "hosts": hosts(db, own),
        "conflicts": len(conflicts.list_conflicts(db)),
        "duplicate_work": assignments.duplicate_work(db),
        "alarms": rows(
            db, "SELECT kind, machine_id, detail, first_ms, last_ms, count FROM alarms ORDER BY last_ms DESC"
        ),
    }


def tally(live: Iterable[Row], away: Container[str]) -> Counter[str]:
    """How many sessions need a person, work and idle, each counted once. What a host said before it went offline is
    not what its sessions do now: of those on hosts in `away` only a wait counts, the rest is unknown."""
    counts: Counter[str] = Counter()
    for row in live:
        if row["state"] in sessions.NEEDS_PERSON:
            counts["needs"] += 1
        else:
            counts["unknown" if row["machine_id"] in away else SAID.get(row["state"], "unknown")] += 1
    return counts


def stalled(live: list[Row], hosts: list[Row], now_ms: int) -> list[Row]:
    """Sessions that work and are silent, on hosts that are not: of a host asleep nobody knows what its sessions do."""
    heard = {host["id"] for host in hosts if not offline(host, now_ms)}
    return [row for row in live if row["machine_id"] in heard and sessions.stalled(row, now_ms)]


def away(hosts: Iterable[Row], now_ms: int) -> set[str]:
    """The machines that are offline."""
    return {host["id"] for host in hosts if offline(host, now_ms)}


def offline(host: Row, now_ms: int) -> bool:
    return not host["own"] and now_ms - heard_ms(host, now_ms) > OFFLINE_AFTER_MS


def heard_ms(host: Row, now_ms: int) -> int:
    """When a host was last heard of: its newest event or the last exchange with it; 0 for never."""
    wrote_ms = hlc.decode(host["newest"])[0] if host["newest"] else 0
    return max(host["last_contact_ms"] or 0, wrote_ms if wrote_ms <= now_ms + AHEAD_MS_MAX else 0)


def with_tasks(db: sqlite3.Connection, found: list[Row]) -> list[Row]:
    """Sessions, each with the task its lineage is bound to (or None)."""
    bound = {assignment["current_session"]: assignment for assignment in assignments.list_assignments(db)}
    shown = names.of_projects(db)
    for session in found:
        assignment = bound.get(session["current_session"])
        session["task"] = assignment and {
            "id": assignment["task_id"],
            "title": assignment["title"],
            "status": assignment["status"],
            "project_id": assignment["project_id"],
            "project": shown.get(assignment["project_id"], ""),
        }
    return found


def hosts(db: sqlite3.Connection, own: str) -> list[Row]:
    """Every member with its freshness: when it last wrote, when we last spoke, how far behind it is."""
    may_type, suspended = broadcasts.allowed_authors(db) | {own}, members.suspended(db, own)
    talked = {row["machine_id"]: row for row in rows(db, "SELECT * FROM peers")}
    counts = dict(db.execute("SELECT machine_id, count(*) FROM sessions WHERE gone IS NOT 1 GROUP BY 1"))
    found = []
    for member in members.list_members(db):
        peer = talked.get(member["id"], {})
        found.append(
            {
                "id": member["id"],
                "name": member["name"],
                "own": member["id"] == own,
                "state": member["state"],
                "version": member["version"],
                "fingerprint": members.fingerprint(member["public_key"]),
                "may_type": member["id"] in may_type,
                "suspended": member["id"] in suspended,
                "sessions": counts.get(member["id"], 0),
                "newest": member["newest"],
                "last_contact_ms": peer.get("last_contact_ms"),
                "behind": peer.get("behind"),
                "skew_ms": peer.get("skew_ms"),
                "breaker": peer.get("breaker"),
            }
        )
    return found
