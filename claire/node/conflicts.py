"""Conflicts: fields that several hosts changed without having seen each other, with every value."""

import sqlite3

import msgspec

from claire.node import hlc, members
from claire.node.rows import Row, rows

_NAMES = {"projects": "name", "tasks": "title", "groups": "id"}


def list_conflicts(db: sqlite3.Connection) -> list[Row]:
    """One row a field in conflict. `values` are the competing ones; setting the field settles it."""
    names = members.names(db)
    found = rows(db, "SELECT noun, entity_id, field, heads FROM conflicts WHERE noun <> 'task_links' ORDER BY 1, 2, 3")
    return [
        {
            "id": row["entity_id"],
            "noun": row["noun"].removesuffix("s"),
            "label": _label(db, row),
            "field": row["field"],
            "shown": _shown(db, row),
            "values": [
                {"value": value, "hlc": stamp, "event": uuid, "host": names.get(hlc.decode(stamp)[2], "?")}
                for stamp, uuid, value in msgspec.json.decode(row["heads"])
            ],
        }
        for row in found
    ]


def _label(db: sqlite3.Connection, row: Row) -> str:
    found = db.execute(f"SELECT {_NAMES[row['noun']]} FROM {row['noun']} WHERE id = ?", (row["entity_id"],)).fetchone()
    return found[0] or "" if found else ""


def _shown(db: sqlite3.Connection, row: Row) -> object:
    """The value every screen shows. `noun` and `field` come from our own fold, not from a peer."""
    found = db.execute(f"SELECT {row['field']} FROM {row['noun']} WHERE id = ?", (row["entity_id"],)).fetchone()
    return found[0] if found else None
