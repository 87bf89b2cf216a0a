"""Projects: what the work is for."""

import sqlite3
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from claire.node import registers
from claire.node.errors import Ambiguous, NotFound, Refused, UsageError
from claire.node.event import Body, Event, event_type, said
from claire.node.fold import Fold, seen
from claire.node.registers import Rank
from claire.node.rows import Row, resolve, rows

if TYPE_CHECKING:
    from claire.node.node import Node

STATUSES = ("active", "paused", "done")
RANKS: dict[str, Rank] = {"deleted": registers.true_wins}
NAME_CHARS_MAX = 200


@event_type("project_created")
class ProjectCreated(Body):
    project_id: str
    name: str
    goal: str = ""
    owner: str = ""
    status: str = "active"

    def fold(self, fold: Fold, event: Event) -> None:
        values = {"name": self.name, "goal": self.goal, "owner": self.owner, "status": self.status}
        row = fold.assign("projects", self.project_id, event, values, {}, RANKS)
        row["created_hlc"] = min(row["created_hlc"] or event.hlc, event.hlc)
        _derive(fold, self.project_id, row)


class ProjectFields(Body):
    """The registers of a project that a change may set; those not mentioned stay."""

    name: str | UnsetType = UNSET
    goal: str | UnsetType = UNSET
    owner: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    deleted: bool | UnsetType = UNSET


@event_type("project_changed")
class ProjectChanged(Body):
    """`on` names, per field, the events whose values the author saw and replaces."""

    project_id: str
    set: ProjectFields
    on: dict[str, list[str]] = {}

    def fold(self, fold: Fold, event: Event) -> None:
        row = fold.assign("projects", self.project_id, event, said(self.set), self.on, RANKS)
        _derive(fold, self.project_id, row)


@event_type("project_merged")
class ProjectMerged(Body):
    """The project is an alias of `into` from now on; its tasks show there."""

    project_id: str
    into: str
    on: list[str] = []

    def fold(self, fold: Fold, event: Event) -> None:
        on = {"merged_into": self.on}
        row = fold.assign("projects", self.project_id, event, {"merged_into": self.into}, on, RANKS)
        _derive(fold, self.project_id, row)
        fold.settle(settle_roots, self.project_id)


def _derive(fold: Fold, project_id: str, row: Row) -> None:
    claim = registers.winner(fold.heads("projects", project_id, "name"))
    row["name_claim"] = f"{claim[0]} {claim[1]}" if claim else None
    row["root_id"] = row["root_id"] or project_id


def settle_roots(db: sqlite3.Connection, _projects: set[str]) -> None:
    """Follow merges to where they end. Two projects merged into each other end in the smaller id."""
    into = dict(db.execute("SELECT id, merged_into FROM projects WHERE merged_into IS NOT NULL"))
    db.execute("UPDATE projects SET root_id = id WHERE root_id <> id")
    db.executemany("UPDATE projects SET root_id = ? WHERE id = ?", [(_end(project, into), project) for project in into])


def _end(project: str, into: dict[str, str]) -> str:
    path = [project]
    while (following := into.get(path[-1])) is not None:
        if following in path:
            return min(path[path.index(following) :])
        path.append(following)
    return path[-1]


def create(node: "Node", name: str, goal: str = "", owner: str = "") -> Row:
    """A new project; Refused if this node already shows one of that name."""
    _check_name(name)
    with node.writing() as tx:
        _check_free(tx.db, name)
        project_id = node.new_id()
        tx.record(ProjectCreated(project_id, name, goal, owner))
        return find(tx.db, project_id)


def edit(node: "Node", ref: str, **fields: Any) -> Row:
    """Change name, goal, owner, status or deleted; None leaves a field as it is."""
    values = {field: value for field, value in fields.items() if value is not None}
    if (status := values.get("status", STATUSES[0])) not in STATUSES:
        raise UsageError(f"{status!r} is not a project status", f"choose one of {', '.join(STATUSES)}")
    if "name" in values:
        _check_name(values["name"])
    with node.writing() as tx:
        project = find(tx.db, ref, deleted=True)
        changed = {field: value for field, value in values.items() if _differs(project, field, value)}
        if changed:
            if changed.get("name", project["name"]) != project["name"]:
                _check_free(tx.db, changed["name"])
            on = seen(tx.db, "projects", project["id"], changed)
            tx.record(ProjectChanged(project["id"], ProjectFields(**changed), on))
        return find(tx.db, project["id"], deleted=True)


