"""The processes of this host: is this pid still who it was, and on which terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from claire.fleet import foreign

PROC = Path("/proc")
PS_TIMEOUT_S = 5.0
BELOW_MAX = 200  # processes of one pane that are looked at
_STATE, _PARENT, _TTY, _START = 0, 1, 4, 19  # fields of /proc/PID/stat after the command name


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    start: str  # as Claude Code writes procStart: clock ticks on Linux, UTC lstart elsewhere
    tty: int  # device number of the controlling terminal, 0 for none
    parent: int = 0


def find(pid: int) -> Process | None:
    """The running process with this id; a zombie does not run."""
    if sys.platform == "linux":
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                return parse_stat(pid, file.read().decode("utf-8", "replace"))
        except OSError:
            return None
    return _find_with_ps(pid)


def parse_stat(pid: int, text: str) -> Process | None:
    """The command name may hold spaces and brackets, so count from the last bracket."""
    fields = text.rpartition(")")[2].split()
    if len(fields) <= _START or fields[_STATE] in ("Z", "X"):
        return None
    return Process(pid, fields[_START], _device(int(fields[_TTY])), int(fields[_PARENT]))


def _device(tty_nr: int) -> int:
    """The kernel packs the terminal into 32 bits; stat() of the terminal does not."""
    if tty_nr == 0:
        return 0
    return os.makedev((tty_nr >> 8) & 0xFFF, (tty_nr & 0xFF) | ((tty_nr >> 12) & 0xFFF00))


def _find_with_ps(pid: int) -> Process | None:
    environment = {**os.environ, "TZ": "UTC", "LC_ALL": "C"}
    command = ["ps", "-o", "stat=,ppid=,tty=,lstart=", "-p", str(pid)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PS_TIMEOUT_S)
    fields = result.stdout.split(None, 3)
    if len(fields) < 4 or fields[0].startswith("Z"):
        return None
    return Process(pid, fields[3].strip(), terminal(f"/dev/{fields[2]}"), int(fields[1]))


def ancestors(pid: int, limit: int) -> Iterator[int]:
    """This process, its parent, and so on, nearest first."""
    for _ in range(limit):
        process = find(pid)
        if process is None:
            return
        yield pid
        pid = process.parent


def terminal(path: str) -> int:
    """Device number of a terminal, 0 where there is none."""
    try:
        return os.stat(path).st_rdev
    except OSError:
        return 0


@cache
def pid_domain() -> str:
    """Where our pids are valid, written as Claude Code writes its pidDomain."""
    try:
        namespace = os.readlink(PROC / "self/ns/pid")
    except OSError:
        return sys.platform
    return f"linux:{_machine_id()}:{namespace}"


def _machine_id() -> str:
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""


def arguments(pid: int) -> list[str]:
    try:
        raw = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return raw.decode("utf-8", "replace").split("\0")[:-1]


def environment(pid: int) -> dict[str, str]:
    """Readable for our own processes only, which are the only ones of interest."""
    try:
        raw = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition("=") for item in raw.decode("utf-8", "replace").split("\0"))
    return {name: value for name, _, value in pairs if name}


def working_folder(pid: int) -> str:
    try:
        return foreign.text(os.readlink(PROC / str(pid) / "cwd"))
    except OSError:
        return ""


def on_terminals(roots: Mapping[int, int]) -> Iterator[Process]:
    """What runs in panes: those of their first processes (pid -> terminal) and all below that are on that terminal."""
    for root, device in roots.items() if PROC.is_dir() else ():
        open_ = [root]
        for _ in range(BELOW_MAX):
            if not open_:
                break
            process = find(open_.pop())
            if process and process.tty == device:
                yield process
                open_ += children(process.pid)


def children(pid: int) -> list[int]:
    """None where the kernel does not say."""
    try:
        threads = os.listdir(PROC / f"{pid}/task")
        said = " ".join((PROC / f"{pid}/task/{thread}/children").read_text() for thread in threads)
    except OSError:
        return []
    return [int(child) for child in said.split()]
