"""The end of a session's transcript: when it was last active, and what its last records mean."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from claire.fleet import foreign
from claire.fleet.claude import SESSION_ID
from claire.fleet.state import State

WINDOW_BYTES_MIN = 65_536
WINDOW_BYTES_MAX = 8_388_608
TEXT_CHARS_MAX = 2_000
INTERRUPTION = "[Request interrupted by user"
_CONVERSATION = ("user", "assistant")
_ASKS_THE_USER = ("AskUserQuestion", "ExitPlanMode")
_TURN_ENDS = ("turn_duration", "stop_hook_summary")
_LOCAL = ("<command-name>", "<local-command-", "<bash-input>", "<bash-stdout>", "<command-message>")


@dataclass(frozen=True, slots=True)
class Tail:
    """What the last records say; `state` is None where they do not say."""

    state: State | None = None
    state_ms: int = 0
    last_activity_ms: int = 0
    cwd: str = ""
    session_id: str = ""
    prompt: str = ""
    said: str = ""
    open_tools: Mapping[str, str] = field(default_factory=dict)
    inode: int = 0
    size: int = 0
    moved: bool = False  # /cd and worktrees take a session to another folder; this file may stay behind

    @property
    def tool_open(self) -> bool:
        """A call without a result: it runs, or it waits for permission; the transcript cannot tell."""
        return bool(self.open_tools)


def find(homes: Iterable[Path], session_id: str) -> Path | None:
    """The folder name is a lossy form of the working folder, and files move: look in all, for the one in use."""
    if not SESSION_ID.fullmatch(session_id):
        return None
    found = [path for home in homes for path in home.glob(f"projects/*/{session_id}.jsonl")]
    return max(found, key=_written_ns, default=None)


def _written_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # moved just now
        return 0


def read(path: Path, known: Tail | None = None) -> Tail | None:
    """The tail of this file; the known one while inode and size are unchanged."""
    try:
        if known and (known.inode, known.size) == _mark(os.stat(path)):
            return known
        with open(path, "rb") as file:
            stat = os.fstat(file.fileno())
            window = WINDOW_BYTES_MIN
            while True:
                start = max(0, stat.st_size - window)
                file.seek(start)
                lines = whole_lines(file.read(stat.st_size - start), at_start=start == 0)
                records = parse(lines)
                if start == 0 or window >= WINDOW_BYTES_MAX or any(map(_is_conversation, records)):
                    return replace(fold(records), inode=stat.st_ino, size=stat.st_size)
                window *= 2
    except OSError:  # not written yet, moved, or cleaned up
        return None


def _mark(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_ino, stat.st_size


def whole_lines(window: bytes, at_start: bool) -> list[bytes]:
    """The first line of a window is cut unless the window is the file."""
    lines = window.split(b"\n")
    return lines if at_start else lines[1:]


def parse(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    """Objects only: a torn last line, other tools' formats and plain values are skipped."""
    records = []
    for line in lines:
        if not line.lstrip().startswith(b"{"):
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        records.append(record)
    return records


def _is_conversation(record: dict[str, Any]) -> bool:
    return record.get("type") in _CONVERSATION and not record.get("isSidechain") and bool(when_ms(record))


def when_ms(record: dict[str, Any]) -> int:
    text = record.get("timestamp")
    if not isinstance(text, str):
        return 0
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        return 0


def fold(records: Iterable[dict[str, Any]]) -> Tail:
    """Byte order is what happened; timestamps jump back and only say when, at most."""
    tail = Tail()
    for record in records:
        if not record.get("isSidechain"):
            tail = _step(tail, record)
    return tail


