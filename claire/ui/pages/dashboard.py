"""`/`: who needs me, how far the projects are, what every session does, how fresh every host is."""

from itertools import groupby
from sqlite3 import Connection
from typing import Any

from claire.node import assignments, overview, projects
from claire.node.rows import Row
from claire.ui.ask import Ask
from claire.ui.pages import fleet, pictures

NEEDS_SHOWN = 20
SEATS_SHOWN = 60
PROJECTS_SHOWN = 15
HOSTS_SHOWN = 60


def show(db: Connection, ask: Ask) -> dict[str, Any]:
    hosts = fleet.hosts(db, ask)
    sessions = sorted(fleet.live(db, ask, hosts), key=fleet.urgency)
    needs = [session for session in sessions if session["needs"]]
    found = projects.list_projects(db)
    groups = by_project(sessions)
    return {
        "tally": {
            **dict.fromkeys(("needs", "working", "idle", "unknown"), 0),
            **overview.tally(sessions, away := {host["id"] for host in hosts if host["offline"]}),
            "sessions": len(sessions),
            "offline": len(away),
            "projects": len(found),
        },
        "needs": fleet.with_last_words(db, needs[:NEEDS_SHOWN]),
        "needs_more": max(0, len(needs) - NEEDS_SHOWN),
        "groups": seated(db, groups),
        "sessions_more": max(0, len(sessions) - SEATS_SHOWN),
        "projects": [with_counts(project) for project in liveliest(found)[:PROJECTS_SHOWN]],
        "hosts": hosts[:HOSTS_SHOWN],
        "activity": pictures.activity(db, ask.now_ms),
        "doubled": assignments.duplicate_work(db),
    }


def by_project(sessions: list[Row]) -> list[dict[str, Any]]:
    """Groups in the order of their most urgent session; sessions without a project come last."""
    order = {key: n for n, key in enumerate(dict.fromkeys(s["project_id"] for s in sessions))}
    ranked = sorted(sessions, key=lambda s: (s["project_id"] is None, order[s["project_id"]]))
    made = []
    for project_id, members in groupby(ranked, key=lambda s: s["project_id"]):
        seats = list(members)
        name = seats[0]["project"] or (project_id or "")[:8]
        made.append({"id": project_id, "name": name, "count": len(seats), "sessions": seats})
    return made


def seated(db: Connection, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first SEATS_SHOWN sessions, still in their groups."""
    left, kept = SEATS_SHOWN, []
    for group in groups:
        if left <= 0:
            break
        seats = fleet.with_last_words(db, group["sessions"][:left])
        left -= len(seats)
        kept.append(group | {"sessions": seats})
    return kept


def with_counts(project: Row) -> Row:
    return project | {"counts": dict.fromkeys(("todo", "in_progress", "blocked", "done"), 0) | project["tasks"]}


def liveliest(found: list[Row]) -> list[Row]:
    """Active ones first, and among them those with something in progress, then the latest changed."""
    return sorted(
        found,
        key=lambda p: (p["status"] == "active", bool(p["tasks"].get("in_progress")), p["updated_hlc"] or ""),
        reverse=True,
    )
