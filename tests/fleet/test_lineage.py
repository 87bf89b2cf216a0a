"""Which session continues which, decided from evidence."""

from __future__ import annotations

from claire.fleet.claude import Entry
from claire.fleet.lineage import Succession, resumed, successions
from claire.fleet.processes import Process
from claire.fleet.reports import Reports
from claire.fleet.seats import Seat

OLD, NEW = "11111111-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"
SEAT = Seat(Entry(7, NEW), Process(7, "70", 0))


def found(held: dict[tuple[int, str], str], known: set[str], argv: list[str], reports: Reports) -> list[Succession]:
    return successions([SEAT], held, known.__contains__, reports, lambda _: argv)


def test_another_session_in_the_same_process() -> None:
    [link] = found({(7, "70"): OLD}, {OLD}, ["claude"], Reports())
    assert (link.old, link.new) == (OLD, NEW)


def test_a_hook_says_how() -> None:
    [link] = found({(7, "70"): OLD}, {OLD}, ["claude"], Reports(current={7: (NEW, "clear")}))
    assert link.reason == "/clear in process 7, reported by hook"


def test_a_reused_pid_is_another_process() -> None:
    assert found({(7, "69"): OLD}, {OLD}, ["claude"], Reports()) == []


def test_a_known_session_is_not_new() -> None:
    assert found({(7, "70"): OLD}, {OLD, NEW}, ["claude"], Reports()) == []


def test_started_with_resume_under_a_new_id() -> None:
    [link] = found({}, {OLD}, ["claude", "--resume", OLD], Reports())
    assert (link.old, link.new, link.reason) == (OLD, NEW, "process 7 was started with --resume 11111111")
    assert found({}, set(), ["claude", "--resume", OLD], Reports()) == []


def test_resumed() -> None:
    assert resumed(["claude", f"--resume={OLD}"]) == resumed(["claude", "-r", OLD]) == OLD
    assert resumed(["claude", "--resume"]) == resumed(["claude", "--resume", "name"]) == resumed([]) == ""
