"""Typing into real panes of the fake: only an idle prompt of that session, literally, and once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from claire.fleet import keystrokes, tmux
from claire.fleet.host import Host
from claire.fleet.keystrokes import Typist
from claire.fleet.message import clean, message
from claire.fleet.obstacles import Obstacle, Outcome, Result
from tests.fleet.kit import FakeHost, FakePane, wait_for

UUID = "11111111-2222-3333-4444-555555555555"


def typist(host: FakeHost, **more: Callable[..., None]) -> Typist:
    return Typist(Host(host.env), **more)  # type: ignore[arg-type]


def send(host: FakeHost, session_id: str, text: str = "[claire:0] hello") -> Result | Obstacle:
    return typist(host).deliver(session_id, text, lambda: True)


def submissions(host: FakeHost) -> list[str]:
    return [line["display"] for line in host.history()]


def refused(result: Result | Obstacle, why: str) -> bool:
    return isinstance(result, Obstacle) and why in result.why


def test_delivered_and_acknowledged(host: FakeHost) -> None:
    pane = host.start_idle()
    assert send(host, pane.session_id) == Result(Outcome.DELIVERED)
    assert submissions(host) == ["[claire:0] hello"]


@pytest.mark.parametrize("knobs", [{"FAKE_OLD": "1"}, {"FAKE_STATUSLINE_LINES": "3"}, {"FAKE_SHELL_SECONDS": "600"}])
def test_other_looks(host: FakeHost, knobs: dict[str, str]) -> None:
    pane = host.start("-n", "my name", cwd=None, **knobs).wait_idle()
    if "FAKE_SHELL_SECONDS" in knobs:
        pane.submit("BGSHELL")
        pane.wait_status("shell")
        pane.wait_screen("1 shell")
    assert send(host, pane.session_id) == Result(Outcome.DELIVERED)


def test_without_a_registry_the_screen_decides(host: FakeHost) -> None:
    pane = host.start("--session-id", UUID, FAKE_NO_REGISTRY="1")
    pane.wait_screen("manual mode on")
    assert send(host, UUID) == Result(Outcome.DELIVERED)
    pane.submit("RUNBASH")
    pane.wait_screen("Tab to amend")
    assert refused(send(host, UUID), "permission prompt")
    assert host.victim.exists()


def test_claude_under_a_shell_under_a_server_in_another_locale(host: FakeHost) -> None:
    host.env |= {"LANG": "C", "LC_ALL": "C"}
    pane = host.run("sh", "-c", "claude --permission-mode default; :")
    pane.wait_screen("manual mode on")
    [seat] = Host(host.env).look().seats
    assert send(host, seat.entry.session_id, "[claire:0] två 🙂") == Result(Outcome.DELIVERED)


@pytest.mark.parametrize("size", [20, 780, 801, 5_000, 20_000])
def test_sizes(host: FakeHost, size: int) -> None:
    pane = host.start_idle()
    text = ("[claire:0] " + "word " * size)[:size].strip()
    assert send(host, pane.session_id, text) == Result(Outcome.DELIVERED)


def test_many_lines(host: FakeHost) -> None:
    pane = host.start_idle()
    assert send(host, pane.session_id, "[claire:0] one\ntwo") == Result(Outcome.DELIVERED)
    pane.wait_status("idle")
    assert send(host, pane.session_id, "[claire:1] one\n\ntwo\nthree\nfour") == Result(Outcome.DELIVERED)


# K4: the pane shows anything but an idle prompt


def prompt(text: str, status: str, waiting_for: str | None, shows: str) -> Callable[[FakePane], None]:
    def prepare(pane: FakePane) -> None:
        pane.submit(text)
        pane.wait_status(status, waiting_for)
        pane.wait_screen(shows)

    return prepare


def paste(text: str, shows: str) -> Callable[[FakePane], None]:
    def prepare(pane: FakePane) -> None:
        pane.paste(text)
        pane.wait_screen(shows)

    return prepare


def viewer(pane: FakePane) -> None:
    pane.keys("C-o")
    pane.wait_screen("detailed transcript")


def pane_command(*command: str) -> Callable[[FakePane], None]:
    def prepare(pane: FakePane) -> None:
        pane.host.tmux(*[word.replace("PANE", pane.id) for word in command])

    return prepare


K4 = {
    "working": (prompt("SLOW x", "busy", None, "esc to interrupt"), "working"),
    "permission": (prompt("RUNBASH", "waiting", "permission prompt", "Tab to amend"), "permission prompt"),
    "question": (prompt("ASKME", "waiting", "input needed", "Enter to select"), "input needed"),
    "dialog": (prompt("/model", "waiting", "dialog open", "Enter to save"), "dialog open"),
    "viewer": (viewer, "transcript view"),
    "draft": (paste("a draft", "a draft"), "a draft"),
    "shell mode": (paste("!", "for shell mode"), "a draft"),
    "copy mode": (pane_command("copy-mode", "-t", "PANE"), "copy mode"),
    "input off": (pane_command("select-pane", "-d", "-t", "PANE"), "switched off"),
    "synchronized": (
        pane_command("set-option", "-w", "-t", "PANE", "synchronize-panes", "on"),
        "synchronize-panes",
    ),
}


@pytest.mark.parametrize(("prepare", "why"), K4.values(), ids=K4)
def test_k4_wrong_state(host: FakeHost, prepare: Callable[[FakePane], None], why: str) -> None:
    pane = host.start_idle(FAKE_SLOW_SECONDS="600")
    session_id = pane.session_id
    prepare(pane)
    before = (pane.screen(), submissions(host))
    result = typist(host).deliver(session_id, "[claire:0] hello", lambda: pytest.fail("claimed"))
    assert isinstance(result, Obstacle) and result.passing and why in result.why
    assert (pane.screen(), submissions(host)) == before
    assert host.victim.exists()


def test_k4_a_shell_or_a_dead_pane(host: FakeHost) -> None:
    pane = host.start_idle()
    session_id = pane.session_id
    host.tmux("set-option", "-w", "-t", pane.id, "remain-on-exit", "on")
    os.kill(pane.pid, signal.SIGKILL)
    wait_for(lambda: not Host(host.env).look().seats, "the end of claude")
    assert refused(send(host, session_id), "no live Claude process")
    host.tmux("respawn-pane", "-k", "-t", pane.id, "sh", "-c", "exec cat")
    assert refused(send(host, session_id), "no live Claude process")
    assert "hello" not in pane.screen()


def test_k4_a_headless_run_in_a_pane(host: FakeHost) -> None:
    host.start("--session-id", UUID, FAKE_ENTRYPOINT="sdk-cli").wait_idle()
    assert refused(send(host, UUID), "no live Claude process")


def test_k4_the_prompt_that_opens_between_paste_and_enter(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keystrokes, "LANDED_S", 0.5)
    pane = host.start_idle(FAKE_PROMPT_ON_PASTE="1")
    result = send(host, pane.session_id)
    assert isinstance(result, Result) and result.outcome is Outcome.REFUSED
    pane.wait_screen("Do you want to proceed?")
    assert host.victim.exists() and submissions(host) == []


def test_k4_the_prompt_that_opens_after_the_last_look(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the guard inside the tmux server is left to see it."""
    pane = host.start_idle()
    press = tmux.press_enter

    def late(target: tmux.Pane, wanted: str) -> bool:
        os.kill(pane.pid, signal.SIGUSR1)
        pane.wait_screen("Do you want to proceed?")
        return press(target, wanted)

    monkeypatch.setattr(tmux, "press_enter", late)
    result = send(host, pane.session_id)
    assert isinstance(result, Result) and result.outcome is Outcome.REFUSED
    assert host.victim.exists() and submissions(host) == []


