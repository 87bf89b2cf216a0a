"""Which Claude session a process runs in: asked anew each time, because the id rotates under a running process."""

from __future__ import annotations

from collections.abc import Mapping

from claire.config import Home
from claire.fleet import claude, processes
from claire.fleet.claude import Registry
from claire.fleet.observer import spool_path
from claire.fleet.reports import Spool

ANCESTORS_MAX = 32


def session_id(home: Home, env: Mapping[str, str], pid: int) -> str:
    """The session of the nearest Claude above this process, else what the environment said at its start, else ''.

    The environment is a value from the start and stale after /clear; the registry and the hooks know better.
    """
    entries = {entry.pid: entry for entry in Registry().read(claude.config_homes(env))}
    reports = Spool(spool_path(home)).read()
    for ancestor in processes.ancestors(pid, ANCESTORS_MAX):
        entry, process = entries.get(ancestor), processes.find(ancestor)
        if entry and process and claude.alive(entry, process):
            return "" if entry.headless else reports.session_of(ancestor, process.start, entry.session_id)
        if process and (started := reports.session_of(ancestor, process.start, "")):
            return started
    return env.get("CLAUDE_CODE_SESSION_ID", "")
