"""One message into one pane, typed at most once: look, claim, paste, prove, one guarded Enter, acknowledge.

Pasting is harmless, Enter is not: at a permission prompt it means yes, in a shell it executes,
over a draft it submits the draft. So everything is checked before the paste, the paste is proved
before Enter, and Enter is pressed by the tmux server itself, in one step with the last check.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from claire.fleet import screen, tmux, transcript
from claire.fleet.host import Host
from claire.fleet.seats import Seat
from claire.fleet.state import State

STEADY_S = 0.3  # a status that stands this long is not about to change by itself
LANDED_S = 1.0
ACKNOWLEDGED_S = 2.0
POLL_S = 0.03
MESSAGE_BYTES_MAX = 60_000
TAB_SPACES = 4
HISTORY_BYTES = 262_144
CLOCK_SLACK_MS = 1_000
GUARD_CHARS = 24
NAME_CHARS_MAX = 40
READY = ("idle", "shell")
MEANS_SOMETHING = ("/", "!", "#", "@", "&")
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


T = TypeVar("T")
_PLACEHOLDER = re.compile(r"\[Pasted text #(\d+)(?: \+\d+ lines)?\]")
_PASTE_TAG = re.compile(r"</?pasted_content(?: id=\"\w+\")?>")  # around a long paste in the transcript


class Outcome(StrEnum):
    DELIVERED = "delivered"
    REFUSED = "refused"
    UNVERIFIED = "unverified"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why nothing may be typed; a passing one is worth another look later."""

    why: str
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    outcome: Outcome
    why: str = ""


def clean(text: str) -> str:
    """Without anything a terminal could obey: tmux passes `ESC[201~` and CR straight through."""
    lines = text.replace("\r\n", "\n").replace("\t", " " * TAB_SPACES)
    return _CONTROL.sub("", lines).strip("\n ")


def message(text: str, broadcast_id: str, author: str = "", raw: bool = False) -> str | Obstacle:
    """What will stand in the composer. The prefix disarms the first character and makes the receipt exact."""
    cleaned = clean(text)
    if not cleaned:
        return Obstacle("the text is empty")
    if raw:
        framed = cleaned
    elif cleaned.startswith(MEANS_SOMETHING):
        return Obstacle(f"a leading {cleaned[0]} is a command to Claude Code; allow it with --raw")
    else:
        frame = f"[claire:{broadcast_id[:8]}{f' from {author[:NAME_CHARS_MAX]}' if author else ''}]"
        framed = f"{clean(frame).replace(chr(10), ' ')} {cleaned}"  # id and name are foreign text, too
    if len(framed.encode()) > MESSAGE_BYTES_MAX:
        return Obstacle(f"the text is longer than {MESSAGE_BYTES_MAX} bytes")
    return framed


def choose(seats: list[Seat], problems: tuple[str, ...]) -> Seat | Obstacle:
    """The one place where this session sits."""
    if not seats:
        passing = bool(problems)
        return Obstacle(problems[0] if passing else "no live Claude process holds this session", passing)
    seat = seats[0]
    if seat.ambiguous or len(seats) > 1:
        return Obstacle(f"ambiguous: {seat.ambiguous or 'several processes'}")
    if seat.entry.headless:
        return Obstacle("a headless run, nobody reads there")
    if seat.pane is None:
        return Obstacle(problems[0] if problems else "not in a tmux pane", bool(problems))
    return seat


def pane_obstacle(pane: tmux.Pane) -> Obstacle | None:
    for hindered, obstacle in (
        (pane.dead, Obstacle("the pane is dead")),
        (pane.in_mode, Obstacle("the pane is in copy mode", passing=True)),
        (pane.input_off, Obstacle("input to the pane is switched off", passing=True)),
        (
            pane.synchronized,
            Obstacle("synchronize-panes is on: Enter would reach the neighbours", passing=True),
        ),
    ):
        if hindered:
            return obstacle
    return None


