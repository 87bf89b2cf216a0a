"""A real tmux server: panes and their flags, a paste, the guarded Enter."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from claire.fleet import tmux
from claire.fleet.host import Host
from tests.fleet.kit import FakeHost, FakePane, wait_for


def look(host: FakeHost, pane: FakePane) -> tmux.Pane:
    found = tmux.find_pane(host.socket, pane.id)
    assert found
    return found


def test_panes_of_all_sockets(host: FakeHost) -> None:
    pane = host.run("sh", "-c", "exec cat", name="späce|pipe")
    env = {"TMUX_TMPDIR": host.env["TMUX_TMPDIR"]}
    assert tmux.sockets(env) == [host.socket]
    [found] = tmux.panes(host.socket)
    assert (found.id, found.session_name, found.pid) == (pane.id, "späce|pipe", pane.pid)
    assert found.device == os.stat(found.tty).st_rdev
    flags = (found.dead, found.in_mode, found.input_off, found.synchronized, found.width)
    assert flags == (False, False, False, False, 100)


def test_a_window_of_two_sessions_is_one_pane(host: FakeHost) -> None:
    host.run("sh", "-c", "exec cat", name="one")
    host.tmux("new-session", "-d", "-t", "one", "-s", "two")
    assert len(tmux.panes(host.socket)) == 1


def test_flags(host: FakeHost) -> None:
    pane = host.run("sh", "-c", "exec cat")
    host.tmux("copy-mode", "-t", pane.id)
    assert look(host, pane).in_mode
    host.tmux("send-keys", "-t", pane.id, "-X", "cancel")
    host.tmux("select-pane", "-d", "-t", pane.id)
    assert look(host, pane).input_off
    host.tmux("select-pane", "-e", "-t", pane.id)
    host.tmux("set-option", "-w", "-t", pane.id, "synchronize-panes", "on")
    assert look(host, pane).synchronized
    host.tmux("set-option", "-w", "-t", pane.id, "remain-on-exit", "on")
    os.kill(pane.pid, 9)
    wait_for(lambda: look(host, pane).dead, "a dead pane")


def test_no_server_and_no_socket(host: FakeHost) -> None:
    with pytest.raises(tmux.TmuxError):
        tmux.panes(host.socket)
    assert tmux.sockets({"TMUX_TMPDIR": str(host.root / "nowhere")}) == []


def test_w9_a_server_that_another_user_may_have_put_there_is_not_spoken_to(host: FakeHost) -> None:
    """In /tmp anybody may make our folder before we do, and a server may have its clients run a command."""
    host.run("sh", "-c", "exec cat")
    env, folder = {"TMUX_TMPDIR": host.env["TMUX_TMPDIR"]}, Path(host.socket).parent
    folder.chmod(0o777)
    assert tmux.sockets(env) == []
    folder.chmod(0o700)
    assert tmux.sockets(env) == [host.socket]
    link = host.root / "linked" / folder.name
    link.parent.mkdir()
    link.symlink_to(folder)
    assert tmux.sockets({"TMUX_TMPDIR": str(link.parent)}) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away takes root")
def test_w9_a_socket_of_another_user_is_not_spoken_to(host: FakeHost) -> None:
    host.run("sh", "-c", "exec cat")
    try:
        os.chown(host.socket, 65534, 65534)
        assert tmux.sockets({"TMUX_TMPDIR": host.env["TMUX_TMPDIR"], "TMUX": f"{host.socket},1,0"}) == []
        assert Host({**host.env, "TMUX_TMPDIR": "/nonexistent"}).look().seats == ()
    finally:
        os.chown(host.socket, os.getuid(), -1)


def test_a_row_that_is_no_pane() -> None:
    assert tmux.parse_pane("s", "") is None
    assert tmux.parse_pane("s", "0|/dev/x|1|0|0|0|0|80|1|@1|a") is None


@pytest.mark.parametrize("text", ["hello", "a;", "#{pid} ; kill-server", "-n", "Enter", "två 🙂 rader", "%H #[x],}"])
def test_paste_and_guarded_enter(host: FakeHost, text: str) -> None:
    pane = host.start_idle()
    tmux.paste(look(host, pane), text)
    pane.wait_screen(text[:4])
    assert not tmux.press_enter(look(host, pane), "something else")
    assert tmux.press_enter(look(host, pane), text[:20])
    wait_for(lambda: [line["display"] for line in host.history()] == [text], "the submission")


def test_old_glyph(host: FakeHost) -> None:
    pane = host.start_idle(FAKE_OLD="1")
    tmux.paste(look(host, pane), "hello")
    pane.wait_screen("hello")
    assert tmux.press_enter(look(host, pane), "hello")


def test_enter_is_refused_in_a_dialog(host: FakeHost) -> None:
    pane = host.start_idle()
    pane.submit("RUNBASH")
    pane.wait_screen("Esc to cancel")
    assert not tmux.press_enter(look(host, pane), "RUNBASH")
    assert not tmux.press_enter(look(host, pane), " 1. Yes")
    assert host.victim.exists()


def test_enter_is_refused_when_the_pane_has_changed_hands(host: FakeHost) -> None:
    pane = host.start_idle()
    before = look(host, pane)
    pane.paste("hello")
    pane.wait_screen("hello")
    host.tmux("set-option", "-w", "-t", pane.id, "synchronize-panes", "on")
    assert not tmux.press_enter(before, "hello")
    host.tmux("set-option", "-w", "-t", pane.id, "synchronize-panes", "off")
    host.tmux("respawn-pane", "-k", "-t", pane.id, "claude", "--permission-mode", "default")
    pane.wait_idle()
    pane.paste("hello")
    pane.wait_screen("hello")
    assert not tmux.press_enter(before, "hello")
    assert tmux.press_enter(look(host, pane), "hello")
