"""This host at this moment: which Claude sessions live here, and in which panes."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from claire.fleet import claude, processes, seats, tmux
from claire.fleet.claude import Entry, Registry
from claire.fleet.processes import Process
from claire.fleet.seats import Seat
from claire.fleet.tmux import Pane

SILENT_S = 10.0  # a server that hangs is not asked again by every session that waits for it

Living = list[tuple[Entry, Process]]

_HEADLESS_ARGUMENTS = ("-p", "--print")
_NAMED_SESSION = re.compile(r"(?:--session-id|--resume|-r)[= ](\S+)")


def _as_registered(_pid: int, _start: str, registered: str) -> str:
    return registered


@dataclass(frozen=True, slots=True)
class Sight:
    """One look. `ended` are registry files whose process is no more: killed, not closed."""

    seats: tuple[Seat, ...] = ()
    ended: tuple[Entry, ...] = ()
    unnamed: tuple[Seat, ...] = ()  # Claude without a registry file, of a session nobody has named yet
    problems: tuple[str, ...] = ()  # servers that did not answer: what they hold is unknown, not gone

    def of_session(self, session_id: str) -> list[Seat]:
        return [seat for seat in self.seats if seat.entry.session_id == session_id]


@dataclass
class Host:
    """Looks at this host again and again, and remembers what did not change."""

    env: Mapping[str, str]
    not_sessions: tuple[str, ...] = ()  # folders whose Claude runs are ours (triage), never sessions
    known_homes: Callable[[], Iterable[str]] = tuple  # config homes of sessions seen before
    session_of: Callable[[int, str, str], str] = _as_registered  # (pid, start, as registered) where hooks know better
    registry: Registry = field(default_factory=Registry)
    monotonic: Callable[[], float] = time.monotonic
    homes_seen: list[Path] = field(default_factory=list)  # at the last look
    _found_homes: set[str] = field(default_factory=set)
    _found_sockets: dict[str, None] = field(default_factory=dict)
    _asked: set[tuple[int, str]] = field(default_factory=set)
    _silent: dict[str, tuple[float, str]] = field(default_factory=dict)  # until when, and what it was

    def _look_for_homes(self) -> list[Path]:
        self.homes_seen = self.homes
        return self.homes_seen

    @property
    def homes(self) -> list[Path]:
        return claude.config_homes(self.env, sorted({*self.known_homes(), *self._found_homes}))

    def look(self) -> Sight:
        live, ended = self._entries(self.registry.read(self._look_for_homes()))
        live = [(self._corrected(entry, process), process) for entry, process in live]
        self._learn_sockets(live)
        panes, problems = self._panes()
        taken = {process.tty for _, process in live}
        free = {pane.pid: pane.device for pane in panes if pane.device not in taken and pane.device and not pane.dead}
        named, unnamed = self._unregistered(free, {process.pid for _, process in live})
        joined = seats.join([*live, *named], panes)
        shown = tuple(seat for seat in joined if not self._excluded(seat.entry))
        return Sight(shown, tuple(ended), tuple(seats.join(unnamed, panes)), tuple(problems))

    def _corrected(self, entry: Entry, process: Process) -> Entry:
        session_id = self.session_of(process.pid, process.start, entry.session_id)
        return entry if session_id == entry.session_id else replace(entry, session_id=session_id)

    def _excluded(self, entry: Entry) -> bool:
        ours = any(entry.cwd.startswith(folder) for folder in self.not_sessions)
        return entry.headless or ours

    def _panes(self) -> tuple[list[Pane], list[str]]:
        panes, problems = [], []
        for socket in dict.fromkeys((*tmux.sockets(self.env), *self._found_sockets)):
            if self.monotonic() < self._silent.get(socket, (0.0, ""))[0]:
                problems.append(self._silent[socket][1])
                continue
            try:
                panes += tmux.panes(socket)
            except tmux.NoServer:
                continue  # a socket file that outlived its server
            except tmux.TmuxError as error:
                problems.append(str(error))
                self._silent[socket] = (self.monotonic() + SILENT_S, str(error))
        return panes, problems

    def _entries(self, entries: Iterable[Entry]) -> tuple[Living, list[Entry]]:
        live, ended = [], []
        for entry in entries:
            if not claude.written_here(entry, processes.pid_domain()):
                continue
            process = processes.find(entry.pid)
            if process and claude.alive(entry, process):
                live.append((entry, process))
            elif not self._excluded(entry):
                ended.append(entry)
        return live, ended

    def _unregistered(self, free: Mapping[int, int], known: set[int]) -> tuple[Living, Living]:
        """Claude versions without a registry, on terminals where the registry knows of nobody."""
        named: Living = []
        unnamed: Living = []
        for process in processes.on_terminals(free):
            argv = processes.arguments(process.pid)
            if process.pid in known or not claude.runs_claude(argv) or {*argv} & {*_HEADLESS_ARGUMENTS}:
                continue
            if claude.shows_another(argv):
                continue
            self._learn_home(process.pid)
            entry = self._corrected(_entry_of(process, argv), process)
            (named if entry.session_id else unnamed).append((entry, process))
        return named, unnamed

    def _learn_sockets(self, live: Living) -> None:
        """A server of another folder or name: who runs in it knows where it is. Asked once for each process."""
        for _, process in live:
            if (process.pid, process.start) not in self._asked:
                self._asked.add((process.pid, process.start))
                socket = processes.environment(process.pid).get("TMUX", "").split(",")[0]
                if socket and tmux.is_our_socket(socket):
                    self._found_sockets[socket] = None

    def _learn_home(self, pid: int) -> None:
        home = processes.environment(pid).get("CLAUDE_CONFIG_DIR", "")
        if os.path.isdir(home):
            self._found_homes.add(home)


def _entry_of(process: Process, argv: list[str]) -> Entry:
    """What /proc tells: the session id only if it was given at the start, and stale after /clear."""
    named = _NAMED_SESSION.search(" ".join(argv))
    session_id = named.group(1) if named and claude.SESSION_ID.fullmatch(named.group(1)) else ""
    folder = processes.working_folder(process.pid)
    return Entry(process.pid, session_id, cwd=folder, proc_start=process.start, entrypoint="cli")
