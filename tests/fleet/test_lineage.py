"""Which session continues which, decided from evidence."""

from __future__ import annotations

from claire.fleet.claude import Entry
from claire.fleet.lineage import Succession, resumed, successions
from claire.fleet.processes import Process
from claire.fleet.reports import Reports
from claire.fleet.seats import Seat
from claire.node.rows import Row

OLD, NEW = "11111111-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"
SEAT = Seat(Entry(7, NEW), Process(7, "70", 0))


def row(session: str, head: str = "", gone: bool = False) -> Row:
    return {"id": session, "current_session": head or session, "gone": gone}


def found(
    held: dict[tuple[int, str], str], known: list[Row], argv: list[str], reports: Reports, *more: Seat
) -> list[Succession]:
    return successions([SEAT, *more], held, {row["id"]: row for row in known}, reports, lambda _: argv)


def test_another_session_in_the_same_process() -> None:
    [link] = found({(7, "70"): OLD}, [row(OLD)], ["claude"], Reports())
    assert (link.old, link.new) == (OLD, NEW)


def test_a_hook_says_how() -> None:
    [link] = found({(7, "70"): OLD}, [row(OLD)], ["claude"], Reports(current={(7, "70"): (NEW, "clear")}))
    assert link.reason == "/clear in process 7, reported by hook"


def test_a_reused_pid_is_another_process() -> None:
    assert found({(7, "69"): OLD}, [row(OLD)], ["claude"], Reports()) == []


def test_a_known_session_is_not_new() -> None:
    assert found({(7, "70"): OLD}, [row(OLD), row(NEW)], ["claude"], Reports()) == []


def test_started_with_resume_under_a_new_id() -> None:
    [link] = found({}, [row(OLD)], ["claude", "--resume", OLD], Reports())
    assert (link.old, link.new, link.reason) == (OLD, NEW, "process 7 was started with --resume 11111111")
    assert found({}, [], ["claude", "--resume", OLD], Reports()) == []


def test_a_fork_is_another_conversation() -> None:
    assert found({}, [row(OLD)], ["claude", "--resume", OLD, "--fork-session"], Reports()) == []


def test_what_is_still_open_elsewhere_has_no_successor() -> None:
    """One session in two processes, and /clear in one of them: the other goes on."""
    other = Seat(Entry(8, OLD), Process(8, "80", 0))
    assert found({(7, "70"): OLD, (8, "80"): OLD}, [row(OLD)], ["claude"], Reports(), other) == []


def test_going_back_within_a_lineage_takes_it_along() -> None:
    """/clear made OLD of NEW, and /resume goes back to NEW: in the same process, or in another one later."""
    in_it = [row(NEW, head=OLD), row(OLD)]
    [link] = found({(7, "70"): OLD}, in_it, ["claude"], Reports())
    assert (link.old, link.new, link.reason) == (OLD, NEW, "process 7 went back to it")
    assert found({}, in_it, ["claude"], Reports()) == []
    assert found({}, [row(NEW, head=OLD), row(OLD, gone=True)], ["claude"], Reports()) == [link]


def test_resumed() -> None:
    assert resumed(["claude", f"--resume={OLD}"]) == resumed(["claude", "-r", OLD]) == OLD
    assert resumed(["claude", "--resume"]) == resumed(["claude", "--resume", "name"]) == resumed([]) == ""
