"""What things are called: ids of any noun to the name a person knows them by."""

import sqlite3
from collections.abc import Collection

IDS_PER_QUERY = 500


def of_projects(db: sqlite3.Connection) -> dict[str, str]:
    """Every project's shown name; one that was merged has the name of where it ended up."""
    from claire.node import projects

    shown = {row["id"]: row["display"] for row in projects.list_projects(db, counted=False)}
    merged = db.execute("SELECT id, root_id FROM projects WHERE root_id <> id")
    return shown | {project: shown[root] for project, root in merged if root in shown}


def of(db: sqlite3.Connection, ids: Collection[str]) -> dict[str, str]:
    """The names of these ids, where they have one."""
    found: dict[str, str] = {}
    wanted = list(ids)
    for start in range(0, len(wanted), IDS_PER_QUERY):
        some = wanted[start : start + IDS_PER_QUERY]
        marks = ", ".join("?" * len(some))
        found.update(
            db.execute(
                f"SELECT id, title FROM tasks WHERE id IN ({marks})"
                f" UNION ALL SELECT id, name FROM projects WHERE id IN ({marks})"
                f" UNION ALL SELECT id, name FROM members WHERE id IN ({marks})"
                f" UNION ALL SELECT id, coalesce(nullif(name, ''), nullif(tmux_name, '')) FROM sessions"
                f" WHERE id IN ({marks})",
                some * 4,
            ).fetchall()
        )
    return {id: name for id, name in found.items() if name}
