"""A stand-in for a Claude Code session: the files it publishes and the screen it draws, with no model behind it.

Run in a terminal as `python -m claire.demo.session NAME SESSION_UUID CUES`. It does what is appended to the file CUES,
a JSON object a line, and takes typed prompts and answers like the original: `1` or Enter allows, Esc refuses.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import sys
import termios
import textwrap
import time
import tty
import uuid
from pathlib import Path
from typing import Any

from claire.fleet import processes

TICK_S = 0.1
TURN_S = 2.0
LOG_ROWS_MAX = 200
NBSP = "\u00a0"
GLYPH = "\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}"
RULE = "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
PASTE_START, PASTE_END = "\x1b[200~", "\x1b[201~"
_KEYS = re.compile(rf"{re.escape(PASTE_START)}(.*?){re.escape(PASTE_END)}|\x1b\[[0-9;]*[A-Za-z~]|(.)", re.DOTALL)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Session:
    """One conversation: its status, its draft, and what it said so far."""

    def __init__(self, name: str, session_id: str) -> None:
        self.name, self.id = name, session_id
        self.home = Path(os.environ["CLAUDE_CONFIG_DIR"])
        self.status, self.waiting_for = "idle", ""
        self.started_ms = self.since_ms = now_ms()
        self.draft, self.asked, self.said = "", "", ""
        self.turn_ends = 0.0
        self.rows: list[str] = [f" Claude Code stand-in · {name}", f" {os.getcwd()}", ""]

    # --- what it does ---

    def cue(self, cue: dict[str, Any]) -> None:
        """One line of the script."""
        if cue["do"] == "work":
            self.work(cue["on"], cue.get("say", "Done."), float(cue.get("seconds", TURN_S)))
        elif cue["do"] == "ask":
            self.ask(cue["command"])
        elif cue["do"] == "answer" and self.status == "waiting":
            self.answer(True)
        elif cue["do"] == "clear":
            self.clear()

    def work(self, prompt: str, say: str, seconds: float) -> None:
        self.rows += [f"{GLYPH} {prompt}", ""]
        self._record("user", {"role": "user", "content": prompt}, origin={"kind": "human"})
        line = {"display": prompt, "pastedContents": {}, "timestamp": now_ms(), "project": os.getcwd()}
        _append(self.home / "history.jsonl", {**line, "sessionId": self.id})
        self.said, self.turn_ends = say, time.monotonic() + seconds
        self._become("busy")

    def ask(self, command: str) -> None:
        self.asked = command
        self._become("waiting", "permission prompt")

    def answer(self, allowed: bool) -> None:
        self.rows.append(f"● Bash({self.asked})")
        if allowed:
            self.turn_ends, self.said = time.monotonic() + TURN_S, "Done."
            self._become("busy")
        else:
            self.rows += ["  ⎿  Interrupted · What should Claude do instead?", ""]
            self._become("idle")

    def clear(self) -> None:
        """`/clear` gives the conversation a new id, in the same process."""
        self.id, self.rows = str(uuid.uuid4()), [f"{GLYPH} /clear", ""]
        self._become("idle")

    def tick(self) -> None:
        if self.status == "busy" and time.monotonic() >= self.turn_ends:
            self.rows += [f"● {self.said}", ""]
            spoken = [{"type": "text", "text": self.said}]
            self._record("assistant", {"role": "assistant", "content": spoken, "stop_reason": "end_turn"})
            self._become("idle")

    def typed(self, pasted: str | None, key: str) -> None:
        if self.status == "waiting":
            if key in ("1", "\r"):
                self.answer(True)
            elif key == "\x1b":
                self.answer(False)
        elif pasted is not None:
            self.draft += pasted.replace("\r", "\n")
        elif key == "\r" and self.draft.strip() and self.status == "idle":
            prompt, self.draft = self.draft.strip(), ""
            self.clear() if prompt == "/clear" else self.work(prompt, "Understood.", TURN_S)
        elif key == "\x7f":
            self.draft = self.draft[:-1]
        elif key.isprintable():
            self.draft += key

    def _become(self, status: str, waiting_for: str = "") -> None:
        self.status, self.waiting_for, self.since_ms = status, waiting_for, now_ms()
        self.rows = self.rows[-LOG_ROWS_MAX:]
        self.publish()

    # --- what others read ---

    @property
    def registry(self) -> Path:
        return self.home / "sessions" / f"{os.getpid()}.json"

    def publish(self) -> None:
        process = processes.find(os.getpid())
        entry = {
            "pid": os.getpid(), "sessionId": self.id, "cwd": os.getcwd(), "startedAt": self.started_ms,
            "procStart": process.start if process else "", "version": "demo", "kind": "interactive",
            "entrypoint": "cli", "name": self.name, "nameSource": "user", "status": self.status,
            "updatedAt": now_ms(), "statusUpdatedAt": self.since_ms,
        }  # fmt: skip
        if self.waiting_for:
            entry["waitingFor"] = self.waiting_for
        self.registry.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.registry.with_suffix(".tmp")
        unfinished.write_text(json.dumps(entry))
        unfinished.replace(self.registry)

    def _record(self, kind: str, message: dict[str, Any], **more: Any) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{now_ms() % 1000:03d}Z"
        record = {"type": kind, "uuid": str(uuid.uuid4()), "timestamp": stamp, "sessionId": self.id}
        path = self.home / "projects" / "demo" / f"{self.id}.jsonl"
        _append(path, {**record, "cwd": os.getcwd(), "isSidechain": False, "message": message, **more})

    def screen(self, columns: int, height: int) -> str:
        below = self._dialog(columns) if self.status == "waiting" else self._composer(columns)
        above = self.rows + (["✻ Working… ", ""] if self.status == "busy" else [])
        return "\r\n".join([*(row[:columns] for row in above[-max(1, height - len(below) - 1) :]), *below])

    def _composer(self, columns: int) -> list[str]:
        wrapped = [piece for line in self.draft.split("\n") for piece in textwrap.wrap(line, columns - 4) or [""]]
        box = [f"{GLYPH}{NBSP}{wrapped[0]}", *(f"  {piece}" for piece in wrapped[1:])]
        hint = "esc to interrupt" if self.status == "busy" else "? for shortcuts"
        return [RULE * columns, *box, RULE * columns, f"  stand-in · {hint}"]

    def _dialog(self, columns: int) -> list[str]:
        return [
            RULE * columns, " Bash command", f"   {self.asked}", "", " Do you want to proceed?", f" {GLYPH} 1. Yes",
            "   2. No", "", " Esc to cancel · Tab to amend",
        ]  # fmt: skip


def _append(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(value, ensure_ascii=False) + "\n")


def main(name: str, session_id: str, cues: str) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    if os.getsid(0) == os.getpid():
        fcntl.ioctl(sys.stdin, termios.TIOCSCTTY, 0)  # without tmux nobody has made this terminal ours
    session = Session(name, session_id)
    session.publish()
    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    sys.stdout.write("\x1b[?2004h\x1b[?25l")
    try:
        _play(session, Path(cues))
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        session.registry.unlink(missing_ok=True)


def _play(session: Session, cues: Path) -> None:
    """Until its terminal is gone."""
    shown, read_to, unread = "", 0, ""
    while True:
        for line in _new_lines(cues, read_to):
            read_to += len(line)
            session.cue(json.loads(line))
        session.tick()
        size = os.get_terminal_size(sys.stdout.fileno())
        drawn = session.screen(size.columns or 80, size.lines or 24)
        if drawn != shown:
            sys.stdout.write(f"\x1b[H\x1b[2J{drawn}")
            sys.stdout.flush()
            shown = drawn
        if select.select([sys.stdin], [], [], TICK_S)[0]:
            data = os.read(sys.stdin.fileno(), 65_536)
            if not data:
                return
            unread = _take(session, unread + data.decode("utf-8", "replace"))


def _take(session: Session, text: str) -> str:
    """Feed what was typed; the beginning of a paste whose end has not come yet is given back."""
    start = text.rfind(PASTE_START)
    whole = text if start < 0 or PASTE_END in text[start:] else text[:start]
    for match in _KEYS.finditer(whole):
        session.typed(match[1], match[2] or "")
    return text[len(whole) :]


def _new_lines(path: Path, start: int) -> list[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return [line for line in file if line.endswith(b"\n")]
    except FileNotFoundError:
        return []


if __name__ == "__main__":
    main(*sys.argv[1:4])
