"""Joining sessions to panes, and the doubts that are shown instead of resolved."""

from __future__ import annotations

from dataclasses import replace

from claire.fleet import claude, processes, seats, tmux
from claire.fleet.claude import Entry
from claire.fleet.processes import Process
from tests.fleet.kit import FakeHost

PANE = tmux.Pane("s", "%1", "/dev/pts/3", 99, 10, False, False, False, False, 80, 5, "@1", "work")
ONE = (Entry(10, "a", pane_at_start="%1"), Process(10, "1", 99))


def test_joined_by_terminal_whatever_the_names_say() -> None:
    [seat] = seats.join([ONE], [PANE, replace(PANE, id="%2", device=98)])
    assert seat.pane == PANE and not seat.ambiguous


def test_two_on_one_terminal() -> None:
    other = (Entry(11, "b"), Process(11, "2", 99))
    assert [seat.ambiguous for seat in seats.join([ONE, other], [PANE])] == ["2 sessions on one terminal"] * 2


def test_one_session_in_two_processes() -> None:
    other = (Entry(11, "a"), Process(11, "2", 98))
    assert [seat.ambiguous for seat in seats.join([ONE, other], [PANE])] == ["open in 2 processes"] * 2


def test_orphaned_is_without_a_terminal_not_out_of_sight() -> None:
    [hidden] = seats.join([ONE], [])
    assert not seats.orphaned(hidden)
    [alone] = seats.join([(Entry(10, "a", pane_at_start="%1"), Process(10, "1", 0))], [])
    assert seats.orphaned(alone)


def live(host: FakeHost) -> list[tuple[Entry, Process]]:
    entries = claude.Registry().read([host.config])
    found = [(entry, processes.find(entry.pid)) for entry in entries]
    return [(entry, process) for entry, process in found if process]


def test_claude_under_a_shell_in_a_renamed_session(host: FakeHost) -> None:
    pane = host.run("sh", "-c", "claude --permission-mode default; :", name="before")
    pane.wait_screen("manual mode on")
    host.tmux("rename-session", "-t", "before", "after")
    [seat] = seats.join(live(host), tmux.panes(host.socket))
    assert seat.pane and (seat.pane.id, seat.pane.session_name) == (pane.id, "after")
    assert seat.process.pid != seat.pane.pid


def test_two_panes_in_one_folder(host: FakeHost) -> None:
    panes = {host.start_idle(name=name).id for name in ("one", "two")}
    joined = seats.join(live(host), tmux.panes(host.socket))
    assert {seat.pane.id for seat in joined if seat.pane} == panes
    assert len({seat.entry.session_id for seat in joined}) == 2
