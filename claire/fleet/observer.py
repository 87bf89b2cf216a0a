"""One pass over this host: look, join, judge, and record what changed."""

from __future__ import annotations

import os
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from claire.config import Home
from claire.fleet import evidence, lineage, processes, remote, seats
from claire.fleet.evidence import Evidence
from claire.fleet.host import Host, Sight
from claire.fleet.rclaude import Listing
from claire.fleet.reports import Reports, Spool
from claire.fleet.seats import Seat
from claire.fleet.state import Confidence, State
from claire.node import members, sessions
from claire.node.node import Node
from claire.node.rows import Row
from claire.node.sessions import Observation

CRASH_SHOWN_MS = 24 * 3_600_000
DYING_S = 1.0
DISPUTED_MS = 15_000  # another node on this host gets so long to record what both see
_DEFAULT_SOCKET = "default"

Processes = dict[tuple[int, str], tuple[str, str]]  # (pid, start) -> (session, config home)


@dataclass(frozen=True, slots=True)
class Pass:
    """What one look at this host came to."""

    sessions: int = 0
    recorded: int = 0
    problems: tuple[str, ...] = ()  # what could not be reached: unknown, not gone
    notes: tuple[str, ...] = ()


def triage_folder(home: Home) -> str:
    return os.path.join(home.state, "triage")


def spool_path(home: Home) -> str:
    return os.path.join(home.state, "hooks.ndjson")


@dataclass(frozen=True, slots=True)
class Known(Mapping[str, Row]):
    """Sessions as the log has them: goes through those that live, finds the others, of which years are full."""

    node: Node
    live: dict[str, Row]

    def __getitem__(self, session: str) -> Row:
        if session in self.live:
            return self.live[session]
        with self.node.reading() as db:
            row = sessions.by_id(db, session)
        if row is None:
            raise KeyError(session)
        return row

    def __iter__(self) -> Iterator[str]:
        return iter(self.live)

    def __len__(self) -> int:
        return len(self.live)


def eyes(node: Node, env: Mapping[str, str], spool: Spool) -> Host:
    """This host, with what this node remembers of it and what hooks told."""

    def homes() -> set[str]:
        with node.reading() as db:
            return {home for _, home in held_processes(db).values() if home}

    def session_of(pid: int, start: str, registered: str) -> str:
        return spool.read().session_of(pid, start, registered)

    return Host(env, (triage_folder(node.home),), homes, session_of)


