"""Gathering evidence on one session, no more than is needed, and the judgement it leads to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from claire.fleet import screen, seats, tmux, transcript
from claire.fleet.reports import Reports
from claire.fleet.seats import Seat
from claire.fleet.state import WAITING, Claim, Confidence, Judgement, State, from_registry, judge
from claire.fleet.transcript import Tail

# A transcript does not know whether a call waits for a yes, nor what runs or opens after a turn.
_UNSEEN = {State.WORKING: WAITING, State.IDLE: frozenset({State.SHELL, State.DIALOG})}


@dataclass
class Evidence:
    """Looks at transcripts and screens; a file that did not change is not read again."""

    _paths: dict[str, Path] = field(default_factory=dict)
    _tails: dict[str, Tail] = field(default_factory=dict)

    def tail(self, homes: list[Path], session_id: str, look_everywhere: bool) -> Tail | None:
        """The end of its transcript. Searching all folders is for when something has happened."""
        path, known = self._paths.get(session_id), self._tails.get(session_id)
        tail = transcript.read(path, known) if path else None
        search = tail.moved if tail else (look_everywhere or path)
        if search:
            path = transcript.find(homes, session_id)
            tail = transcript.read(path, known) if path else None
        if path and tail:
            self._paths[session_id], self._tails[session_id] = path, tail
        return tail

    def path(self, session_id: str) -> str:
        """Where the tail came from."""
        return str(self._paths.get(session_id, ""))

    def forget(self, keep: set[str]) -> None:
        for session_id in set(self._tails) - keep:
            del self._tails[session_id], self._paths[session_id]


def of_seat(seat: Seat, reports: Reports, tail: Tail | None) -> Judgement:
    """What one live session does. The screen is asked only where nobody better knows."""
    if seats.orphaned(seat):
        return Judgement(State.ORPHANED, "tmux", 0, Confidence.HIGH)
    entry = seat.entry
    claims = [
        from_registry(entry.status, entry.waiting_for, entry.since_ms),
        reports.claims.get(entry.session_id),
        of_tail(tail),
    ]
    given = [claim for claim in claims if claim]
    if claims[0] is None and seat.pane:
        given += of_screen(seat.pane)
    judged = judge(given)
    if seat.ambiguous:
        return replace(judged, source=f"{judged.source} ({seat.ambiguous})", confidence=Confidence.LOW)
    return judged


def of_tail(tail: Tail | None) -> Claim | None:
    if tail is None or tail.state is None:
        return None
    return Claim("transcript", tail.state, tail.state_ms, may_be=_UNSEEN.get(tail.state, frozenset()))


def of_screen(pane: tmux.Pane) -> list[Claim]:
    try:
        state = screen.read(tmux.capture(pane)).state
    except tmux.TmuxError:  # it ended between listing and looking
        return []
    return [Claim("screen", state)] if state else []


def of_all(judgements: list[Judgement]) -> Judgement:
    """One session open in several processes: what they agree on, at most."""
    first = judgements[0]
    if all(judged.state == first.state for judged in judgements):
        return first
    return Judgement(State.UNKNOWN, first.source, 0, Confidence.LOW)
