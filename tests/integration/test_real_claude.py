"""The real Claude Code in its sandbox, against a fake API (`make test-real`): what holds for the fake holds here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from claire.fleet import hooks, keystrokes, triage
from claire.fleet.deliver import Deliverer
from claire.fleet.host import Host
from claire.fleet.keystrokes import Typist
from claire.fleet.observer import Observer
from claire.node import broadcasts, sessions
from claire.node.node import Node
from claire.node.rows import Row
from tests.fleet.kit import KIT, wait_for
from tests.integration.nodes import until

NAME = "claire-test"
STARTS_S = 180.0  # what Claude Code keeps agents in starts with the first one
KEPT = Path(os.environ.get("REAL_CLAUDE_DIR") or Path(tempfile.gettempdir()) / "claire-real-claude")
pytestmark = pytest.mark.skipif(
    not os.environ.get("CLAIRE_TEST_REAL") or not KIT.is_dir(), reason="opt-in: make test-real (downloads 380 MB)"
)


def kit(*arguments: str) -> str:
    command = [sys.executable, str(KIT / "real_claude.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Real:
    """One real session in a pane, and a node that watches it."""

    def __init__(self, report: dict[str, str], node: Node, victim: Path) -> None:
        self.env = {**os.environ, **report}
        for name in ("TMUX", "TMUX_PANE"):
            self.env.pop(name, None)
        self.pane, self.socket = report["REAL_CLAUDE_PANE"], report["REAL_CLAUDE_TMUX_SOCKET_NAME"]
        self.node, self.victim = node, victim
        self.observer = Observer(node, self.env)

    def tmux(self, *arguments: str, stdin: str | None = None) -> str:
        command = ["tmux", "-u", "-L", self.socket, *arguments]
        return subprocess.run(command, env=self.env, input=stdin, capture_output=True, text=True, check=True).stdout

    def keys(self, *keys: str) -> None:
        self.tmux("send-keys", "-t", self.pane, *keys)

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p", "-t", self.pane)

    def submit(self, text: str) -> None:
        wait_for(lambda: "❯" in self.screen(), "the composer")  # noqa: RUF001
        self.tmux("load-buffer", "-b", "kit", "-", stdin=text)
        self.tmux("paste-buffer", "-p", "-r", "-d", "-b", "kit", "-t", self.pane)
        wait_for(lambda: text in self.screen(), f"{text!r} on screen")
        self.keys("Enter")

    def row(self) -> Row:
        self.observer.observe()
        with self.node.reading() as db:
            return next(iter(sessions.list_sessions(db)), {"state": "", "id": ""})

    def wait_state(self, state: str) -> Row:
        def reached() -> Row | None:
            row = self.row()
            return row if row["state"] == state else None

        found = wait_for(reached, f"{state}, not {self.row()['state']}")
        assert found
        return found


@pytest.fixture
def real(make_node: Callable[..., Node], tmp_path: Path) -> Iterator[Real]:
    if not KEPT.is_dir():
        kit("install", str(KEPT))
    os.environ["REAL_CLAUDE_DIR"] = str(KEPT)
    project = tmp_path / "project"
    victim = project / "victim"
    victim.mkdir(parents=True)
    answer = json.dumps({"needs": "review", "priority": 2, "summary": "is done"})
    options = ["slow-seconds=4", f"bash-command=rm -rf {victim}", f"structured-output={answer}"]
    try:
        report = kit("start", NAME, str(project), *(f"--api-option=--{option}" for option in options))
        values = dict(line.split("=", 1) for line in report.splitlines())
        yield Real(values, make_node("alpha", lambda: time.time_ns() // 1_000_000), victim)
    finally:
        kit("stop", NAME)


def test_real_claude_states(real: Real) -> None:
    first = real.wait_state("idle")
    assert (first["source"], first["confidence"]) == ("registry", "high")
    real.submit("SLOW hello")
    real.wait_state("working")
    real.wait_state("idle")
    real.submit("RUNBASH")
    assert real.wait_state("permission")["waiting_for"] == "permission prompt"
    real.keys("Escape")
    real.wait_state("interrupted")
    real.submit("ASKME")
    real.wait_state("question")
    real.keys("Escape")
    real.wait_state("interrupted")
    real.submit("RATELIMIT")
    real.wait_state("rate-limited")
    assert real.victim.exists()


def test_real_claude_clear_is_followed(real: Real) -> None:
    old = real.wait_state("idle")["id"]
    real.submit("/clear")
    wait_for(lambda: real.row()["id"] not in ("", old), "a new session")
    with real.node.reading() as db:
        [link] = sessions.links(db, old)
    assert (link["old"], link["new"]) == (old, real.row()["id"])


def send(real: Real, text: str) -> str:
    return str(broadcasts.send(real.node, real.row()["id"], text)["id"])


def outcome(real: Real, sent: str) -> str:
    """After another try; empty while it waits for its session."""
    Deliverer(real.node, Typist(Host(real.env))).deliver()
    with real.node.reading() as db:
        [target] = broadcasts.find(db, sent)["targets"]
        return target["outcome"] or ""


TEXTS = ("hello", "two\nlines", "x" * 900, "a\nb\nc\nd\ne", "ends in ;", "emoji 🙂 #{pane_id}", "break\x1b[201~\rout")


def test_real_claude_gets_messages(real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keystrokes, "LANDED_S", STARTS_S)  # whether it arrives, not how soon
    monkeypatch.setattr(keystrokes, "ACKNOWLEDGED_S", STARTS_S)
    real.wait_state("idle")
    for text in TEXTS:
        assert wait_for(partial(outcome, real, send(real, text)), f"an outcome for {text[:20]!r}") == "delivered"
    real.wait_state("idle")
    real.submit("RUNBASH")
    real.wait_state("permission")
    sent = send(real, "hello")
    for _ in range(3):
        assert outcome(real, sent) == ""
    assert real.victim.exists()
    real.keys("Escape")
    assert wait_for(lambda: outcome(real, sent), "an outcome after the prompt") == "delivered"


def test_real_claude_runs_our_hooks(real: Real) -> None:
    session = real.wait_state("idle")["id"]
    env = {"HOME": "/nonexistent", "CLAUDE_CONFIG_DIR": real.env["CLAUDE_CONFIG_DIR"]}
    hooks.apply(hooks.changes(env, real.node.home, install=True))

    def reported() -> bool:
        """Settings are read again some time after they changed."""
        real.submit("hello")
        time.sleep(1)
        return session in real.observer.spool.read().claims

    wait_for(reported, "a report")
    assert real.observer.spool.read().claims[session].source == "hook"


def test_real_claude_in_the_background_is_shown_and_not_typed_to(real: Real) -> None:
    real.wait_state("idle")
    bg = [sys.executable, str(KIT / "real_claude.py"), "run", NAME, "--", "claude", "--bg", "-n", "asker", "ASKME"]
    subprocess.run(bg, cwd=real.victim.parent, check=True, capture_output=True)

    def agents() -> list[Row]:
        real.observer.observe()
        with real.node.reading() as db:
            return [row for row in sessions.list_sessions(db) if row["name"] == "asker"]

    until(lambda: [row["state"] for row in agents()] == ["question"], STARTS_S, lambda: f"{agents()}")
    [agent] = agents()
    assert (agent["waiting_for"], agent["tmux_name"]) == ("input needed", "")
    sent = broadcasts.send(real.node, agent["id"], "hello")["id"]
    assert outcome(real, sent) == "refused"


def test_real_claude_triage_is_no_session(real: Real, tmp_path: Path) -> None:
    real.wait_state("idle")
    wrapper = tmp_path / "claude"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} {KIT / "real_claude.py"} run {NAME} -- claude "$@"\n')
    wrapper.chmod(0o755)
    seen: list[int] = []

    def look() -> bool:
        seen.append(real.observer.observe().sessions)
        return False

    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    verdict = triage.run(triage.Settings(), real.node.home, env, "text", {}, look)
    assert verdict.line == "is done (needs review, priority 2)"
    assert set(seen) == {1}