def _differs(row: Row, field: str, value: Any) -> bool:
    """Also true where the value shown is one of several in conflict: setting it again settles the conflict."""
    return bool(row[field] != value or field in row["conflicts"])


def merge(node: "Node", ref: str, into_ref: str) -> Row:
    """Make one project an alias of another; the one merged into. What was merged elsewhere goes there instead."""
    with node.writing() as tx:
        project, into = find(tx.db, ref, deleted=True), find(tx.db, into_ref)
        if project["id"] == into["id"]:
            raise UsageError("a project cannot be merged into itself", "name two projects")
        on = seen(tx.db, "projects", project["id"], ["merged_into"])
        tx.record(ProjectMerged(project["id"], into["id"], on.get("merged_into", [])))
        return find(tx.db, into["id"])


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > NAME_CHARS_MAX or not name.isprintable():
        raise UsageError(f"a name has 1 to {NAME_CHARS_MAX} printable characters", "choose another name")


def _check_free(db: sqlite3.Connection, name: str) -> None:
    if db.execute(f"{_SELECT} AND p.name = ? AND p.deleted IS NOT 1 LIMIT 1", (name,)).fetchone():
        raise Refused(f"there is a project {name!r} already", f"claire project show {name}")


_SELECT = (
    "SELECT p.id, p.name, CASE WHEN EXISTS (SELECT 1 FROM projects q WHERE q.name = p.name AND q.id <> p.id"
    "   AND q.created_hlc IS NOT NULL AND q.deleted IS NOT 1 AND q.root_id = q.id AND q.name_claim < p.name_claim)"
    "  THEN p.name || '~' || substr(p.id, 1, 4) ELSE p.name END AS display,"
    " p.goal, p.owner, p.status, p.deleted IS 1 AS deleted, p.merged_into, p.root_id, p.created_hlc, p.updated_hlc,"
    " (SELECT group_concat(c.field) FROM conflicts c WHERE c.noun = 'projects' AND c.entity_id = p.id) AS conflicts"
    " FROM projects p WHERE p.created_hlc IS NOT NULL"
)


def list_projects(
    db: sqlite3.Connection, status: str | None = None, *, deleted: bool = False, counted: bool = True
) -> list[Row]:
    """Live projects by name, with their task counts by status if `counted`; deleted ones instead if `deleted`."""
    found = rows(
        db,
        f"{_SELECT} AND p.deleted IS {'' if deleted else 'NOT'} 1 AND p.root_id = p.id"
        " AND (?1 IS NULL OR p.status = ?1) ORDER BY p.name, p.name_claim",
        (status,),
    )
    counts = _task_counts(db) if counted else {}
    return [{**_read(row), "tasks": counts.get(row["id"], {})} for row in found]


def _task_counts(db: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """Per project, merged ones included, how many tasks there are of each status. Counted from the index alone."""
    roots = dict(db.execute("SELECT id, root_id FROM projects"))
    counts: dict[str, dict[str, int]] = {}
    for project, status, count in db.execute(
        "SELECT project_id, status, count(*) FROM tasks"
        " WHERE deleted IS NOT 1 AND created_hlc IS NOT NULL GROUP BY project_id, status"
    ):
        of_root = counts.setdefault(roots.get(project, project), {})
        of_root[status] = of_root.get(status, 0) + count
    return counts


def find(db: sqlite3.Connection, ref: str, *, deleted: bool = False) -> Row:
    """A project by id, unique prefix, shown name, or bare name (which its earliest claimant owns).

    One that was merged leads to where it ended. With `deleted`, where no live one fits, removed and merged ones do.
    """
    try:
        return _named(db, ref, "p.deleted IS NOT 1 AND p.root_id = p.id")
    except Ambiguous:
        raise
    except NotFound:
        if deleted:
            return _named(db, ref, "1")
        return find(db, _named(db, ref, "p.root_id <> p.id")["root_id"])


def _named(db: sqlite3.Connection, ref: str, condition: str) -> Row:
    select = f"SELECT * FROM ({_SELECT} AND {condition}) p WHERE 1"
    return _read(resolve(db, "project", select, ref, id_column="p.id", label_column="p.display"))


def _read(row: Row) -> Row:
    row["deleted"] = bool(row["deleted"])
    row["conflicts"] = row["conflicts"].split(",") if row["conflicts"] else []
    return row