def status_obstacle(seat: Seat) -> Obstacle | None:
    """Without a registry the status is empty, and the screen alone has to do."""
    status, waiting_for = seat.entry.status, seat.entry.waiting_for
    if status in (*READY, ""):
        return None
    return Obstacle({"busy": "working"}.get(status, f"waiting: {waiting_for or status}"), passing=True)


def screen_obstacle(reading: screen.Reading) -> Obstacle | None:
    if reading.composer is None:
        return Obstacle(reading.what or "no composer on the screen", passing=True)
    if reading.state is State.WORKING:
        return Obstacle("working", passing=True)
    if not reading.composer.empty:
        return Obstacle("a draft stands in the composer", passing=True)
    return None


def _nothing(_step: str) -> None:
    return None


@dataclass(frozen=True)
class Typist:
    """Types on one host. `reached` hears every step, which is where tests kill the process."""

    host: Host
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    reached: Callable[[str], None] = _nothing

    def deliver(self, session_id: str, text: str, claim: Callable[[], bool]) -> Result | Obstacle:
        """Result: it is settled, for good. Obstacle: nothing was typed and nothing claimed."""
        seat = self._ready(session_id)
        if isinstance(seat, Obstacle):
            return seat
        assert seat.pane
        with locked(seat.pane) as taken:
            if obstacle := taken or self._steady(seat):
                return obstacle
            self.reached("checked")
            if not claim():
                return Obstacle("already claimed")
            self.reached("claimed")
            return self._type(seat, text)

    def hindrance(self, session_id: str) -> Obstacle | None:
        """What stands in the way now; looking only."""
        seat = self._ready(session_id)
        if isinstance(seat, Obstacle):
            return seat
        assert seat.pane
        try:
            return screen_obstacle(screen.read(tmux.capture(seat.pane)))
        except tmux.TmuxError as error:
            return Obstacle(str(error), passing=True)

    def _ready(self, session_id: str) -> Seat | Obstacle:
        sight = self.host.look()
        seat = choose(sight.of_session(session_id), sight.problems)
        if isinstance(seat, Obstacle):
            return seat
        assert seat.pane
        return pane_obstacle(seat.pane) or status_obstacle(seat) or seat

    def _steady(self, seat: Seat) -> Obstacle | None:
        """The same process, session, status and screen, a moment later."""
        try:
            return self._same_again(seat)
        except tmux.TmuxError as error:
            return Obstacle(str(error), passing=True)

    def _same_again(self, seat: Seat) -> Obstacle | None:
        assert seat.pane
        before = tmux.capture(seat.pane)
        self.sleep(STEADY_S)
        again = self._ready(seat.entry.session_id)
        if isinstance(again, Obstacle):
            return again
        if _who(again) != _who(seat):
            return Obstacle("the session changed while looking", passing=True)
        shown = tmux.capture(seat.pane)
        if not seat.entry.status and shown != before:
            return Obstacle("the screen moves", passing=True)
        return screen_obstacle(screen.read(shown))

    def _type(self, seat: Seat, text: str) -> Result:
        assert seat.pane
        started_ms = self.wall_ms()
        try:
            tmux.paste(seat.pane, text)
            self.reached("pasted")
            landed = self._until(LANDED_S, lambda: self._landed(seat, text))
            if not landed:
                return Result(Outcome.REFUSED, "the text did not show up in the composer; Enter was not pressed")
            self.reached("landed")
            again = self._ready(seat.entry.session_id)
            if isinstance(again, Obstacle):
                return Result(Outcome.REFUSED, f"{again.why}; the text is a draft, Enter was not pressed")
            if _who(again) != _who(seat) or not tmux.press_enter(seat.pane, landed):
                return Result(Outcome.REFUSED, "the pane changed; the text is a draft, Enter was not pressed")
        except tmux.TmuxError as error:
            return Result(Outcome.UNVERIFIED, f"{error}")
        self.reached("entered")
        if self.arrived((seat.entry.session_id,), text, started_ms):
            self.reached("acknowledged")
            return Result(Outcome.DELIVERED)
        return Result(Outcome.UNVERIFIED, "Enter was pressed, and nothing says that the text arrived")

    def arrived(self, session_ids: Sequence[str], text: str, since_ms: int) -> bool:
        """Claude's files say so, now or in a moment; what it reads last it writes down a little later."""
        return self._until(
            ACKNOWLEDGED_S,
            lambda: any(submitted(self.host.homes, session, text, since_ms) for session in session_ids),
        )

    def _landed(self, seat: Seat, text: str) -> str:
        """The beginning of the composer's first row, if the composer holds our text."""
        assert seat.pane
        composer = screen.read(tmux.capture(seat.pane)).composer
        if composer is None or not composer.holds(text):
            return ""
        return composer.draft.split("\n")[0][:GUARD_CHARS].rstrip()

    def _until(self, seconds: float, look: Callable[[], T]) -> T:
        deadline = self.monotonic() + seconds
        while not (found := look()) and self.monotonic() < deadline:
            self.sleep(POLL_S)
        return found


