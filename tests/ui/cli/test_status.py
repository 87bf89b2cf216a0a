"""Who needs me is on top, and what comes from a host that is offline says so."""

from __future__ import annotations

from collections.abc import Callable

from claire.node import log, overview, projects, sessions, tasks, updates
from claire.node.node import Node
from claire.ui import text
from claire.ui.cli.context import View
from claire.ui.cli.status import gather, screen, summary
from tests.conftest import Clock, befriend

SESSION = "9d0c41aa-0000-4000-8000-00000000000"


def drawn(node: Node, now_ms: int, width: int | None = 100) -> list[str]:
    with node.reading() as db:
        data = gather(db, node.machine_id, now_ms, None, None)
    return text.paint(screen(data, View(width, False, False, now_ms)), False).splitlines()


def observe(node: Node, n: int, state: str, now_ms: int) -> None:
    seen = sessions.Observation(
        session_uuid=f"{SESSION}{n}",
        host="web1",
        tmux_name=f"s{n}",
        state=state,
        since_ms=now_ms - 180_000,
        last_seen_ms=now_ms,
    )
    sessions.observe(node, [seen])


def test_the_first_lines_say_who_waits_since_when_and_what_for(node: Node, clock: Clock) -> None:
    projects.create(node, "api")
    blocked = tasks.add(node, "api", "deploy")["id"]
    tasks.set_status(node, blocked, "blocked")
    updates.note(node, blocked, "needs the password\nsecond line")
    observe(node, 1, "working", clock.now_ms)
    observe(node, 2, "question", clock.now_ms)
    lines = drawn(node, clock.now_ms + 60_000)
    assert lines[0] == "1 waiting · 1 working · 1 blocked"
    assert lines[2:4] == ["NEEDS YOU", lines[3]]
    assert lines[3].split()[:4] == ["◐", "question", "4m", f"{SESSION[:8]}"]
    assert "⊘ blocked 1m" in lines[4] and "needs the password …" in lines[4]


def test_unreachable_is_not_gone(make_node: Callable[..., Node], clock: Clock) -> None:
    alpha, beta = make_node("alpha"), make_node("beta")
    befriend(alpha, beta)
    observe(beta, 1, "permission", clock.now_ms)
    with beta.reading() as db:
        alpha.receive(log.since(db, "", 100))
    here = drawn(alpha, clock.now_ms)
    later = drawn(alpha, clock.now_ms + overview.OFFLINE_AFTER_MS + 7_200_000)
    assert here[0] == "1 waiting" and "⊘" not in "".join(here)
    assert later[0] == "1 waiting · 1 host offline"
    assert "⊘ web1" in later[3] and "seen 2h ago" in later[3]
    assert "◐ permission" in here[3] and "⊘ was permission" in later[3]
    assert any("⊘ offline, 2h ago" in line for line in later)


def test_what_a_host_said_before_it_went_offline_is_not_what_it_does_now(
    make_node: Callable[..., Node], clock: Clock
) -> None:
    alpha, beta = make_node("alpha"), make_node("beta")
    befriend(alpha, beta)
    observe(beta, 1, "working", clock.now_ms)
    observe(beta, 2, "idle", clock.now_ms)
    with beta.reading() as db:
        alpha.receive(log.since(db, "", 100))
    assert drawn(alpha, clock.now_ms)[0] == "1 working · 1 idle"
    later = drawn(alpha, clock.now_ms + overview.OFFLINE_AFTER_MS + 7_200_000)
    assert later[0] == "2 unknown · 1 host offline"
    assert "⊘ was working 2h" in later[3]


def test_it_stays_one_screen_with_a_large_fleet(node: Node, clock: Clock) -> None:
    for n in range(60):
        observe(node, n, "working", clock.now_ms)
        projects.create(node, f"project {n}")
    lines = drawn(node, clock.now_ms)
    assert len(lines) < 40
    assert "… 48 more: claire session list" in lines and "… 48 more: claire project list" in lines


def test_an_empty_node_says_how_to_begin(node: Node, clock: Clock) -> None:
    lines = drawn(node, clock.now_ms)
    assert lines[0] == "nothing running" and "claire project new" in lines[-1]
    with node.reading() as db:
        assert summary(gather(db, node.machine_id, clock.now_ms, None, None)) == "nothing running"
