"""The demo's hosts: each a folder with a node of its own, its daemon, and stand-in sessions in a private tmux."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import IO, Any

import claire
from claire.config import Home
from claire.fleet import processes
from claire.node import assignments, broadcasts, log, sessions
from claire.node.errors import ClaireError
from claire.node.node import Node
from claire.sync import health
from claire.ui import login

PATIENCE_S = 180.0
POLL_S = 0.1
COMMAND_S_MAX = 180.0
TIDY_S_MAX = 60.0
COLUMNS, ROWS = 100, 30
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "SYSTEMROOT")
WITHOUT_RCLAUDE = "[fleet.rclaude]\nlist = []\n"  # one that is installed here knows nothing of this fleet


class Failed(ClaireError):
    """The demo did not go as its story says."""


class Stage:
    """The folder everything happens in, and the janitor that removes it."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="claire-demo-"))
        self.tmux = shutil.which("tmux")
        self._terminals: list[int] = []
        self.janitor = subprocess.Popen(
            [sys.executable, "-m", "claire.demo.janitor", str(self.root)],
            env={**os.environ, "PYTHONPATH": source()},
            stdin=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )

    def tidy(self) -> None:
        """End everything, remove the folder, and wait until that is done."""
        assert self.janitor.stdin
        self.janitor.stdin.close()
        self.janitor.wait(TIDY_S_MAX)
        for terminal in self._terminals:
            os.close(terminal)

    def start(self, argv: Sequence[str], env: dict[str, str], **how: Any) -> None:
        """A process that is ended with the demo."""
        started = subprocess.Popen(argv, env=env, start_new_session=True, **how)
        self.register(started.pid)

    def register(self, pid: int) -> None:
        process = processes.find(pid)
        if process is not None:
            self._tell(f"process {pid} {process.start}")

    def register_tmux(self, socket: Path) -> None:
        self._tell(f"tmux {socket}")

    def terminal(self) -> int:
        """The end a program uses, where there is no tmux to show it."""
        ours, theirs = pty.openpty()
        self._terminals.append(ours)
        return theirs

    def _tell(self, line: str) -> None:
        janitor: IO[str] | None = self.janitor.stdin
        assert janitor
        janitor.write(f"{line}\n")
        janitor.flush()


class Host:
    """One node, as its user sees it."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage, self.name, self.root = stage, name, stage.root / name
        self.sessions: dict[str, str] = {}  # name -> session id at its start
        for folder in ("home", "claude", "tmux", "work"):
            (self.root / folder).mkdir(parents=True)
        self.env = {key: os.environ[key] for key in PASSED_ON if key in os.environ} | {
            "HOME": str(self.root / "home"),
            "CLAIRE_HOME": str(self.root / "node"),
            "CLAIRE_NAME": name,
            "CLAUDE_CONFIG_DIR": str(self.root / "claude"),
            "TMUX_TMPDIR": str(self.root / "tmux"),
            "TERM": "xterm-256color",
            "PYTHONPATH": source(),
            "PYTHONUTF8": "1",
        }
        self.home = Home.from_env(self.env)
        self.claire("init")
        Path(self.home.settings_file).write_text(WITHOUT_RCLAUDE)

    def claire(self, *argv: str, session: str = "", fine: Collection[int] = (0,)) -> Any:
        """Run one command, as a person here would or as an agent in that session would; its data.

        Failed if it ends with a code that is not `fine`.
        """
        end = argv.index("--") if "--" in argv else len(argv)
        env = {**self.env, "CLAUDE_CODE_SESSION_ID": self.sessions[session]} if session else self.env
        done = subprocess.run(
            [sys.executable, "-m", "claire", *argv[:end], "--json", *argv[end:]],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_S_MAX,
        )
        if done.returncode not in fine:
            raise Failed(f"{self.name}: claire {' '.join(argv)}: {done.stderr.strip()}")
        return json.loads(done.stdout)["data"]

    def start_daemon(self) -> None:
        argv = [sys.executable, "-m", "claire", "node", "--port", "0", "--sync-host", "127.0.0.1", "--sync-port", "0"]
        with (self.root / "node.log").open("ab") as out:
            self.stage.start(argv, self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def runtime(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(Path(self.home.runtime, "node.json").read_text())
        except FileNotFoundError:
            return {}
        return found

    def sign_in_link(self) -> str:
        with Node(self.home) as node:
            return login.link(node, self.runtime()["ui"])

    def etag(self) -> str:
        with Node(self.home) as node, node.reading() as db:
            return log.etag(db)

    def dial(self, other: Host, yes: bool) -> None:
        with Node(self.home) as node, Node(other.home) as peer:
            health.ignore(node, peer.machine_id, not yes)

    # --- sessions ---

    def start_session(self, name: str) -> None:
        self.sessions[name] = str(uuid.uuid4())
        argv = [sys.executable, "-m", "claire.demo.session", name, self.sessions[name], str(self._cues(name))]
        folder = self.root / "work" / name
        folder.mkdir()
        if self.stage.tmux is None:
            terminal = self.stage.terminal()
            self.stage.start(argv, self.env, cwd=folder, stdin=terminal, stdout=terminal, stderr=subprocess.DEVNULL)
            os.close(terminal)
            return
        if len(self.sessions) == 1:
            self.stage.register_tmux(self.socket)
        shown = self.tmux(
            *("new-session", "-d", "-P", "-F", "#{pane_pid} #{pid}", "-s", name, "-x", str(COLUMNS), "-y", str(ROWS)),
            *("-c", str(folder), *argv),
        )
        for pid in shown.split():  # its own, and the server's
            self.stage.register(int(pid))

    @property
    def socket(self) -> Path:
        return self.root / "tmux" / f"tmux-{os.getuid()}" / "default"

    def tmux(self, *argv: str) -> str:
        command = ["tmux", "-u", "-f", os.devnull, *argv]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False, timeout=COMMAND_S_MAX)
        if done.returncode:
            raise Failed(f"{self.name}: tmux {argv[0]}: {done.stderr.strip()}")
        return done.stdout

    def cue(self, session: str, do: str, **more: Any) -> None:
        """Tell a stand-in what to do next."""
        with self._cues(session).open("a") as file:
            file.write(json.dumps({"do": do, **more}) + "\n")

    def _cues(self, session: str) -> Path:
        return self.root / f"{session}.cues"

    def state_of(self, session: str) -> str:
        """What the log of this node says of a session of any host."""
        with Node(self.home) as node, node.reading() as db:
            found = [row["state"] for row in sessions.list_sessions(db) if row["name"] == session]
        return str(found[0]) if found else ""

    def task_of(self, session_id: str) -> tuple[str, str]:
        """(the session that continues this one now, the task it is bound to), as this node knows it."""
        with Node(self.home) as node, node.reading() as db:
            held = assignments.of_session(db, session_id)
            return (held["current_session"], held["task_id"]) if held else ("", "")

    def outcomes(self, broadcast_id: str) -> list[str | None]:
        with Node(self.home) as node, node.reading() as db:
            return [target["outcome"] for target in broadcasts.find(db, broadcast_id)["targets"]]


def source() -> str:
    """Where this package lies, so that it is found from any folder."""
    return os.path.dirname(os.path.dirname(os.path.abspath(claire.__file__)))


def until(holds: Callable[[], bool], what: str) -> float:
    """Wait until it is so; how many seconds that took."""
    start = time.monotonic()
    while not holds():
        if time.monotonic() - start > PATIENCE_S:
            raise Failed(f"{what}: not within {PATIENCE_S:.0f} s")
        time.sleep(POLL_S)
    return time.monotonic() - start


def equal(hosts: Sequence[Host]) -> bool:
    """All hold the same set of events."""
    return len({host.etag() for host in hosts}) == 1
