"""One message into one pane, typed at most once: look, claim, paste, prove, one guarded Enter, acknowledge.

Pasting is harmless, Enter is not: at a permission prompt it means yes, in a shell it executes,
over a draft it submits the draft. So everything is checked before the paste, the paste is proved
before Enter, and Enter is pressed by the tmux server itself, in one step with the last check.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from claire.fleet import screen, tmux
from claire.fleet.host import Host, Sight
from claire.fleet.obstacles import Obstacle, Outcome, Result, choose, pane_obstacle, screen_obstacle, status_obstacle
from claire.fleet.receipts import submitted
from claire.fleet.seats import Seat

STEADY_S = 0.3  # a status that stands this long is not about to change by itself
LANDED_S = 2.0  # generous, because a busy host is slow to draw; it is waited for only as long as it takes
ACKNOWLEDGED_S = 4.0
POLL_S = 0.03
GUARD_CHARS = 24

T = TypeVar("T")


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
        return ready(self.host.look(), session_id)

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


def ready(sight: Sight, session_id: str) -> Seat | Obstacle:
    """Where it may be typed, as far as one look at the host can tell."""
    seat = choose(sight.of_session(session_id), sight.problems)
    if isinstance(seat, Obstacle):
        return seat
    assert seat.pane
    return pane_obstacle(seat.pane) or status_obstacle(seat) or seat


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
