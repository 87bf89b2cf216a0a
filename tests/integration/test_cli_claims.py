"""Claims on the command line: who holds what, for how long, and what two hosts say when both took it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from claire.config import Home
from claire.node import claims, log, overview, projects, setup, tasks
from claire.node.node import Node, wall_ms
from tests.conftest import befriend
from tests.integration.nodes import PATIENCE_S
from tests.integration.test_cli_work import ROOT, SECOND, SESSION, Claire


@pytest.fixture
def claire(tmp_path: Path) -> Claire:
    claire = Claire(tmp_path / "home")
    claire("init")
    claire.observe(session_uuid=SESSION, tmux_name="one")
    claire.observe(session_uuid=SECOND, tmux_name="two")
    claire("project", "new", "api")
    return claire


def test_a_session_takes_work_and_gives_it_back(claire: Claire) -> None:
    task = claire.data("task", "add", "api", "fix it")["id"]
    assert [row["id"] for row in claire.data("task", "list", "--ready")] == [task]
    assert "for 30m" in claire("task", "claim", task, "--lease", "30m", CLAUDE_CODE_SESSION_ID=SESSION)
    assert claire.data("task", "list", "--ready") == []
    assert "is held by session 9d0c41aa one on here" in claire("task", "claim", task, "--session", "two", code=5)
    assert "(claimed, 29m left)" in claire("task", "show", task)
    claire("task", "release", CLAUDE_CODE_SESSION_ID=SESSION)
    assert [row["status"] for row in claire.data("task", "list", "--ready")] == ["todo"]
    assert "claimed by" in claire("log")
    claire("task", "release", CLAUDE_CODE_SESSION_ID=SESSION, code=3)
    claire("task", "claim", task, "--lease", "soon", CLAUDE_CODE_SESSION_ID=SESSION, code=2)
    claire("task", "claim", task, "--lease", "1s", CLAUDE_CODE_SESSION_ID=SESSION, code=2)
    claire("task", "claim", task, code=2)  # of which session?
    claire("task", "list", "--ready", "--status", "todo", code=2)


def test_a_lease_that_ran_out_is_shown_and_taken_over(claire: Claire) -> None:
    task = claire.data("task", "add", "api", "fix it")["id"]
    with Node(Home.from_env(claire.env), now_ms=lambda: wall_ms() - 3_600_000) as earlier:
        claims.claim(earlier, task, SESSION, 600_000)
    assert "(claim lapsed 50m ago)" in claire("task", "show", task)
    assert [row["id"] for row in claire.data("task", "list", "--ready")] == [task]
    claire("task", "claim", task, "--session", SECOND)
    assert [a["session"] for a in claire.data("task", "show", task)["assignments"]] == ["two"]


def test_a_contested_claim_is_shown_and_settled(claire: Claire, tmp_path: Path) -> None:
    with (
        Node(Home.from_env(claire.env)) as here,
        setup.init(Home.from_env({"CLAIRE_HOME": str(tmp_path / "there")}), "there") as there,
    ):
        befriend(here, there)
        task = tasks.add(here, projects.create(here, "web")["id"], "fix it")["id"]
        _tell(here, there)
        claims.claim(here, task, SESSION)
        claims.claim(there, task, SECOND)
        _tell(there, here)
    assert "is contested by 2 sessions, 9d0c41aa holds it: fix it" in claire("status")
    assert claire("task", "show", task).count("(claimed") == 1
    assert "contested: another session's was earlier" in claire("task", "show", task)
    [conflict] = claire.data("conflicts")
    assert (conflict["field"], conflict["shown"]) == ("claim", SESSION)
    assert f"claire task release {task[:8]} --session SESSION" in claire("conflicts")
    assert "is held by session 9d0c41aa" in claire("task", "claim", task, "--session", SECOND, code=5)
    claire("task", "release", task, "--session", SECOND)
    assert claire.data("conflicts") == []


def _tell(one: Node, other: Node) -> None:
    with one.reading() as db:
        assert other.receive(log.since(db, "", 1_000)).refused == []


def test_status_lists_sessions_that_stalled_but_not_those_of_a_silent_host(claire: Claire) -> None:
    long_ago = wall_ms() - 45 * 60_000
    stuck = "9d0c41cc-0000-4000-8000-000000000003"
    claire.observe(session_uuid=stuck, tmux_name="three", since_ms=long_ago, last_seen_ms=long_ago)
    assert "9d0c41cc three on here works, quiet for 45m" in claire("status")
    data = claire.data("status")
    assert [row["id"] for row in data["stalled"]] == [stuck]
    silent = [{**host, "own": False, "last_contact_ms": long_ago, "newest": None} for host in data["hosts"]]
    assert overview.stalled(data["sessions"], silent, wall_ms()) == []
    claire.observe(session_uuid=stuck, tmux_name="three", since_ms=long_ago, last_seen_ms=wall_ms())
    assert claire.data("status")["stalled"] == []


def test_of_many_claims_at_once_on_one_host_one_wins(claire: Claire) -> None:
    """Here there is a lock: the database. Contested claims come only from hosts that could not talk."""
    task = claire.data("task", "add", "api", "fix it")["id"]
    argv = [sys.executable, "-m", "claire", "task", "claim", task, "--session"]
    codes = [racer.wait(PATIENCE_S) for racer in [_started([*argv, one], claire.env) for one in (SESSION, SECOND) * 3]]
    [held] = claire.data("task", "show", task)["assignments"]
    won = 0 if held["current_session"] == SESSION else 1
    assert codes[won::2] == [0, 0, 0] and codes[1 - won :: 2] == [5, 5, 5]
    assert claire.data("conflicts") == []


def _started(argv: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
