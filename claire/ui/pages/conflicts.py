"""`/conflicts`: fields changed on several hosts at once, every value, and one click to settle it."""

from sqlite3 import Connection
from typing import TYPE_CHECKING, Any

from claire.node import conflicts, groups, projects, tasks
from claire.node.errors import NotFound
from claire.node.rows import Row, rows
from claire.ui.ask import Ask, Done

if TYPE_CHECKING:
    from claire.node.node import Node

CONFLICTS_SHOWN = 100


def show(db: Connection, ask: Ask) -> dict[str, Any]:
    found = conflicts.list_conflicts(db)
    return {
        "conflicts": [row | {"values": [said(db, row, value) for value in row["values"]]} for row in found][
            :CONFLICTS_SHOWN
        ],
        "count": len(found),
    }


def said(db: Connection, row: Row, value: Row) -> Row:
    """A competing value in words, and whether it is the one shown everywhere until somebody chooses."""
    text = value["value"]
    if row["field"] == "project_id":
        known = rows(db, "SELECT name FROM projects WHERE id = ?", (text,))
        text = known[0]["name"] if known else text
    elif isinstance(text, bool):
        text = "yes" if text else "no"
    return value | {
        "words": str(text).replace("in_progress", "in progress") or "(empty)",
        "won": value["value"] == row["shown"],
    }


def settle(node: "Node", ask: Ask) -> Done:
    """Set the field to the chosen event's value. It replaces all competing ones, whatever the clocks say."""
    with node.reading() as db:
        row, value = chosen(db, ask.one("noun"), ask.one("id"), ask.one("field"), ask.one("event"))
    field, id_ = row["field"], row["id"]
    if row["noun"] == "task":
        tasks.edit(node, id_, **{"project" if field == "project_id" else field: value})
    elif row["noun"] == "project" and field == "merged_into":
        projects.merge(node, id_, value)
    elif row["noun"] == "project":
        projects.edit(node, id_, **{field: value})
    elif field == "removed" and value:
        groups.remove(node, id_)
    else:
        groups.define(node, id_, value if field == "pattern" else groups_pattern(node, id_))
    return Done("Settled. The other values stay in the history.")


def groups_pattern(node: "Node", name: str) -> str:
    with node.reading() as db:
        return str(db.execute("SELECT pattern FROM groups WHERE id = ?", (name,)).fetchone()[0])


def chosen(db: Connection, noun: str, id_: str, field: str, event: str) -> tuple[Row, Any]:
    for row in conflicts.list_conflicts(db):
        if (row["noun"], row["id"], row["field"]) == (noun, id_, field):
            for value in row["values"]:
                if value["event"] == event:
                    return row, value["value"]
    raise NotFound("this conflict is settled already", "reload the page")
