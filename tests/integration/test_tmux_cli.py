"""The commands that reach a live session, as a person types them, over a real tmux."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet.kit import FakeHost, host

__all__ = ["host"]
ROOT = Path(__file__).resolve().parents[2]


class Shell:
    def __init__(self, env: dict[str, str]) -> None:
        self.env = env

    def __call__(self, *argv: str, code: int = 0, stdin: str | None = None) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "tests.integration.patient", *argv],
            env=self.env, cwd=ROOT, input=stdin, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout


@pytest.fixture
def claire(host: FakeHost) -> Shell:
    shell = Shell({**host.env, "CLAIRE_HOME": str(host.root / "node"), "NO_COLOR": "1"})
    shell("init")
    return shell


def typed(host: FakeHost) -> list[str]:
    return [line["display"].partition("] ")[2] for line in host.history()]


def test_send_to_an_idle_session(host: FakeHost, claire: Shell) -> None:
    pane = host.start_idle(name="work")
    claire("pull")
    shown = claire("send", "work", "--", "hello", "there")
    assert "✓ delivered" in shown
    assert typed(host) == ["hello there"]
    sent = json.loads(claire("send", pane.session_id[:8], "--json", "-", stdin="from a pipe\nin two lines\n"))["data"]
    assert [target["outcome"] for target in sent["targets"]] == ["delivered"]


def test_exit_codes(host: FakeHost, claire: Shell) -> None:
    pane = host.start_idle(name="work")
    claire("pull")
    claire("send", "nobody", "--", "hello", code=3)
    claire("send", "work", "--", "/clear", code=2)
    claire("send", "work", "--expire", "soon", "--", "hello", code=2)
    pane.paste("a draft")
    pane.wait_screen("a draft")
    shown = claire("send", "work", "--expire", "1s", "--wait", "--", "hello", code=5)
    assert "✕ expired" in shown and "a draft stands in the composer" in shown
    assert typed(host) == []


def test_raw_commands(host: FakeHost, claire: Shell) -> None:
    pane = host.start_idle(name="work")
    old = pane.session_id
    claire("pull")
    claire("send", "work", "--raw", "--", "/clear")
    claire("pull")
    assert pane.session_id != old
    shown = json.loads(claire("session", "show", "work", "--json"))["data"]
    assert [link["old"] for link in shown["lineage"]] == [old]


def test_broadcast_lists_first_and_sends_with_yes(host: FakeHost, claire: Shell) -> None:
    for name in ("one", "two"):
        host.start_idle("-n", name, name=name)
    claire("pull")
    claire("group", "add", "all", str(host.project))
    assert "one" in claire("broadcast", "all", "--", "stop")
    assert typed(host) == []
    assert claire("broadcast", "all", "--yes", "--", "stop").count("✓ delivered") == 2
    assert typed(host) == ["stop", "stop"]


def test_assign_with_its_brief(host: FakeHost, claire: Shell) -> None:
    pane = host.start_idle(name="work")
    claire("pull")
    claire("project", "new", "api")
    task = json.loads(claire("task", "add", "api", "Fix the login", "--desc", "It is broken.", "--json"))["data"]["id"]
    claire("assign", task[:8], "work", "--brief")
    pane.wait_screen("Fix the login")
    assert host.history()


def test_a_pane_stays_here_unless_it_is_shared(host: FakeHost, claire: Shell) -> None:
    pane = host.start_idle(name="work")
    claire("pull")
    pane.submit("the token=abc123 is bad")
    pane.wait_screen("OK got")
    assert "token=abc123" in claire("session", "tail", "work")
    assert "abc123" not in claire("log", "--json")
    claire("session", "tail", "work", "-n", "20", "--share")
    shared = claire("log", "--json")
    assert "OK got" in shared and "abc123" not in shared


def test_hooks(host: FakeHost, claire: Shell) -> None:
    (host.config / "settings.json").write_text('{\n  "model": "opus"\n}\n')
    before = (host.config / "settings.json").read_bytes()
    assert "+" in claire("hook", "install", "--dry-run")
    assert (host.config / "settings.json").read_bytes() == before
    assert "installed in" in claire("hook", "install")
    assert "● installed" in claire("hook", "status")
    assert claire("hook", "install") == ""
    claire("hook", "uninstall")
    assert (host.config / "settings.json").read_bytes() == before