# K3: the pane is not the one that was meant


def test_k3_a_longer_named_sibling(host: FakeHost) -> None:
    pane, sibling = host.start_idle(name="api"), host.start_idle(name="api-2")
    session_id = pane.session_id
    host.end("api")
    wait_for(lambda: len(Host(host.env).look().seats) == 1, "the end of api")
    assert refused(send(host, session_id), "no live Claude process")
    assert "hello" not in sibling.screen() and submissions(host) == []


def test_k3_pane_id_reused_after_a_server_restart(host: FakeHost) -> None:
    pane = host.start_idle()
    session_id, pane_id = pane.session_id, pane.id
    host.close()
    wait_for(lambda: not Host(host.env).look().seats, "the end of the server")
    other = host.start_idle()
    assert other.id == pane_id
    assert refused(send(host, session_id), "no live Claude process")
    assert "hello" not in other.screen() and submissions(host) == []


def test_k3_the_pane_changes_hands_while_typing(host: FakeHost) -> None:
    pane = host.start_idle()

    def replaced(step: str) -> None:
        if step == "landed":
            host.tmux("respawn-pane", "-k", "-t", pane.id, "claude", "--permission-mode", "default")
            pane.wait_idle()
            pane.paste("[claire:0] hello")
            pane.wait_screen("hello")

    result = typist(host, reached=replaced).deliver(pane.session_id, "[claire:0] hello", lambda: True)
    assert isinstance(result, Result) and result.outcome is Outcome.REFUSED
    assert submissions(host) == []


