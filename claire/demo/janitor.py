"""Ends what the demo started and removes its folder, however the demo itself ended.

Run as a process of its own it reads `pid`, start and tmux socket from its standard input, and begins when that closes,
which happens on a normal end as well as on kill -9.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from claire.fleet import processes

GENTLE_S = 5.0
POLL_S = 0.05
TMUX_S_MAX = 5.0

Started = tuple[int, str]


def main(root: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # what ends the demo must not end its cleaning up
    started: list[Started] = []
    sockets: list[str] = []
    for line in sys.stdin:
        what, *words = line.split(" ")
        if what == "process":
            started.append((int(words[0]), " ".join(words[1:]).rstrip("\n")))
        elif what == "tmux":
            sockets.append(" ".join(words).rstrip("\n"))
    clean(Path(root), started, sockets)


def clean(root: Path, started: list[Started], sockets: list[str]) -> None:
    for socket in sockets:
        command = ["tmux", "-S", socket, "kill-server"]
        with suppress(subprocess.TimeoutExpired):  # the server is among those that are ended below
            subprocess.run(command, capture_output=True, check=False, timeout=TMUX_S_MAX)
    _signal(started, signal.SIGTERM)
    deadline = time.monotonic() + GENTLE_S
    while _running(started) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    _signal(started, signal.SIGKILL)
    while _running(started) and time.monotonic() < deadline + GENTLE_S:
        time.sleep(POLL_S)
    shutil.rmtree(root)


def _running(started: list[Started]) -> list[int]:
    """Those that still are who they were: a pid alone may be somebody else's by now."""
    found = ((pid, start, processes.find(pid)) for pid, start in started)
    return [pid for pid, start, process in found if process is not None and process.start == start]


def _signal(started: list[Started], number: signal.Signals) -> None:
    for pid in _running(started):
        with suppress(ProcessLookupError):  # it has ended since
            os.kill(pid, number)


if __name__ == "__main__":
    main(sys.argv[1])