@dataclass
class Observer:
    """Passes over this host. What it remembers in between saves work and nothing else."""

    node: Node
    env: Mapping[str, str]
    elsewhere: Callable[[], Listing] = Listing  # sessions that only rclaude can see
    evidence: Evidence = field(default_factory=Evidence)
    sleep: Callable[[float], None] = time.sleep
    _disputed: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.spool = Spool(spool_path(self.node.home))
        self.host = eyes(self.node, self.env, self.spool)

    def observe(self) -> Pass:
        """Record what changed since the log last heard of it; an idle host costs no event."""
        with self.node.reading() as db:
            known = Known(self.node, {row["id"]: row for row in sessions.list_sessions(db)})
            held = held_processes(db)
            name = members.names(db).get(self.node.machine_id, "")
        sight = self.host.look()
        if _some_lost_their_terminal(sight, known):
            self.sleep(DYING_S)
            sight = self.host.look()
        reports = self.spool.read()
        self._link(sight, held, known, reports)
        seen = [self._seen(places, known, name, reports) for places in _by_session(sight).values()]
        lost = self._lost(sight, held, known)
        listing = self.elsewhere()
        away = remote.observations(
            listing, known, self.node.machine_id, {new.session_uuid for new in seen}, self.node.now_ms()
        )
        due = [new for new in (*seen, *lost, *away) if self._ours_to_say(new, known.get(new.session_uuid))]
        recorded = sessions.observe(self.node, due)
        self._hold(sight, held)
        self.evidence.forget({new.session_uuid for new in seen})
        unnamed = tuple(
            f"{_pane_name(seat)} in {seat.entry.cwd}: Claude without a session yet; look whether it waits for trust"
            for seat in sight.unnamed
        )
        return Pass(len(seen), recorded, (*sight.problems, *listing.problems), unnamed)

    def _link(self, sight: Sight, held: Processes, known: Mapping[str, Row], reports: Reports) -> None:
        before = {process: session for process, (session, _) in held.items()}
        for found in lineage.successions(sight.seats, before, known, reports, processes.arguments):
            sessions.succeed(self.node, found.old, found.new, found.reason)

    def _seen(self, places: Sequence[Seat], known: Mapping[str, Row], name: str, reports: Reports) -> Observation:
        seat, now_ms = places[0], self.node.now_ms()
        entry, row = seat.entry, known.get(seat.entry.session_id)
        tail = self.evidence.tail(self.host.homes_seen, entry.session_id, _something_happened(seat, row))
        judged = evidence.of_all([evidence.of_seat(place, reports, tail) for place in places])
        since_ms = judged.since_ms or (row["since_ms"] if row and row["state"] == judged.state else now_ms)
        return Observation(
            session_uuid=entry.session_id,
            host=name,
            cwd=(tail.cwd if tail else "") or entry.cwd,
            tmux_name=seat.pane.session_name if seat.pane else "",
            pane=_pane_name(seat),
            name=entry.name if entry.name_by_user or entry.background else "",  # a derived one says less than tmux's
            version=entry.version,
            state=judged.state,
            source=judged.source,
            confidence=judged.confidence,
            waiting_for=judged.waiting_for,
            since_ms=since_ms,
            last_seen_ms=max(since_ms, tail.last_activity_ms if tail else 0),
            last_seen_mtime=float(tail.last_activity_ms // 1000) if tail else 0.0,
            last_triage=(row["last_triage"] if row else "") or "",
        )

    def _lost(self, sight: Sight, held: Processes, known: Mapping[str, Row]) -> list[Observation]:
        """Our sessions that nobody holds any more: killed, or ended in peace."""
        here = {seat.entry.session_id for seat in sight.seats}
        killed = {entry.session_id for entry in sight.ended}
        placed = _processes(sight)
        alive = {session for key, (session, _) in held.items() if key not in placed and _runs(*key)}
        found = []
        for row in known.values():
            ours = row["machine_id"] == self.node.machine_id and row["source"] != remote.SOURCE
            if not ours or row["gone"] or row["id"] in here | alive:
                continue
            found.append(self._ended(row, row["id"] in killed))
        return found

    def _ended(self, row: Row, killed: bool) -> Observation:
        now_ms = self.node.now_ms()
        crashed = row["state"] == State.CRASHED
        if killed and not (crashed and now_ms - row["since_ms"] > CRASH_SHOWN_MS):
            state, since_ms = State.CRASHED, row["since_ms"] if crashed else now_ms
        else:
            state, since_ms = State.GONE, now_ms
        return msgspec.structs.replace(
            remote.recorded(row),
            state=state,
            since_ms=since_ms,
            last_seen_ms=since_ms,
            source="registry",
            confidence=Confidence.HIGH,
            waiting_for="",
            gone=state is State.GONE,
        )

    def _ours_to_say(self, new: Observation, row: Row | None) -> bool:
        """Two nodes on one host see the same sessions: the one that spoke first goes on, unless it falls silent.

        One that sees it from outside gives way to one that sits beside it.
        """
        from_outside = row is not None and row["source"] == remote.SOURCE and new.source != remote.SOURCE
        if row is None or row["gone"] or row["machine_id"] == self.node.machine_id or from_outside:
            self._disputed.pop(new.session_uuid, None)
            return True
        if (row["state"], row["cwd"], row["pane"]) == (new.state, new.cwd, new.pane):
            self._disputed.pop(new.session_uuid, None)
            return False
        now_ms = self.node.now_ms()
        return now_ms - self._disputed.setdefault(new.session_uuid, now_ms) >= DISPUTED_MS

    def _hold(self, sight: Sight, held: Processes) -> None:
        """Remember who sat where, so that another process (or the next start) knows /clear when it sees it."""
        now = {(seat.process.pid, seat.process.start): (seat.entry.session_id, seat.entry.home) for seat in sight.seats}
        kept = {key: value for key, value in held.items() if key in now or _runs(*key)} | now
        if kept == held:
            return
        with self.node.writing() as tx:
            tx.db.execute("DELETE FROM claude_processes")
            tx.db.executemany(
                "INSERT INTO claude_processes VALUES (?, ?, ?, ?)",
                [(*key, *value) for key, value in kept.items()],
            )


def held_processes(db: sqlite3.Connection) -> Processes:
    found = db.execute("SELECT pid, start, session_uuid, home FROM claude_processes")
    return {(pid, start): (session, home) for pid, start, session, home in found}


def _some_lost_their_terminal(sight: Sight, known: Mapping[str, Row]) -> bool:
    """Orphans, or on their way out: a process that ends loses its terminal first."""
    lost = (known.get(seat.entry.session_id) for seat in sight.seats if seats.orphaned(seat))
    return any(row is None or row["state"] != State.ORPHANED for row in lost)


def _processes(sight: Sight) -> set[tuple[int, str]]:
    return {(seat.process.pid, seat.process.start) for seat in sight.seats}


def _runs(pid: int, start: str) -> bool:
    process = processes.find(pid)
    return process is not None and process.start == start


def _by_session(sight: Sight) -> dict[str, list[Seat]]:
    found: dict[str, list[Seat]] = defaultdict(list)
    for seat in sorted(sight.seats, key=lambda seat: seat.process.pid):
        found[seat.entry.session_id].append(seat)
    return found


def _something_happened(seat: Seat, row: Row | None) -> bool:
    return row is None or row["state"] != seat.entry.status or (row["since_ms"] or 0) < seat.entry.since_ms


def _pane_name(seat: Seat) -> str:
    """`%3`, or `work:%3` on another server than the default one: ids are unique in one server only."""
    if seat.entry.background:
        return f"{sessions.BACKGROUND}{seat.entry.job}"
    if seat.pane is None:
        return ""
    socket = os.path.basename(seat.pane.socket)
    return seat.pane.id if socket == _DEFAULT_SOCKET else f"{socket}:{seat.pane.id}"
