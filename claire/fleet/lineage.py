"""Which session continues which: evidence from processes, their arguments and their hooks. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from claire.fleet.claude import SESSION_ID
from claire.fleet.reports import Reports
from claire.fleet.seats import Seat

_RESUMED = re.compile(r"(?:^| )(?:--resume|-r)[= ](\S+)")


@dataclass(frozen=True, slots=True)
class Succession:
    old: str
    new: str
    reason: str


def successions(
    places: Iterable[Seat],
    held: Mapping[tuple[int, str], str],
    known: Callable[[str], bool],
    reports: Reports,
    arguments: Callable[[int], list[str]],
) -> list[Succession]:
    """New sessions that continue old ones, each with its evidence.

    A session the log knows already is not new: going back to it with /resume is a change of
    seat, and must not tie two tasks into one lineage.
    """
    found = []
    for seat in places:
        new = seat.entry.session_id
        if known(new):
            continue
        old = held.get((seat.process.pid, seat.process.start), "")
        if old and old != new:
            found.append(Succession(old, new, _same_process(seat, reports)))
            continue
        old = resumed(arguments(seat.process.pid))
        if old and old != new and known(old):
            found.append(Succession(old, new, f"process {seat.process.pid} was started with --resume {old[:8]}"))
    return found


def _same_process(seat: Seat, reports: Reports) -> str:
    started = reports.current.get(seat.process.pid)
    if started and started[0] == seat.entry.session_id and started[1]:
        return f"/{started[1]} in process {seat.process.pid}, reported by hook"
    return f"process {seat.process.pid} changed its session, as /clear does"


def resumed(argv: list[str]) -> str:
    named = _RESUMED.search(" ".join(argv[1:]))
    return named.group(1) if named and SESSION_ID.fullmatch(named.group(1)) else ""
