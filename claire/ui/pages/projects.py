"""`/projects` and `/projects/{id}`: what the work is for, how far it is, and everything one does to it."""

from sqlite3 import Connection
from typing import TYPE_CHECKING, Any

from claire.node import assignments, decisions, members, projects, tasks, updates
from claire.node.rows import Row
from claire.ui.ask import Ask, Done
from claire.ui.pages import dashboard, fleet, pictures, tales

if TYPE_CHECKING:
    from claire.node.node import Node

TASKS_SHOWN = 200
NEWS_SHOWN = 20
VIEWS = ("open", *tasks.STATUSES, "all", "deleted")


def listing(db: Connection, ask: Ask) -> dict[str, Any]:
    status = ask.query.get("status", "")
    found = projects.list_projects(db, status if status in projects.STATUSES else None)
    if wanted := ask.query.get("q", "").casefold():
        found = [p for p in found if wanted in f"{p['display']} {p['goal']} {p['owner']}".casefold()]
    touched = dict(
        db.execute(
            "SELECT p.root_id, max(t.updated_hlc) FROM tasks t JOIN projects p ON p.id = t.project_id GROUP BY 1"
        )
    )
    for project in found:
        project["updated_hlc"] = max(project["updated_hlc"], touched.get(project["id"], ""))
    return {
        "projects": [dashboard.with_counts(project) for project in dashboard.liveliest(found)],
        "statuses": projects.STATUSES,
        "status": status,
        "q": ask.query.get("q", ""),
    }


def show(db: Connection, ask: Ask) -> dict[str, Any]:
    project = projects.find(db, ask.path["id"], deleted=True)
    view = ask.query.get("view", "open")
    found = tasks_of(db, project["id"], view)
    live = fleet.live(db, ask)
    return {
        "project": project,
        "counts": counts(db, project["id"]),
        "view": view if view in VIEWS else "open",
        "views": VIEWS,
        "tasks": with_seats(found[:TASKS_SHOWN], live, assignments.list_assignments(db)),
        "tasks_more": max(0, len(found) - TASKS_SHOWN),
        "sessions": fleet.with_last_words(db, [s for s in live if s["project_id"] == project["id"]]),
        "live": live,
        "updates": dated(db, updates.list_updates(db, project_id=project["id"], limit=NEWS_SHOWN)),
        "decisions": dated(db, decisions.list_decisions(db, project_id=project["id"], limit=NEWS_SHOWN)),
        "history": tales.recent(db, project["id"], NEWS_SHOWN),
        "activity": pictures.project_activity(db, project["id"], ask.now_ms),
        "burn": pictures.burn_up(db, project["id"], ask.now_ms),
        "statuses": projects.STATUSES,
    }


def tasks_of(db: Connection, project_id: str, view: str) -> list[Row]:
    if view in tasks.STATUSES:
        return tasks.list_tasks(db, project_id, view)
    found = tasks.list_tasks(db, project_id, deleted=view == "deleted")
    return found if view in ("all", "deleted") else [task for task in found if task["status"] != "done"]


def counts(db: Connection, project_id: str) -> dict[str, int]:
    found = db.execute(
        "SELECT status, count(*) FROM tasks WHERE created_hlc IS NOT NULL AND deleted IS NOT 1"
        " AND project_id IN (SELECT id FROM projects WHERE root_id = ?1 OR id = ?1) GROUP BY 1",
        (project_id,),
    )
    return dict.fromkeys(tasks.STATUSES, 0) | dict(found)


def with_seats(found: list[Row], live: list[Row], held: list[Row]) -> list[Row]:
    """Tasks with the sessions that hold them; one whose session is gone still says so."""
    known = {session["id"]: session for session in live}
    seats: dict[str, list[Row]] = {}
    for a in held:
        seat = {"id": a["current_session"], "session": known.get(a["current_session"])}
        seats.setdefault(a["task_id"], []).append(seat)
    return [task | {"seats": seats.get(task["id"], [])} for task in found]


def dated(db: Connection, found: list[Row]) -> list[Row]:
    names = members.names(db)
    return [row | {"host": names.get(row["machine_id"], row["machine_id"][:8])} for row in found]


def create(node: "Node", ask: Ask) -> Done:
    project = projects.create(node, ask.one("name").strip(), ask.one("goal", ""), ask.one("owner", ""))
    return Done(f"{project['display']} is there.", go=f"/projects/{project['id']}")


def edit(node: "Node", ask: Ask) -> Done:
    fields = {name: ask.one(name) for name in ("name", "goal", "owner", "status") if name in ask.form}
    if "deleted" in ask.form:
        fields["deleted"] = ask.one("deleted") == "yes"  # type: ignore[assignment]
    project = projects.edit(node, ask.path["id"], **fields)
    return Done(f"{project['display']} is deleted; it can be restored." if project["deleted"] else "Saved.")


def decide(node: "Node", ask: Ask) -> Done:
    decisions.decide(node, ask.path["id"], ask.one("text"))
    return Done("Decision recorded.")
