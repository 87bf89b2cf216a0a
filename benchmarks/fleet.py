"""How soon a change of a session's state is in the log: by its hook, by its registry file, by its screen alone."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.timing import Bench, Result, Runs, limit
from claire.fleet import spool
from claire.fleet.observer import spool_path
from tests.integration.idle import Fleet, idle_fleet

SESSIONS = 50
CHANGES = 20
GOALS_S = {"hook": 1.0, "registry": 1.0, "screen": 5.0}  # the slowest of all changes
PAUSE_S = 0.6  # longer than what follows a pass at once
WAIT_S_MAX = 30.0
CLAUDE = "#!/bin/sh\nstty -echo\nsleep infinity\n"  # by its name and arguments: a version without a registry
RULE = "─" * 40
COMPOSER = f"{RULE}\n❯ \n{RULE}\n  ? for shortcuts\n"  # noqa: RUF001
PERMISSION = "Bash command\n\n Do you want to proceed?\n ❯ 1. Yes\n\n Esc to cancel · Tab to amend\n"  # noqa: RUF001

Change = Callable[[bool], str]  # makes a session wait for a permission, or rest; the state that should follow


def run(_bench: Bench, folder: Path) -> Iterator[Result]:
    if not sys.platform.startswith("linux"):
        return
    with idle_fleet(folder, SESSIONS) as fleet:
        changes = {"hook": by_hook(fleet), "registry": by_registry(fleet), "screen": by_screen(fleet)}
        for source, (session, change) in changes.items():
            runs = Runs(tuple(delays(fleet, session, change, GOALS_S[source])))
            note = f"median {runs.median:.2f} s of {CHANGES} changes"
            case = f"state change to committed event, told by {source}: the slowest"
            yield limit(case, f"{SESSIONS} sessions", max(runs.values), "s", GOALS_S[source], note)


def delays(fleet: Fleet, session: str, change: Change, within_s: float) -> Iterator[float]:
    """Changes to and fro, at any moment between two looks."""
    with closing(sqlite3.connect(fleet.node.home.database)) as db:
        wait(db, session, "idle")
        for number in range(CHANGES):
            time.sleep(random.uniform(PAUSE_S, PAUSE_S + within_s))
            started = time.perf_counter()
            wait(db, session, change(number % 2 == 0))
            yield time.perf_counter() - started


def wait(db: sqlite3.Connection, session: str, state: str) -> None:
    started = time.perf_counter()
    while (state,) != db.execute("SELECT state FROM sessions WHERE id = ?", (session,)).fetchone():
        assert time.perf_counter() - started < WAIT_S_MAX, f"{session} is not {state}"
        time.sleep(0.002)


def by_registry(fleet: Fleet) -> tuple[str, Change]:
    """Claude Code itself writes down what it does; no hooks."""
    path = next((fleet.config / "sessions").glob("*.json"))
    entry = json.loads(path.read_text())

    def change(waits: bool) -> str:
        now = {"status": "waiting", "waitingFor": "permission prompt"} if waits else {"status": "idle"}
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(json.dumps({**entry, **now, "statusUpdatedAt": time.time_ns() // 1_000_000}))
        unfinished.replace(path)
        return "permission" if waits else "idle"

    return entry["sessionId"], change


def by_hook(fleet: Fleet) -> tuple[str, Change]:
    """The hook handler as Claude Code runs it, for a session of a version without a registry."""
    session, _tty = unregistered(fleet)

    def change(waits: bool) -> str:
        event = "PermissionRequest" if waits else "Stop"
        payload = json.dumps({"hook_event_name": event, "session_id": session})
        handler = [sys.executable, "-I", "-S", spool.__file__, spool_path(fleet.node.home)]
        subprocess.run(handler, input=payload, text=True, check=True)
        return "permission" if waits else "idle"

    change(False)
    return session, change


def by_screen(fleet: Fleet) -> tuple[str, Change]:
    """A version without a registry, and no hooks: the pane is all there is."""
    session, tty = unregistered(fleet)

    def change(waits: bool) -> str:
        with open(tty, "w") as screen:
            screen.write("\x1b[H\x1b[2J" + (PERMISSION if waits else COMPOSER))
        return "permission" if waits else "idle"

    change(False)
    return session, change


def unregistered(fleet: Fleet) -> tuple[str, str]:
    """A pane with something in it that is called as Claude is: its session, and its terminal."""
    session, program = str(uuid.uuid4()), fleet.config / "claude"
    program.write_text(CLAUDE)
    program.chmod(0o755)
    where = ("new-session", "-d", "-P", "-F", "#{pane_tty}", "-x", "80", "-y", "24")
    return session, fleet.tmux(*where, str(program), "--session-id", session)