def test_k3_one_session_in_two_panes(host: FakeHost) -> None:
    for name in ("one", "two"):
        host.start("--resume", UUID, name=name).wait_idle()
    assert refused(send(host, UUID), "ambiguous: open in 2 processes")
    assert submissions(host) == []


# K5: text with a meaning

LITERAL = [
    "-n",
    "Enter",
    "a #{pane_id} #(touch x) ; kill-server ;",
    "emoji 🙂 två \u202e bidi",
    "C-c ^C",
    "a\tb",
    "ends in ;",
    "'\"`$(touch x)`\\",
    "%H %1",
]


@pytest.mark.parametrize("text", LITERAL)
def test_k5_literal(host: FakeHost, text: str) -> None:
    pane = host.start_idle()
    framed = message(text, "0123456789")
    assert isinstance(framed, str)
    assert send(host, pane.session_id, framed) == Result(Outcome.DELIVERED)
    assert submissions(host) == [f"[claire:01234567] {clean(text)}"]


def test_k5_a_paste_that_would_escape_does_not(host: FakeHost) -> None:
    pane = host.start_idle()
    framed = message("x\x1b[201~\rRUNBASH\r", "0123456789")
    assert isinstance(framed, str)
    assert send(host, pane.session_id, framed) == Result(Outcome.DELIVERED)
    assert submissions(host) == ["[claire:01234567] x[201~RUNBASH"]


def test_raw_commands_are_acknowledged(host: FakeHost) -> None:
    pane = host.start_idle()
    before = pane.session_id
    assert send(host, before, "/clear") == Result(Outcome.DELIVERED)
    wait_for(lambda: pane.session_id != before, "a new session id")


def test_raw_shell_mode(host: FakeHost) -> None:
    pane = host.start_idle()
    assert send(host, pane.session_id, "!rm -r victim") == Result(Outcome.DELIVERED)
    wait_for(lambda: not host.victim.exists(), "the command")


# one sender a pane, one Enter


def test_two_senders(host: FakeHost) -> None:
    pane = host.start_idle()
    session_id = pane.session_id
    results: list[Result | Obstacle] = []
    texts = [f"[claire:{n}] hello {n}" for n in range(2)]
    threads = [
        threading.Thread(target=lambda text=text: results.append(send(host, session_id, text))) for text in texts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    delivered = [result for result in results if result == Result(Outcome.DELIVERED)]
    assert len(delivered) == len(submissions(host)) >= 1
    assert all(shown in texts for shown in submissions(host))


def test_no_second_enter_without_an_answer(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    pane = host.start_idle()
    monkeypatch.setattr(keystrokes, "ACKNOWLEDGED_S", 0.2)
    monkeypatch.setattr(keystrokes, "submitted", lambda *_: False)
    result = send(host, pane.session_id)
    assert isinstance(result, Result) and result.outcome is Outcome.UNVERIFIED
    assert submissions(host) == ["[claire:0] hello"]


def test_a_slow_screen_gets_no_enter(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keystrokes, "LANDED_S", 0.5)
    pane = host.start_idle(FAKE_REDRAW_SECONDS="9")
    result = send(host, pane.session_id)
    assert isinstance(result, Result) and result.outcome is Outcome.REFUSED
    assert submissions(host) == []
