"""One look at this host: live, ended, headless, unregistered, unreachable."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from claire.fleet import tmux
from claire.fleet.host import SILENT_S, Host
from tests.fleet.kit import FakeHost, wait_for


def test_live_and_ended(host: FakeHost) -> None:
    pane = host.start_idle()
    session_id = pane.session_id
    eyes = Host(host.env)
    [seat] = eyes.look().of_session(session_id)
    assert seat.pane and seat.pane.id == pane.id
    os.kill(pane.pid, signal.SIGKILL)
    wait_for(lambda: [entry.session_id for entry in eyes.look().ended] == [session_id], "the end")
    assert eyes.look().seats == ()


def test_headless_and_triage_runs_are_no_sessions(host: FakeHost) -> None:
    host.start("--session-id", "11111111-2222-3333-4444-555555555555", FAKE_ENTRYPOINT="sdk-cli").wait_idle()
    triage = host.root / "triage"
    triage.mkdir()
    host.start(name="triage", cwd=triage).wait_idle()
    sight = Host(host.env, not_sessions=(str(triage),)).look()
    assert (sight.seats, sight.ended, sight.unnamed) == ((), (), ())


def test_claude_without_a_registry(host: FakeHost) -> None:
    named = "11111111-2222-3333-4444-555555555555"
    host.start("--session-id", named, name="one", FAKE_NO_REGISTRY="1").wait_screen("manual mode on")
    other = host.start(name="two", FAKE_NO_REGISTRY="1")
    other.wait_screen("manual mode on")
    host.run("sh", "-c", "exec cat", name="three")
    sight = Host({**host.env, "CLAUDE_CONFIG_DIR": ""}).look()
    assert [seat.entry.session_id for seat in sight.seats] == [named]
    assert [seat.pane.id for seat in sight.unnamed if seat.pane] == [other.id]


def test_claude_without_a_registry_below_other_programs(host: FakeHost) -> None:
    """As a launcher starts it, from whatever thread."""
    named = "11111111-2222-3333-4444-555555555555"
    start = f"subprocess.run(['claude', '--session-id', '{named}', '--permission-mode', 'default'])"
    launch = f"import subprocess, threading; t = threading.Thread(target=lambda: {start}); t.start(); t.join()"
    host.run("sh", "-c", f'{sys.executable} -c "{launch}"; :', FAKE_NO_REGISTRY="1").wait_screen("manual mode on")
    [seat] = Host(host.env).look().seats
    assert (seat.entry.session_id, seat.ambiguous) == (named, "")


def test_homes_of_others_are_found_by_their_processes(host: FakeHost) -> None:
    host.start(FAKE_NO_REGISTRY="1").wait_screen("manual mode on")
    eyes = Host({**host.env, "CLAUDE_CONFIG_DIR": ""})
    assert eyes.homes == []
    eyes.look()
    assert eyes.homes == [host.config]


def test_an_old_socket_is_no_problem_but_a_silent_server_is(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.run("sh", "-c", "exec cat")
    now = [0.0]
    eyes = Host(host.env, monotonic=lambda: now[0])
    assert eyes.look().problems == ()
    server = int(host.tmux("display-message", "-p", "#{pid}"))
    monkeypatch.setattr(tmux, "TIMEOUT_S", 0.3)
    os.kill(server, signal.SIGSTOP)
    try:
        assert "did not answer" in eyes.look().problems[0]
    finally:
        os.kill(server, signal.SIGCONT)
        monkeypatch.undo()  # a busy machine may be as slow as a silent server
    assert eyes.look().problems  # not asked again at once
    now[0] += SILENT_S
    assert eyes.look().problems == ()
    host.close()
    assert eyes.look().problems == ()


def test_servers_elsewhere_are_found_by_who_runs_in_them(host: FakeHost) -> None:
    pane = host.start_idle()
    [seat] = Host({**host.env, "TMUX_TMPDIR": str(host.root / "elsewhere")}).look().seats
    assert seat.pane and (seat.pane.id, seat.pane.socket) == (pane.id, host.socket)


def test_no_tmux_no_claude_no_home(tmp_path: Path) -> None:
    sight = Host({"HOME": str(tmp_path), "TMUX_TMPDIR": str(tmp_path)}).look()
    assert (sight.seats, sight.problems) == ((), ())
