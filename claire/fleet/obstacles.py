"""What may stand in the way of typing, found by looking only, and what an attempt came to. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from claire.fleet import screen, tmux
from claire.fleet.seats import Seat
from claire.fleet.state import State

READY = ("idle", "shell")


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
