"""Which session continues which: evidence from processes, their arguments and their hooks. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from claire.fleet.claude import SESSION_ID
from claire.fleet.reports import Reports
from claire.fleet.seats import Seat
from claire.node.rows import Row

FORKS = "--fork-session"  # another conversation, which leaves the one it begins with alone
_RESUMED = re.compile(r"(?:^| )(?:--resume|-r)[= ](\S+)")


@dataclass(frozen=True, slots=True)
class Succession:
    old: str
    new: str
    reason: str


def successions(
    places: Sequence[Seat],
    held: Mapping[tuple[int, str], str],
    known: Mapping[str, Row],
    reports: Reports,
    arguments: Callable[[int], list[str]],
) -> list[Succession]:
    """Sessions that continue others, each with its evidence.

    What is still open somewhere goes on there and has no successor. A session the log knows already is
    not new: going back to it with /resume is a change of seat, and must not tie two tasks into one lineage.
    """
    live = {seat.entry.session_id for seat in places}
    found = []
    for seat in places:
        old = held.get((seat.process.pid, seat.process.start), "")
        row = known.get(seat.entry.session_id)
        link = _back(seat, row, old, known) if row else _onward(seat, old, known, reports, arguments)
        if link and link.old not in live:
            found.append(link)
    return found


def _onward(
    seat: Seat, old: str, known: Mapping[str, Row], reports: Reports, arguments: Callable[[int], list[str]]
) -> Succession | None:
    new = seat.entry.session_id
    if old:
        return Succession(old, new, _same_process(seat, reports)) if old != new else None
    argv = arguments(seat.process.pid)
    old = resumed(argv)
    if old == new or old not in known or FORKS in argv:
        return None
    return Succession(old, new, f"process {seat.process.pid} was started with --resume {old[:8]}")


def _back(seat: Seat, row: Row, old: str, known: Mapping[str, Row]) -> Succession | None:
    """An earlier session of a lineage is open again, and the last one is not: the lineage goes on there."""
    head = known.get(row["current_session"])
    if head is None or head["id"] == row["id"] or not (head["gone"] or head["id"] == old):
        return None
    return Succession(head["id"], row["id"], f"process {seat.process.pid} went back to it")


def _same_process(seat: Seat, reports: Reports) -> str:
    started = reports.started(seat.process.pid, seat.process.start)
    if started and started[0] == seat.entry.session_id and started[1]:
        return f"/{started[1]} in process {seat.process.pid}, reported by hook"
    return f"process {seat.process.pid} changed its session, as /clear does"


def resumed(argv: list[str]) -> str:
    named = _RESUMED.search(" ".join(argv[1:]))
    return named.group(1) if named and SESSION_ID.fullmatch(named.group(1)) else ""
