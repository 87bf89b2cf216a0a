"""What Claude Code itself publishes: the registry files of every config home."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claire.fleet import foreign, processes
from claire.fleet.processes import Process

REGISTRY_FILE_BYTES_MAX = 65_536
ENTRIES_MAX = 1_000
BACKGROUND_KINDS = ("bg", "background")  # in its file, and in `claude agents --json`
SESSION_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PANE_ID = re.compile(r"%\d+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One registry file: a process of Claude Code and the session it holds now."""

    pid: int
    session_id: str
    home: str = ""
    cwd: str = ""
    proc_start: str = ""
    pid_domain: str = ""
    kind: str = "interactive"
    entrypoint: str = ""
    status: str = ""
    waiting_for: str = ""
    since_ms: int = 0
    started_ms: int = 0
    name: str = ""
    name_by_user: bool = False
    pane_at_start: str = ""
    version: str = ""
    job: str = ""  # of a background agent, for `claude attach`

    @property
    def background(self) -> bool:
        """An agent of `claude --bg`: a whole session, on a terminal of Claude Code's own."""
        return self.kind in BACKGROUND_KINDS

    @property
    def headless(self) -> bool:
        """`claude -p` registers as interactive, too; only the entrypoint tells."""
        return self.kind not in ("interactive", *BACKGROUND_KINDS) or self.entrypoint not in ("", "cli")


def config_homes(env: Mapping[str, str], more: Iterable[str] = ()) -> list[Path]:
    """Every folder Claude Code may keep its state in; a user can run several."""
    user = Path(env.get("HOME") or Path.home())
    named = [env.get("CLAUDE_CONFIG_DIR", ""), str(user / ".claude"), *more]
    homes = (Path(os.path.realpath(name)) for name in named if name)
    return [home for home in dict.fromkeys(homes) if home.is_dir()]


def parse_entry(text: str, home: str = "") -> Entry | None:
    """A registry file as a value; None for anything that does not name a session."""
    try:
        row = json.loads(text)
    except ValueError:
        return None
    return _entry(row, home) if isinstance(row, dict) else None


def _entry(row: Mapping[str, Any], home: str) -> Entry | None:
    session_id, pid = _text(row, "sessionId"), _number(row, "pid")
    if not SESSION_ID.fullmatch(session_id) or pid <= 0:
        return None
    pane = _PANE_ID.search(_text(row, "tmux").rpartition(".")[2])
    return Entry(
        pid=pid,
        session_id=session_id,
        home=home,
        cwd=_text(row, "cwd"),
        proc_start=_text(row, "procStart"),
        pid_domain=_text(row, "pidDomain"),
        kind=_text(row, "kind") or "interactive",
        entrypoint=_text(row, "entrypoint"),
        status=_text(row, "status"),
        waiting_for=_text(row, "waitingFor"),
        since_ms=_number(row, "statusUpdatedAt"),
        started_ms=_number(row, "startedAt"),
        name=_text(row, "name"),
        name_by_user=row.get("nameSource") == "user",
        pane_at_start=pane.group() if pane else "",
        version=_text(row, "version"),
        job=_text(row, "jobId"),
    )


def _text(row: Mapping[str, Any], key: str) -> str:
    return foreign.text(row.get(key))


def _number(row: Mapping[str, Any], key: str) -> int:
    value = row.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


class Registry:
    """Reads the registry files of this host; a file that did not change is not read again."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int, int], Entry | None]] = {}

    @property
    def paths(self) -> list[str]:
        """The files there were at the last reading."""
        return list(self._known)

    def read(self, homes: Iterable[Path]) -> list[Entry]:
        """All entries, dead ones too: `alive` tells them apart."""
        seen = {path: home for home in homes for path in _files(home)}
        self._known = {path: self._known[path] for path in seen if path in self._known}
        entries = (self._entry(path, home) for path, home in seen.items())
        return [entry for entry in entries if entry][:ENTRIES_MAX]

    def _entry(self, path: str, home: Path) -> Entry | None:
        try:
            stat = os.stat(path)
            mark = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if path in self._known and self._known[path][0] == mark:
                return self._known[path][1]
            with open(path, "rb") as file:
                text = file.read(REGISTRY_FILE_BYTES_MAX).decode("utf-8", "replace")
        except OSError:  # it ended between listing and reading
            return None
        entry = parse_entry(text, str(home))
        self._known[path] = (mark, entry)
        return entry


def _files(home: Path) -> list[str]:
    """`<pid>.json` only: `pid-<n>.json` is a leftover of old versions, `.key` a credential."""
    try:
        names = os.listdir(home / "sessions")
    except OSError:
        return []
    stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    return [str(home / "sessions" / f"{stem}.json") for stem in stems if stem.isdigit()]


def alive(entry: Entry, process: Process | None) -> bool:
    """The process that wrote this entry still runs; a reused pid has another start time."""
    if process is None:
        return False
    if entry.proc_start:
        return entry.proc_start == process.start
    return runs_claude(processes.arguments(entry.pid))


def written_here(entry: Entry, own_domain: str) -> bool:
    """Not by a container or another machine that shares the home folder: their pids mean nothing here."""
    if not entry.pid_domain.startswith("linux:") or not own_domain.startswith("linux:"):
        return True
    _, machine, namespace = entry.pid_domain.split(":", 2) if entry.pid_domain.count(":") > 1 else ("", "", "")
    _, own_machine, own_namespace = own_domain.split(":", 2)
    return namespace == own_namespace and (machine == own_machine or not machine or not own_machine)


def runs_claude(argv: list[str]) -> bool:
    """The native program, or a script run by its interpreter."""
    return any(map(_is_program, argv[:2]))


def shows_another(argv: list[str]) -> bool:
    """`claude attach` and `claude agents` are windows onto sessions that run elsewhere."""
    at = next((number for number, word in enumerate(argv[:2]) if _is_program(word)), 0)
    return argv[at + 1 : at + 2] in (["attach"], ["agents"])


def _is_program(word: str) -> bool:
    return os.path.basename(word) == "claude" or "claude-code" in word
