"""When triage runs, what it records, and what it may cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from claire.fleet import triage
from claire.fleet.rclaude import Contract
from claire.fleet.triage import Settings, Verdict
from claire.fleet.triager import Triager
from claire.node import sessions, updates
from claire.node.node import Node
from claire.node.sessions import Observation

THERE = "99999999-2222-3333-4444-555555555555"
UUID = "11111111-2222-3333-4444-555555555555"
NOW_MS = 1_790_000_000_000


class Desk:
    """A node with one resting session whose transcript can grow, and a command that counts its runs."""

    def __init__(self, node: Node, root: Path) -> None:
        self.node, self.root = node, root
        self.env = {"HOME": str(root), "CLAUDE_CONFIG_DIR": str(root / "config"), "PATH": "/usr/bin:/bin"}
        (root / "config" / "projects" / "p").mkdir(parents=True)
        self.says("which database?")
        self.observe("idle")

    def observe(self, state: str, since_ms: int = NOW_MS - 60_000) -> None:
        sessions.observe(self.node, [Observation(session_uuid=UUID, host="alpha", state=state, since_ms=since_ms)])

    def says(self, text: str) -> None:
        message = {"content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}
        record = {"type": "assistant", "timestamp": "2026-11-22T10:00:00Z", "message": message}
        with (self.root / "config" / "projects" / "p" / f"{UUID}.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")

    def settings(self, cost_usd: float = 0.01, fails: bool = False, **more: bool | float) -> Settings:
        answer = {"needs": "answer", "priority": 1, "summary": "asks", "total_cost_usd": cost_usd}
        script = self.root / "analyze"
        script.write_text(f"#!/bin/sh\necho >> {self.root}/runs\necho '{json.dumps(answer)}'\nexit {int(fails)}\n")
        script.chmod(0o755)
        return Settings(**{"enabled": True, "command": (str(script),), **more})  # type: ignore[arg-type]

    @property
    def runs(self) -> int:
        path = self.root / "runs"
        return len(path.read_text()) if path.exists() else 0


@pytest.fixture
def desk(make_node: Callable[..., Node], tmp_path: Path) -> Desk:
    return Desk(make_node("alpha", lambda: NOW_MS), tmp_path / "desk")


def test_once_for_each_state_of_the_transcript(desk: Desk) -> None:
    triager = Triager(desk.node, desk.env, desk.settings())
    assert [triager.triage_one() for _ in range(3)] == [True, False, False]
    with desk.node.reading() as db:
        assert sessions.find(db, UUID)["last_triage"] == "asks (needs answer, priority 1)"
        assert [row["source"] for row in updates.list_updates(db)] == ["triage"]
    desk.says("well?")
    assert triager.triage_one()
    assert desk.runs == 2


def test_a_verdict_about_the_past_is_asked_for_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session went on and came to rest again while it was being judged, and its transcript is the same."""
    triager, run = Triager(desk.node, desk.env, desk.settings()), triage.run

    def meanwhile(*asked: Any) -> Verdict:
        desk.observe("working", NOW_MS - 40_000)
        desk.observe("idle", NOW_MS - 30_000)
        return run(*asked)

    monkeypatch.setattr(triage, "run", meanwhile)
    assert triager.triage_one()
    monkeypatch.undo()
    assert triager.triage_one()
    with desk.node.reading() as db:
        assert sessions.find(db, UUID)["last_triage"] == "asks (needs answer, priority 1)"


def test_off_is_off(desk: Desk) -> None:
    assert not Triager(desk.node, desk.env, desk.settings(enabled=False)).triage_one()
    assert desk.runs == 0


@pytest.mark.parametrize(("state", "since_ms"), [("working", NOW_MS - 60_000), ("idle", NOW_MS - 1_000)])
def test_only_what_came_to_rest(desk: Desk, state: str, since_ms: int) -> None:
    desk.observe("working", since_ms)
    desk.observe(state, since_ms)
    assert not Triager(desk.node, desk.env, desk.settings()).triage_one()


def test_the_budget_of_a_day(desk: Desk) -> None:
    triager = Triager(desk.node, desk.env, desk.settings(cost_usd=0.06))
    for _ in range(4):
        triager.triage_one()
        desk.says("more")
    assert desk.runs == 2 and triager.spent_usd() == pytest.approx(0.12)
    assert Triager(desk.node, desk.env, desk.settings()).spent_usd() == pytest.approx(0.12)


def test_a_failure_is_not_tried_again_and_again(desk: Desk) -> None:
    triager = Triager(desk.node, desk.env, desk.settings(fails=True))
    assert [triager.triage_one() for _ in range(3)] == [True, False, False]
    with desk.node.reading() as db:
        assert updates.list_updates(db) == []


def test_sessions_of_another_config_home_too(desk: Desk) -> None:
    desk.env["CLAUDE_CONFIG_DIR"] = "/none"
    triager = Triager(desk.node, desk.env, desk.settings())
    assert not triager.triage_one()
    with desk.node.writing() as tx:
        home = str(desk.root / "config")
        tx.db.execute("INSERT INTO claude_processes VALUES (7, '1', ?, ?)", (UUID, home))
    assert triager.triage_one()


def rclaude(desk: Desk, script: str) -> Contract:
    """A session that only rclaude can see, and an rclaude."""
    seen = Observation(session_uuid=THERE, host="web1", tmux_name="api", state="idle", source="rclaude", since_ms=1)
    sessions.observe(desk.node, [seen])
    program = desk.root / "rclaude"
    program.write_text(f'#!/bin/sh\necho "$@" >> {desk.root}/asked\n{script}\n')
    program.chmod(0o755)
    return Contract(triage=(str(program), "triage", "--json", "{target}"))


def test_sessions_elsewhere_are_triaged_by_rclaude(desk: Desk) -> None:
    told = json.dumps({"priority": 1, "summary": "stuck on a merge", "state": "idle"})
    spoken = rclaude(desk, f"echo '{told}'")
    triager = Triager(desk.node, desk.env, desk.settings(cost_usd=0), spoken=spoken)
    assert [triager.triage_one() for _ in range(3)] == [True, True, False]
    with desk.node.reading() as db:
        assert sessions.find(db, THERE)["last_triage"] == "stuck on a merge (idle, priority 1)"
    assert (desk.root / "asked").read_text() == "triage --json web1:api\n"
    assert triager.spent_usd() == pytest.approx(0.001)


def test_an_rclaude_that_fails_is_not_asked_again_and_again(desk: Desk) -> None:
    desk.observe("working")
    triager = Triager(desk.node, desk.env, desk.settings(), spoken=rclaude(desk, "echo no such verb >&2; exit 2"))
    assert [triager.triage_one() for _ in range(2)] == [True, False]


def test_without_rclaude_they_are_left_alone(desk: Desk) -> None:
    desk.observe("working")
    rclaude(desk, "exit 1")
    assert not Triager(desk.node, desk.env, desk.settings()).triage_one()
