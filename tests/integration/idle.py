"""What an idle fleet costs: `python -m tests.integration.idle --for 10m --sessions 50`.

Real processes in real tmux panes, each with the files Claude Code publishes and a transcript, watched by a daemon that
has settled. It ends well if no event was written and the daemon, with what it ran, took less than one percent of a
core. CPU time of the processes themselves is counted, so a busy machine does not falsify it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from claire.config import Home
from claire.fleet import processes
from claire.fleet.observer import spool_path
from claire.node.node import Node
from claire.node.sessions import Observation, observe
from tests.integration.nodes import ProcessNode, until
from tests.integration.soak import seconds

CORE_SHARE_MAX = 0.01
SETTLES_S = 15.0  # three passes: what the start itself costs is not idling
TRANSCRIPT_BYTES = 1_000_000  # as real ones have
RESTED_MS = 600_000
_UTIME = 11  # utime, stime, and those of children that ended, counted after the command's name


@dataclass(frozen=True)
class Cost:
    """What a stretch of time came to."""

    seconds: float
    events: int
    daemon_s: float
    tmux_s: float

    @property
    def share(self) -> float:
        """Of one core."""
        return self.daemon_s / self.seconds

    @property
    def well(self) -> bool:
        return self.events == 0 and self.share < CORE_SHARE_MAX

    def __str__(self) -> str:
        tmux = f"the tmux server {self.tmux_s / self.seconds:.2%}"
        return f"{self.seconds:.0f} s: {self.events} events; daemon and its children {self.share:.2%} of a core, {tmux}"


class Fleet:
    """A host with idle sessions and a node that watches them."""

    def __init__(self, root: Path) -> None:
        self.config = root / "claude"
        for folder in (self.config / "sessions", self.config / "projects" / "idle", root / "tmux"):
            folder.mkdir(parents=True)
        self.tmux_env = {"PATH": os.environ["PATH"], "TMUX_TMPDIR": str(root / "tmux"), "LANG": "C.UTF-8"}
        self.node = ProcessNode(root, "idle", HOME=str(root), CLAUDE_CONFIG_DIR=str(self.config), **self.tmux_env)
        self.server_pid = 0

    def tmux(self, *argv: str) -> str:
        done = subprocess.run(["tmux", "-f", os.devnull, *argv], env=self.tmux_env, stdout=subprocess.PIPE, text=True)
        return done.stdout.strip()

    def add(self, number: int) -> None:
        """A process in a pane of its own, registered and reported as a session that rests."""
        pane = self.tmux("new-session", "-d", "-P", "-F", "#{pane_pid} #{pid}", "-s", f"s{number}", "sleep", "infinity")
        pid, self.server_pid = map(int, pane.split())
        until(lambda: (now := processes.find(pid)) is not None and now.tty != 0)
        process = processes.find(pid)
        assert process
        session, rested_ms = str(uuid.uuid4()), time.time_ns() // 1_000_000 - RESTED_MS
        entry = {
            "pid": pid, "sessionId": session, "cwd": str(self.config), "procStart": process.start,
            "kind": "interactive", "entrypoint": "cli", "version": "2.1.330", "status": "idle",
            "statusUpdatedAt": rested_ms,
        }  # fmt: skip
        (self.config / "sessions" / f"{pid}.json").write_text(json.dumps(entry))
        (self.config / "projects" / "idle" / f"{session}.jsonl").write_text(transcript(session, rested_ms))
        report = {"hook_event_name": "Stop", "session_id": session, "at_ms": rested_ms, "pid": pid}
        with open(spool_path(self.node.home), "a") as spool:
            spool.write(json.dumps(report) + "\n")

    def cost(self, for_s: float) -> Cost:
        """Of the daemon as it runs."""
        assert self.node.process
        began, events, daemon, tmux = (time.monotonic(), self.node.count(), *self._cpu())
        time.sleep(for_s)
        daemon_s, tmux_s = (after - before for after, before in zip(self._cpu(), (daemon, tmux), strict=True))
        return Cost(time.monotonic() - began, self.node.count() - events, daemon_s, tmux_s)

    def _cpu(self) -> tuple[float, float]:
        assert self.node.process
        return cpu_s(self.node.process.pid), cpu_s(self.server_pid)


def transcript(session: str, at_ms: int) -> str:
    """A long conversation whose last turn has ended."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at_ms / 1000))
    common = {"timestamp": stamp, "sessionId": session, "isSidechain": False}
    said = {"role": "assistant", "content": [{"type": "text", "text": "so " * 300}], "stop_reason": "end_turn"}
    line = json.dumps({"type": "assistant", "message": said, **common}) + "\n"
    return line * (TRANSCRIPT_BYTES // len(line))


def cpu_s(pid: int) -> float:
    """Seconds of CPU a process and the children it waited for have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[_UTIME : _UTIME + 4])) / os.sysconf("SC_CLK_TCK")


def remember(home: Home, count: int) -> None:
    """Sessions that are gone, as the log of a fleet holds them after a year."""
    with Node(home) as node:
        gone = [
            Observation(session_uuid=node.new_id(), host="idle", cwd="/srv/api", state="gone", gone=True)
            for _ in range(count)
        ]
        observe(node, gone)


@contextmanager
def idle_fleet(root: Path, sessions: int, past: int = 0) -> Iterator[Fleet]:
    """Up to the moment at which the daemon knows all sessions."""
    fleet = Fleet(root)
    try:
        remember(fleet.node.home, past)
        for number in range(sessions):
            fleet.add(number)
        fleet.node.start()
        until(lambda: len(fleet.node.json("session", "list")) == sessions)
        yield fleet
    finally:
        fleet.node.kill()
        fleet.tmux("kill-server")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--for", dest="for_s", type=seconds, default=seconds("10m"), help="30s, 10m")
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--past", type=int, default=10_000, help="sessions that are gone, in the log")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, idle_fleet(Path(folder), asked.sessions, asked.past) as fleet:
        time.sleep(SETTLES_S)
        cost = fleet.cost(asked.for_s)
    print(f"{asked.sessions} idle sessions, {asked.past} in the past, {cost}")
    print("ended well" if cost.well else "FAILED")
    return 0 if cost.well else 1


if __name__ == "__main__":
    sys.exit(main())
