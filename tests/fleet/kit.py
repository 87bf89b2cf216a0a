"""A fake Claude Code in a private tmux server, driven and looked at like the real one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from claire.fleet import keystrokes, tmux

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("CLAIRE_SHARED") or REPOSITORY.parent / "shared")
if not SHARED.is_dir():  # a worktree lies one folder deeper
    SHARED = REPOSITORY.parents[1] / "shared"
KIT = SHARED / "claude-code"
CAPTURES = KIT / "captures"
needs_kit = pytest.mark.skipif(not KIT.is_dir(), reason=f"no Claude Code test kit at {KIT}: set CLAIRE_SHARED")
TIMEOUT_S = 180.0  # waited for only as long as it takes
T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str = "the condition") -> T:
    """Everything here happens in other processes, so look until it is so."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            if result := condition():
                return result
        except (OSError, ValueError, LookupError):
            pass  # a file that is not there yet
        time.sleep(0.02)
    raise AssertionError(f"timeout waiting for {what}")


def listening(path: str) -> bool:
    """Whether a server answers at this socket."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True


class FakePane:
    """One pane of the private server."""

    def __init__(self, host: FakeHost, pane_id: str) -> None:
        self.host, self.id = host, pane_id

    @property
    def pid(self) -> int:
        return int(self.host.tmux("display-message", "-p", "-t", self.id, "#{pane_pid}"))

    def keys(self, *keys: str) -> None:
        self.host.tmux("send-keys", "-t", self.id, *keys)

    def paste(self, text: str) -> None:
        self.host.tmux("load-buffer", "-b", "kit", "-", stdin=text)
        self.host.tmux("paste-buffer", "-p", "-r", "-d", "-b", "kit", "-t", self.id)

    def screen(self) -> str:
        return self.host.tmux("capture-pane", "-p", "-t", self.id)

    def wait_screen(self, text: str) -> None:
        wait_for(lambda: text in self.screen(), f"{text!r} on screen")

    def submit(self, text: str) -> None:
        """As a person would: paste, look, Enter."""
        self.paste(text)
        self.wait_screen(text.splitlines()[0][:40])
        self.keys("Enter")

    def registry(self) -> dict[str, Any]:
        path = self.host.config / "sessions" / f"{self.pid}.json"
        entry: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return entry

    @property
    def session_id(self) -> str:
        return str(self.registry()["sessionId"])

    def wait_status(self, status: str, waiting_for: str | None = None) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            entry = self.registry()
            return entry if (entry["status"], entry.get("waitingFor")) == (status, waiting_for) else None

        found = wait_for(reached, f"status {status}/{waiting_for}")
        assert found
        return found

    def wait_idle(self) -> FakePane:
        self.wait_status("idle")
        self.wait_screen("on")
        return self


class FakeHost:
    """A home folder with `claude` on PATH, a project, and a tmux server of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config"
        self.project = root / "project"
        self.victim = self.project / "victim"
        for folder in (self.config, self.victim, root / "bin", root / "tmux"):
            folder.mkdir(parents=True)
        (root / "bin" / "claude").symlink_to(KIT / "fake_claude.py")
        path = [str(root / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        self.env = {
            "HOME": str(root),
            "CLAUDE_CONFIG_DIR": str(self.config),
            "PATH": os.pathsep.join(path),
            "TMUX_TMPDIR": str(root / "tmux"),
            "SHELL": "/bin/sh",
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "PYTHONDONTWRITEBYTECODE": "1",
            "FAKE_CMD": f"rm -rf {self.victim}",
        }
        self._started = False

    @property
    def socket(self) -> str:
        return str(self.root / "tmux" / f"tmux-{os.getuid()}" / "kit")

    def tmux(self, *arguments: str, stdin: str | None = None, env: dict[str, str] | None = None) -> str:
        command = ["tmux", "-u", "-L", "kit", "-f", os.devnull, *arguments]
        result = subprocess.run(command, env=env or self.env, input=stdin, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout.rstrip("\n")

    def start(self, *arguments: str, name: str = "kit", cwd: Path | None = None, **knobs: str) -> FakePane:
        """A new tmux session with Claude in it, or with another program when `argv` says so."""
        return self.run("claude", "--permission-mode", "default", *arguments, name=name, cwd=cwd, **knobs)

    def run(self, *argv: str, name: str = "kit", cwd: Path | None = None, **knobs: str) -> FakePane:
        set_env = [item for key, value in knobs.items() for item in ("-e", f"{key}={value}")]
        pane_id = self.tmux(
            *("new-session", "-d", "-P", "-F", "#{pane_id}", "-s", name, "-x", "100", "-y", "40"),
            *("-c", str(cwd or self.project), *set_env, *argv),
        )
        self._started = True
        return FakePane(self, pane_id)

    def start_idle(self, *arguments: str, name: str = "kit", **knobs: str) -> FakePane:
        return self.start(*arguments, name=name, cwd=None, **knobs).wait_idle()

    def end(self, name: str) -> None:
        """Kill a session; with the last one the server goes, and whoever came before it is gone would meet its end."""
        last = self.tmux("list-sessions", "-F", "#{session_name}") == name
        self.tmux("kill-session", "-t", f"={name}")
        if last:
            wait_for(lambda: not listening(self.socket), "the end of the tmux server")

    def history(self) -> list[dict[str, Any]]:
        path = self.config / "history.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def close(self) -> None:
        if self._started:
            command = ["tmux", "-L", "kit", "kill-server"]
            subprocess.run(command, env=self.env, check=False, capture_output=True)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHost]:
    if not KIT.is_dir():
        pytest.skip(f"no Claude Code test kit at {KIT}: set CLAIRE_SHARED")
    for module, name in ((keystrokes, "LANDED_S"), (keystrokes, "ACKNOWLEDGED_S"), (tmux, "TIMEOUT_S")):
        monkeypatch.setattr(module, name, TIMEOUT_S)
    host = FakeHost(tmp_path)
    yield host
    host.close()
