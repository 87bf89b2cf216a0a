"""Who sits where: live Claude processes joined to panes by controlling terminal. Pure.

A name, a `tmux` field or TMUX_PANE is a snapshot from the start and goes stale; the
controlling terminal of a running process does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from claire.fleet.claude import Entry
from claire.fleet.processes import Process
from claire.fleet.tmux import Pane


@dataclass(frozen=True, slots=True)
class Seat:
    """A live session of this host, its process, and its pane where it has one."""

    entry: Entry
    process: Process
    pane: Pane | None = None
    ambiguous: str = ""  # why nobody can say which session or pane is meant; never sent to


def join(live: Sequence[tuple[Entry, Process]], panes: Sequence[Pane]) -> list[Seat]:
    """One seat a process; doubts are kept and shown, not resolved by guessing."""
    by_device = {pane.device: pane for pane in panes if pane.device and not pane.dead}
    on_terminal = Counter(process.tty for _, process in live if process.tty)
    with_session = Counter(entry.session_id for entry, _ in live)
    return [
        Seat(entry, process, by_device.get(process.tty), _doubt(entry, process, on_terminal, with_session))
        for entry, process in live
    ]


def _doubt(entry: Entry, process: Process, on_terminal: Counter[int], with_session: Counter[str]) -> str:
    if with_session[entry.session_id] > 1:
        return f"open in {with_session[entry.session_id]} processes"
    if on_terminal[process.tty] > 1:
        return f"{on_terminal[process.tty]} sessions on one terminal"
    return ""


def orphaned(seat: Seat) -> bool:
    """It lives, and its terminal is no more: a pane that is merely out of our sight still has one."""
    return seat.process.tty == 0 and not seat.entry.background
