"""Groups: a name for the sessions whose working directory, host or name matches a pattern."""

import sqlite3
from typing import TYPE_CHECKING

from claire.node import registers, sessions
from claire.node.errors import NotFound, UsageError
from claire.node.event import Body, Event, event_type
from claire.node.fold import Fold, seen
from claire.node.registers import Rank
from claire.node.rows import LISTING, Row, one, rows

if TYPE_CHECKING:
    from claire.node.node import Node

KINDS = {"cwd": ("cwd",), "host": ("host",), "session": ("name", "tmux_name")}
RANKS: dict[str, Rank] = {"removed": registers.true_wins}


@event_type("group_defined")
class GroupDefined(Body):
    name: str
    pattern: str
    on: dict[str, list[str]] = {}

    def fold(self, fold: Fold, event: Event) -> None:
        row = fold.assign("groups", self.name, event, {"pattern": self.pattern, "removed": False}, self.on, RANKS)
        row["created_hlc"] = min(row["created_hlc"] or event.hlc, event.hlc)


@event_type("group_removed")
class GroupRemoved(Body):
    name: str
    on: dict[str, list[str]] = {}

    def fold(self, fold: Fold, event: Event) -> None:
        fold.assign("groups", self.name, event, {"removed": True}, self.on, RANKS)


def define(node: "Node", name: str, pattern: str) -> Row:
    """Make or change a group. `pattern`: 'cwd:text', 'host:text', 'session:text', or text that any of them contains."""
    kind, colon, text = pattern.partition(":")
    if not name.strip() or not pattern.strip() or (colon and kind in KINDS and not text):
        raise UsageError("a group needs a name and a pattern", "claire group add web cwd:/srv/web")
    with node.writing() as tx:
        current = tx.db.execute("SELECT pattern, removed FROM groups WHERE id = ?", (name,)).fetchone()
        if current != (pattern, 0):
            tx.record(GroupDefined(name, pattern, seen(tx.db, "groups", name, ["pattern", "removed"])))
        return find(tx.db, name)


def remove(node: "Node", name: str) -> Row:
    with node.writing() as tx:
        group = find(tx.db, name)
        tx.record(GroupRemoved(group["id"], seen(tx.db, "groups", group["id"], ["removed"])))
        return group


_SELECT = (
    "SELECT g.id, g.id AS name, g.pattern, g.created_hlc"
    " FROM groups g WHERE g.created_hlc IS NOT NULL AND g.removed IS NOT 1"
)


def list_groups(db: sqlite3.Connection) -> list[Row]:
    """Groups by name, each with the number of live sessions it matches."""
    live = sessions.list_sessions(db)
    return [
        {**group, "sessions": sum(matches(group["pattern"], session) for session in live)}
        for group in rows(db, f"{_SELECT} ORDER BY g.id")
    ]


def find(db: sqlite3.Connection, name: str) -> Row:
    """A group by its name, to the letter: it has no other id."""
    found = one(db, f"{_SELECT} AND g.id = ?", (name,))
    if found is None:
        raise NotFound(f"there is no group {name!r}", f"see `{LISTING['group']}`")
    return found


def members(db: sqlite3.Connection, name: str) -> list[Row]:
    """The live sessions of a group."""
    pattern = find(db, name)["pattern"]
    return [session for session in sessions.list_sessions(db) if matches(pattern, session)]


def matches(pattern: str, session: Row) -> bool:
    """True if a session's working directory contains the text, or its host or one of its names does."""
    kind, colon, text = pattern.partition(":")
    if not (colon and kind in KINDS):
        return any(matches(f"{kind}:{pattern}", session) for kind in KINDS)
    return any(text in (session[column] or "") for column in KINDS[kind])