def _step(tail: Tail, record: dict[str, Any]) -> Tail:
    kind, when = record.get("type"), when_ms(record)
    if kind in (*_CONVERSATION, "system"):
        cwd, session_id = record.get("cwd"), record.get("sessionId")
        tail = replace(
            tail,
            last_activity_ms=max(tail.last_activity_ms, when),
            moved=False,
            cwd=foreign.text(cwd) or tail.cwd,
            session_id=foreign.text(session_id) or tail.session_id,
        )
    if kind == "relocated":
        return replace(tail, moved=True)
    if kind == "user":
        return _user(tail, record, when)
    if kind == "assistant":
        return _assistant(tail, record, when)
    if kind == "system":
        return _system(tail, record, when)
    return tail


def _parts(record: dict[str, Any]) -> list[dict[str, Any]]:
    message = record.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def _text(parts: list[dict[str, Any]]) -> str:
    texts = (part.get("text") for part in parts if part.get("type") == "text")
    return "\n".join(text for text in texts if isinstance(text, str)).strip()


def prompt(record: dict[str, Any]) -> str:
    """What a person or a sender submitted; empty for tool results, notes and commands."""
    parts = _parts(record)
    text = _text(parts)
    foreign = record.get("isMeta") or record.get("isCompactSummary") or record.get("isSidechain")
    if record.get("type") != "user" or foreign or text.startswith((*_LOCAL, INTERRUPTION)):
        return ""
    kinds = {part.get("type") for part in parts}
    return "" if "tool_result" in kinds else text or ("[image]" if "image" in kinds else "")


def _user(tail: Tail, record: dict[str, Any], when: int) -> Tail:
    parts = _parts(record)
    done = {part.get("tool_use_id") for part in parts if part.get("type") == "tool_result"}
    if _text(parts).startswith(INTERRUPTION):
        return replace(tail, state=State.INTERRUPTED, state_ms=when, open_tools={})
    if done:
        still = {call: name for call, name in tail.open_tools.items() if call not in done}
        return replace(tail, state=State.WORKING, state_ms=when, open_tools=still)
    asked = prompt(record)
    if not asked:
        return tail
    return replace(tail, state=State.WORKING, state_ms=when, open_tools={}, prompt=foreign.text(asked, TEXT_CHARS_MAX))


def _assistant(tail: Tail, record: dict[str, Any], when: int) -> Tail:
    if record.get("isApiErrorMessage"):
        limited = record.get("error") == "rate_limit" or record.get("apiErrorStatus") == 429
        state = State.RATE_LIMITED if limited else State.ERROR
        return replace(
            tail, state=state, state_ms=when, open_tools={}, said=foreign.text(_text(_parts(record)), TEXT_CHARS_MAX)
        )
    parts = _parts(record)
    calls = {str(part.get("id")): str(part.get("name")) for part in parts if part.get("type") == "tool_use"}
    if calls:
        asks = any(name in _ASKS_THE_USER for name in calls.values())
        state = State.QUESTION if asks else State.WORKING
        return replace(tail, state=state, state_ms=when, open_tools={**tail.open_tools, **calls})
    return _spoken(tail, record, when, _text(parts))


def _spoken(tail: Tail, record: dict[str, Any], when: int, text: str) -> Tail:
    """Old versions wrote no stop reason: only what follows may say that the turn is over."""
    reason = record["message"].get("stop_reason") if isinstance(record.get("message"), dict) else None
    said = foreign.text(text, TEXT_CHARS_MAX) or tail.said
    if reason == "end_turn":
        return replace(tail, state=State.IDLE, state_ms=when, open_tools={}, said=said)
    if reason in ("max_tokens", "refusal"):
        return replace(tail, state=State.ERROR, state_ms=when, open_tools={}, said=said)
    return replace(tail, state=State.WORKING if reason else None, state_ms=when, said=said)


def _system(tail: Tail, record: dict[str, Any], when: int) -> Tail:
    subtype = record.get("subtype")
    if subtype in _TURN_ENDS and tail.state in (State.WORKING, None) and not tail.open_tools:
        return replace(tail, state=State.IDLE, state_ms=when)
    if subtype == "api_error" and record.get("retryInMs") is not None:
        return replace(tail, state=State.WORKING, state_ms=when)
    return tail
