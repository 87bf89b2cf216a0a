"""The table of commands: the one truth for both parsers, `--help`, completion and docs/commands.md."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claire.ui.cli.table import Command

GROUPS = {
    "project": "What the work is for.",
    "task": "The work itself.",
    "session": "Claude Code sessions, on every host.",
    "group": "Named sets of sessions.",
    "hook": "Claude Code's own reports of what its sessions do.",
    "peer": "The other nodes of the fleet.",
    "identity": "The key this node is known by.",
    "service": "The node as a service that starts at login.",
}

# The parts of the table, and the first words of their commands: who types one waits for its part alone.
PARTS = {
    "projects": ("project", "group", "note", "decide"),
    "tasks": ("task", "assign", "unassign"),
    "screens": ("status", "watch", "log", "diff", "conflicts", "demo"),
    "sessions": ("session", "hook", "pull", "send", "broadcast", "prime", "mcp"),
    "nodes": ("init", "id", "node", "web", "logout", "service", "backup", "restore", "export", "import", "doctor"),
    "peers": ("sync", "peer", "identity"),
}


def every() -> list[Command]:
    return [command for part in PARTS for command in _rows(part)]


def of(word: str) -> list[Command]:
    """The commands that begin with this word."""
    parts = [part for part, words in PARTS.items() if word in words]
    return [command for part in parts for command in _rows(part) if command.path[0] == word]


def _rows(part: str) -> list[Command]:
    module = f"{__name__}.{part}"
    __import__(module)
    found: list[Command] = sys.modules[module].COMMANDS
    return found