def _who(seat: Seat) -> tuple[Any, ...]:
    """What must not change between looking and Enter. The rest of a pane, such as its size, may."""
    entry, pane = seat.entry, seat.pane
    assert pane
    place = (pane.socket, pane.server_pid, pane.id, pane.pid, pane.device)
    return (entry.pid, entry.proc_start, entry.session_id, entry.status, entry.since_ms, *place)


@contextmanager
def locked(pane: tmux.Pane) -> Iterator[Obstacle | None]:
    """Alone with this pane, among all nodes and processes of this host; the terminal itself is the lock."""
    try:
        fd = os.open(pane.tty, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        yield Obstacle(f"{pane.tty}: {error.strerror}", passing=True)
        return
    try:
        yield None if flock(fd) else Obstacle("somebody else is typing into this pane", passing=True)
    finally:
        os.close(fd)


def flock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def submitted(homes: list[Path], session_id: str, text: str, since_ms: int) -> bool:
    """Claude itself says so: in its history of prompts, or in the session's transcript."""
    wanted = _squeeze(text)
    for home in homes:
        for line in _tail(home / "history.jsonl"):
            if _is_submission(line, session_id, wanted, since_ms - CLOCK_SLACK_MS):
                return True
    path = transcript.find(homes, session_id)
    if path is None:
        return False
    records = transcript.parse(_tail(path))
    return any(_is_prompt(record, wanted, since_ms - CLOCK_SLACK_MS) for record in records)


def _squeeze(text: str) -> str:
    return re.sub(r"\s", "", text)


def _tail(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = max(0, size - HISTORY_BYTES)
            file.seek(start)
            return transcript.whole_lines(file.read(), at_start=start == 0)
    except OSError:
        return []


def _is_submission(line: bytes, session_id: str, wanted: str, since_ms: int) -> bool:
    try:
        row = json.loads(line)
    except ValueError:
        return False
    if not isinstance(row, dict) or row.get("sessionId") != session_id:
        return False
    stamp = row.get("timestamp")
    return isinstance(stamp, int) and stamp >= since_ms and _squeeze(_whole(row)) == wanted


def _whole(row: dict[str, Any]) -> str:
    """What was submitted, with long pastes in the place of their placeholders."""
    shown, pastes = row.get("display"), row.get("pastedContents")

    def paste(found: re.Match[str]) -> str:
        one = pastes.get(found.group(1)) if isinstance(pastes, dict) else None
        text = one.get("content") if isinstance(one, dict) else None
        return text if isinstance(text, str) else found.group()

    return _PLACEHOLDER.sub(paste, shown) if isinstance(shown, str) else ""


def _is_prompt(record: dict[str, Any], wanted: str, since_ms: int) -> bool:
    prompt = _PASTE_TAG.sub("", transcript.prompt(record))
    return bool(prompt) and _squeeze(prompt) == wanted and transcript.when_ms(record) >= since_ms
