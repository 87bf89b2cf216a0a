"""Names for the shell's completion, live from the projections.

What is offered ends up in the user's command line, and in zsh in an `eval`: only harmless characters leave
here. A thing whose name has others is offered by its id.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterable

from claire.config import Home
from claire.node import groups, members, projects, sessions, tasks
from claire.node.errors import ClaireError
from claire.node.node import Node
from claire.node.rows import Row
from claire.ui import text
from claire.ui.cli.sessions import label

HARMLESS = re.compile(r"[A-Za-z0-9_@%+=./-]+")
HARMFUL = re.compile(r"[^\w .,/+@%=-]", re.ASCII)
NAMES_MAX = 200
HELP_CHARS_MAX = 60

Offer = tuple[str, str]


def names(kind: str, begun: str) -> list[Offer]:
    """What may stand there, with a word on each; nothing where there is no node to ask."""
    try:
        with Node(Home.from_env(os.environ)) as node, node.reading() as db:
            offers = [offer for source in SOURCES[kind] for offer in source(db)]
    except ClaireError:
        return []
    return [(value, told) for value, told in offers if value.startswith(begun)][:NAMES_MAX]


def _offer(row: Row, name: str, told: str) -> Offer:
    value = name if HARMLESS.fullmatch(name) else text.short(row["id"])
    said = told if value == name else f"{name} {told}"
    return value, HARMFUL.sub(" ", text.first_line(said))[:HELP_CHARS_MAX].strip()


def _projects(db: sqlite3.Connection) -> Iterable[Offer]:
    return [_offer(row, row["display"], row["goal"] or "") for row in projects.list_projects(db)]


def _tasks(db: sqlite3.Connection) -> Iterable[Offer]:
    return [_offer(row, text.short(row["id"]), row["title"]) for row in tasks.list_tasks(db, limit=NAMES_MAX)]


def _sessions(db: sqlite3.Connection) -> Iterable[Offer]:
    return [
        _offer(row, text.short(row["id"]), f"{label(row)} on {row['host']} {row['state']}")
        for row in sessions.list_sessions(db)
    ]


def _groups(db: sqlite3.Connection) -> Iterable[Offer]:
    return [_offer(row, row["name"], row["pattern"]) for row in groups.list_groups(db)]


def _peers(db: sqlite3.Connection) -> Iterable[Offer]:
    return [_offer(row, row["name"], row["state"]) for row in members.list_members(db)]


def _hosts(db: sqlite3.Connection) -> Iterable[Offer]:
    hosts = {row["host"] for row in sessions.list_sessions(db)}
    return [(host, "") for host in sorted(hosts) if HARMLESS.fullmatch(host)]


SOURCES: dict[str, tuple[Callable[[sqlite3.Connection], Iterable[Offer]], ...]] = {
    "project": (_projects,),
    "task": (_tasks,),
    "session": (_sessions,),
    "group": (_groups,),
    "peer": (_peers,),
    "host": (_hosts,),
    "about": (_projects, _tasks),
    "target": (_projects, _groups),
}
