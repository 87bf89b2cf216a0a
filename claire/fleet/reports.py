"""What hooks reported, read back from the spool: the newest word on each session, and who succeeded whom."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any

from claire.fleet.state import ENDED_BADLY, WAITING, Claim, State

READ_BYTES_MAX = 1_048_576
_STATES = {
    "UserPromptSubmit": State.WORKING,
    "PreToolUse": State.WORKING,
    "PostToolUse": State.WORKING,
    "Stop": State.IDLE,
    "SessionStart": State.IDLE,
    "PermissionRequest": State.PERMISSION,
    "StopFailure": State.ERROR,
}
_NOTICES = {
    "permission_prompt": State.PERMISSION,
    "idle_prompt": State.IDLE,
    "elicitation_dialog": State.QUESTION,
}
# Interrupting a turn, answering a prompt and opening a dialog fire no hook.
_UNSEEN = {
    State.WORKING: WAITING | ENDED_BADLY,
    State.IDLE: ENDED_BADLY | {State.SHELL, State.DIALOG},
    State.SHELL: ENDED_BADLY | {State.IDLE, State.DIALOG},
    State.PERMISSION: ENDED_BADLY | {State.WORKING},
    State.QUESTION: ENDED_BADLY | {State.WORKING},
}
_ASKS_THE_USER = ("AskUserQuestion", "ExitPlanMode")


Key = tuple[int, str]  # a process: its pid, and when it started where the hook could tell


@dataclass(frozen=True, slots=True)
class Reports:
    """By session: its newest state. By process: the session it holds now, and the ones that ended before it."""

    claims: dict[str, Claim] = field(default_factory=dict)
    current: dict[Key, tuple[str, str]] = field(default_factory=dict)  # (session, source of its start)
    ended: dict[Key, set[str]] = field(default_factory=dict)  # by /clear or /resume

    def started(self, pid: int, start: str) -> tuple[str, str] | None:
        """A pid that was used again is another process, unless nobody could tell when it started."""
        return self.current.get((pid, start)) or self.current.get((pid, ""))

    def session_of(self, pid: int, start: str, registered: str) -> str:
        """The session of a process. Old versions leave the registry at the session that /clear ended."""
        started = self.started(pid, start)
        ended = self.ended.get((pid, start), set()) | self.ended.get((pid, ""), set())
        return started[0] if started and (not registered or registered in ended) else registered


def fold(rows: list[dict[str, Any]], onto: Reports | None = None) -> Reports:
    """What these rows tell beyond what is known."""
    found = onto or Reports()
    for row in rows:
        session_id, pid, event = row.get("session_id"), row.get("pid"), row.get("hook_event_name")
        if not isinstance(session_id, str) or not isinstance(pid, int) or row.get("agent_id"):
            continue  # a subagent speaks for itself only
        claim = claim_of(row)
        if claim:
            found.claims[session_id] = claim
        key = (pid, str(row.get("start", "")))
        if event == "SessionStart" and pid:
            found.current[key] = (session_id, str(row.get("source", "")))
            found.ended.get(key, set()).discard(session_id)
        elif event == "SessionEnd" and row.get("reason") in ("clear", "resume"):
            found.ended.setdefault(key, set()).add(session_id)
    return found


def claim_of(row: dict[str, Any]) -> Claim | None:
    event, at_ms = row.get("hook_event_name"), row.get("at_ms")
    state = _STATES.get(event) if isinstance(event, str) else None
    if event == "Notification":
        state = _NOTICES.get(str(row.get("notification_type")))
    elif event == "PermissionRequest" and row.get("tool_name") in _ASKS_THE_USER:
        state = State.QUESTION
    elif event == "StopFailure" and row.get("error") == "rate_limit":
        state = State.RATE_LIMITED
    elif event == "Stop" and row.get("background"):
        state = State.SHELL
    if state is None or not isinstance(at_ms, int):
        return None
    return Claim("hook", state, at_ms, may_be=_UNSEEN.get(state, frozenset()))


class Spool:
    """The spool file; what it grew by is read, and remembered when the file starts over."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._mark = (0, 0)
        self._read_to = 0
        self._reports = Reports()

    def read(self) -> Reports:
        try:
            stat = os.stat(self.path)
            if (stat.st_ino, stat.st_size) != self._mark:
                begun_anew = stat.st_ino != self._mark[0] or stat.st_size < self._read_to
                self._mark = (stat.st_ino, stat.st_size)
                self._read(max(0 if begun_anew else self._read_to, stat.st_size - READ_BYTES_MAX))
        except OSError:  # no hook has reported yet
            self._reports = Reports()
        return self._reports

    def _read(self, start: int) -> None:
        with open(self.path, "rb") as file:
            file.seek(start)
            whole, newline, _torn = file.read().rpartition(b"\n")
        self._read_to = start + len(whole + newline)
        fold(parse(whole), self._reports)


def parse(text: bytes) -> list[dict[str, Any]]:
    rows = []
    for line in text.split(b"\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows
