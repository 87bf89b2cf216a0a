"""Real nodes for tests: each its own process, database and key, on loopback ports the kernel picks."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from claire.config import Home
from claire.node import log
from claire.node.node import Node

PATIENCE_S = 180.0  # waited for only as long as it takes; a machine that is busy with other tests takes long
STOP_S = 5.0


class ProcessNode:
    """One home folder, and the daemon that may run in it."""

    def __init__(self, root: Path, name: str, **env: str) -> None:
        self.name = name
        # What lives on this host is not theirs to record.
        nobody = {"HOME": str(root / "nobody"), "TMUX_TMPDIR": str(root / "nobody")}
        self.env = {**os.environ, **nobody, "CLAIRE_HOME": str(root / name), "CLAIRE_NAME": name, **env}
        self.home = Home.from_env(self.env)
        self.log = root / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.sync_port = 0
        self.python, self.module = [sys.executable], "claire"
        self.claire("init")

    def claire(self, *argv: str, code: int = 0) -> str:
        """Run one command; its stdout. Fails if it ends with another code."""
        done = subprocess.run(
            [*self.python, "-m", self.module, *argv], env=self.env, capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert done.returncode == code, f"claire {argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *argv: str, code: int = 0) -> Any:
        return json.loads(self.claire(*argv, "--json", code=code))["data"]

    def start(self) -> None:
        """The daemon; its sync listener keeps its port over restarts."""
        argv = [*self.python, "-m", self.module, "node", "--port", "0", "--sync-port", str(self.sync_port)]
        with self.log.open("ab") as out:
            # Its own process group beside ours: one that nobody watches over could not be stopped by hand.
            process = self.process = subprocess.Popen(argv, env=self.env, stdout=out, stderr=out, process_group=0)
        until(lambda: self.urls().get("pid") == process.pid or process.poll() is not None, why=self.log.read_text)
        assert process.poll() is None, self.log.read_text()

    def urls(self) -> dict[str, Any]:
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            found: dict[str, Any] = json.loads(Path(self.home.runtime, "node.json").read_text())
            return found
        return {}

    def sync_url(self) -> str:
        until(lambda: bool(self.urls().get("sync")), why=self.log.read_text)
        url = str(self.urls()["sync"][0])
        self.sync_port = int(url.rpartition(":")[2])
        return url

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Send a signal; how many seconds it took to end, cleanly, not counting those in which others had the CPU."""
        assert self.process is not None
        process, start, waited = self.process, time.monotonic(), waited_s(self.process.pid)
        process.send_signal(number)
        until(lambda: os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None)
        took = time.monotonic() - start - (waited_s(process.pid) - waited)
        self.process = None
        assert process.wait() == 0, self.log.read_text()
        return took

    def etag(self) -> str:
        with Node(self.home) as node, node.reading() as db:
            return log.etag(db)

    def count(self) -> int:
        with contextlib.closing(sqlite3.connect(self.home.database, timeout=PATIENCE_S)) as db:
            (events,) = db.execute("SELECT count(*) FROM events").fetchone()
            return int(events)

    def never_dial(self, other: "ProcessNode") -> None:
        """Cut the direct way to another node, in this direction; before `start`."""
        with Node(other.home) as node:
            machine_id = node.machine_id
        self.sql("INSERT OR REPLACE INTO peers (machine_id, ignored) VALUES (?, 1)", machine_id)

    def sql(self, statement: str, *values: str) -> None:
        """Change a local table behind the node's back."""
        with contextlib.closing(sqlite3.connect(self.home.database, timeout=PATIENCE_S)) as db, db:
            db.execute(statement, values)

    def projects(self) -> set[str]:
        return {row["name"] for row in self.json("project", "list")}


def waited_s(pid: int) -> float:
    """How long a process was ready to run and others had the CPU; 0 where the kernel does not say."""
    with contextlib.suppress(FileNotFoundError):
        _, waited_ns, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
        return int(waited_ns) / 1e9
    return 0.0


@cache
def may_mount() -> bool:
    """Root alone is not enough: a container may keep it from that."""
    probe = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/tmp"]
    root = os.geteuid() == 0 and shutil.which("unshare")
    return bool(root) and subprocess.run(probe, capture_output=True).returncode == 0


def pair(inviter: ProcessNode, joiner: ProcessNode) -> None:
    joiner.claire("peer", "join", inviter.claire("peer", "invite").strip())


def equal(*nodes: ProcessNode) -> bool:
    return len({node.etag() for node in nodes}) == 1


def until(holds: Callable[[], bool], seconds: float = PATIENCE_S, why: Callable[[], str] = lambda: "") -> None:
    """Wait for a condition; on timeout fail with what `why` says."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s\n{why()}"
        time.sleep(0.02)
