"""Broadcasts that this host is to type: what is due, what may be, and what became of each.

A claim is committed before anything is typed, and never taken back. If the process ends
between the claim and the outcome, the outcome is unverified (or delivered, if Claude's own
files say so), and nothing is typed again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from claire.config import Home
from claire.fleet import keystrokes, rclaude, remote
from claire.fleet.host import Sight
from claire.fleet.keystrokes import Typist
from claire.fleet.message import message
from claire.fleet.obstacles import Obstacle, Outcome, Result
from claire.node import assignments, broadcasts, hlc, members, sessions
from claire.node.broadcasts import BroadcastDelivered
from claire.node.node import Node, Transaction
from claire.node.rows import Row, rows
from claire.node.updates import UpdateAdded

LATE_MS = 60_000  # an expiry longer ago than this has nothing to do with what the pane shows now
OPEN_MS_MAX = 7 * 24 * 3_600_000  # what is older was expired long before anybody looked
AGE_MS_MAX = 24 * 3_600_000  # whatever expiry an author asked for
NOTED_CHARS_MAX = 2_000
SETTLED_MAX = 500  # outcomes recorded in one transaction
CLAIMED = "claimed"


@dataclass(frozen=True, slots=True)
class Send:
    """Type this text into this session."""

    session_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Here:
    """What this host knows when it decides."""

    machine_id: str
    now_ms: int
    allowed: frozenset[str] = frozenset()
    names: Mapping[str, str] = field(default_factory=dict)


def decide(due: Row, here: Here) -> Send | Result:
    """May this be typed at all? Everything that can be said without looking at a pane. Pure."""
    author, name = due["author"], here.names.get(due["author"], due["author"][:8])
    if author != here.machine_id and author not in here.allowed:
        return Result(Outcome.REFUSED, f"this host takes no messages from {name}: claire peer allow-send {name}")
    if due.get("elsewhere"):  # a stolen key must not type where its owner may
        return Result(Outcome.REFUSED, "it was written with this node's key, but not here: claire doctor")
    wall_ms = hlc.decode(due["hlc"])[0]
    if here.now_ms > min(due["expires_ms"], wall_ms + AGE_MS_MAX):
        return Result(Outcome.EXPIRED)
    if due["target"].startswith("project:") and due["assignment_id"] and not due["assignment_active"]:
        return Result(Outcome.REFUSED, "the session no longer works on this project")
    if (due["pane"] or "").startswith(sessions.BACKGROUND):
        return Result(Outcome.REFUSED, f"it runs in the background: claude attach {due['pane'].split()[-1]}")
    if due["held_by"] not in (None, here.machine_id):
        return Result(Outcome.REFUSED, f"the session is on {here.names.get(due['held_by'], 'another host')} now")
    text = message(due["text"], due["id"], "" if author == here.machine_id else name, bool(due["raw"]))
    if isinstance(text, Obstacle):
        return Result(Outcome.REFUSED, text.why)
    return Send(due["current_session"], text)


def due_here(db: sqlite3.Connection, machine_id: str, now_ms: int) -> list[Row]:
    """Undelivered, unclaimed, with what `decide` needs: where the session's lineage is now, and whether it is bound."""
    found = []
    claimed = set(db.execute("SELECT broadcast_id, session_uuid FROM delivery_claims"))
    for row in broadcasts.undelivered(db, machine_id, f"{max(now_ms - OPEN_MS_MAX, 0):013d}"):
        if (row["id"], row["session_uuid"]) not in claimed:
            found.append({**row, **_whereabouts(db, machine_id, row)})
    return found


def _whereabouts(db: sqlite3.Connection, machine_id: str, row: Row) -> Row:
    _, current = sessions.seen_by(db, row["session_uuid"], machine_id)
    [facts] = rows(
        db,
        "SELECT ?1 AS current_session, s.machine_id AS held_by, s.source, s.host, s.tmux_name,"
        " s.pane, a.active IS 1 AS assignment_active"
        " FROM (SELECT 1) LEFT JOIN sessions s ON s.id = ?1 LEFT JOIN assignments a ON a.id = ?2",
        (current, row["assignment_id"]),
    )
    return facts


@dataclass
class Deliverer:
    """Delivers what is due, again and again."""

    node: Node
    typist: Typist
    rclaude: Callable[[Mapping[str, str], str], Result] | None = None
    stopping: Callable[[], bool] = lambda: False  # asked between targets, never in the midst of one
    _quiet_since: int = -1  # newest event when nothing was due

    def deliver(self) -> list[Row]:
        """One round: settle what ended, type what may be typed now. The outcomes, in order."""
        if not self._anything():
            return []
        with alone(self.node.home) as is_alone:
            if not is_alone:  # another process of this node delivers; it sees the same log
                return []
            return [*self._recover(), *self._round()]

    def _anything(self) -> bool:
        """Nothing, if nothing was due and nothing has happened since; a claim is open only if something was due."""
        with self.node.reading() as db:
            return _newest_event(db) != self._quiet_since

    def _round(self) -> list[Row]:
        with self.node.reading() as db:
            due = due_here(db, self.node.machine_id, self.node.now_ms())
            newest = _newest_event(db)
            here = Here(
                self.node.machine_id,
                self.node.now_ms(),
                frozenset(broadcasts.allowed_authors(db)),
                members.names(db),
            )
        self._quiet_since = newest if not due else -1
        decided = [(row, decide(row, here)) for row in due]
        settled = [(row, self._explained(row, what)) for row, what in decided if isinstance(what, Result)]
        outcomes = self._settle(settled[:SETTLED_MAX])
        for row, send in self._possible([(row, what) for row, what in decided if isinstance(what, Send)]):
            if not self.stopping():
                outcomes += self._type(row, send)
        return outcomes

    def _possible(self, wanted: list[tuple[Row, Send]]) -> list[tuple[Row, Send]]:
        """Without those that will have to wait, as one look says; what goes through rclaude is slow and comes last."""
        here = [(row, send) for row, send in wanted if row["source"] != remote.SOURCE]
        elsewhere = [(row, send) for row, send in wanted if row["source"] == remote.SOURCE]
        if not here:
            return elsewhere
        sight = self.typist.host.look()
        return [*((row, send) for row, send in here if not _waits(sight, send)), *elsewhere]

    def _explained(self, row: Row, result: Result) -> Result:
        """An expiry says what it had been waiting for."""
        if result.outcome is not Outcome.EXPIRED:
            return result
        if self.node.now_ms() - row["expires_ms"] > LATE_MS:
            return Result(Outcome.EXPIRED, "nobody was here to deliver it in time")
        obstacle = self.typist.hindrance(row["current_session"])
        return Result(Outcome.EXPIRED, obstacle.why if obstacle else "")

    def _type(self, row: Row, send: Send) -> list[Row]:
        if row["source"] == remote.SOURCE:
            return self._send_elsewhere(row, send)
        result = self.typist.deliver(send.session_id, send.text, lambda: self._claim(row))
        if isinstance(result, Obstacle):
            if result.passing:
                return []
            result = Result(Outcome.REFUSED, result.why)
        return self._settle([(row, result)])

    def _send_elsewhere(self, row: Row, send: Send) -> list[Row]:
        """Through rclaude, which does the looking; the claim is ours all the same."""
        if self.rclaude is None:
            return self._settle([(row, Result(Outcome.REFUSED, "only rclaude reaches that host, and it is missing"))])
        if not self._claim(row):
            return []
        where = rclaude.where({**row, "id": send.session_id})
        return self._settle([(row, self.rclaude(where, send.text))])

    def _claim(self, row: Row) -> bool:
        """Durable before it returns; True for exactly one caller, for ever."""
        with self.node.writing() as tx:
            done = tx.db.execute(
                "INSERT INTO delivery_claims SELECT ?1, ?2, ?3, ?4"
                " WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE id = ?1 || '/' || ?2 || '/' || ?5)"
                " ON CONFLICT DO NOTHING",
                (*_key(row), CLAIMED, self.node.now_ms(), self.node.machine_id),
            )
            return done.rowcount == 1

    def _settle(self, settled: list[tuple[Row, Result]]) -> list[Row]:
        """Outcomes become events, and their claims are closed, in one transaction."""
        if not settled:
            return []
        with self.node.writing() as tx:
            for row, result in settled:
                tx.record(BroadcastDelivered(*_key(row), result.outcome, result.why))
                if result.outcome is Outcome.DELIVERED:
                    _note_on_task(tx, row)
                tx.db.execute(
                    "UPDATE delivery_claims SET step = ? WHERE broadcast_id = ? AND session_uuid = ?",
                    (result.outcome, *_key(row)),
                )
        return [
            {"id": row["id"], "session_uuid": row["session_uuid"], "outcome": str(result.outcome), "why": result.why}
            for row, result in settled
        ]

    def _recover(self) -> list[Row]:
        """We are alone, so whoever made an open claim is no more. Only Claude's files know what came of it."""
        with self.node.reading() as db:
            claims = [
                {**claim, "lineage": tuple(sessions.seen_by(db, claim["session_uuid"], self.node.machine_id)[0])}
                for claim in _open_claims(db)
            ]
            names = members.names(db)
        return self._settle([(claim, self._found(claim, names)) for claim in claims])

    def _found(self, claim: Row, names: Mapping[str, str]) -> Result:
        author = "" if claim["author"] == self.node.machine_id else names.get(claim["author"], claim["author"][:8])
        text = message(claim["text"] or "", claim["id"], author, bool(claim["raw"]))
        if isinstance(text, str) and self.typist.arrived(claim["lineage"], text, claim["at_ms"]):
            return Result(Outcome.DELIVERED, "seen in the session after the node had ended while typing")
        return Result(Outcome.UNVERIFIED, "the node ended while typing; look at the session")


def _waits(sight: Sight, send: Send) -> bool:
    at = keystrokes.ready(sight, send.session_id)
    return isinstance(at, Obstacle) and at.passing


def _note_on_task(tx: Transaction, row: Row) -> None:
    """What a session was told belongs to the story of its task."""
    bound = assignments.of_session(tx.db, row["session_uuid"])
    if bound:
        text = row["text"][:NOTED_CHARS_MAX]
        tx.record(UpdateAdded("message", text, bound["task_id"], bound["id"], row["session_uuid"]))


def _newest_event(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT coalesce(max(rowid), 0) FROM events").fetchone()[0])


def _key(row: Row) -> tuple[str, str]:
    return row["id"], row["session_uuid"]


def _open_claims(db: sqlite3.Connection) -> list[Row]:
    return rows(
        db,
        "SELECT c.broadcast_id AS id, c.session_uuid, c.at_ms, b.text, b.raw, b.machine_id AS author"
        " FROM delivery_claims c LEFT JOIN broadcasts b ON b.id = c.broadcast_id WHERE c.step = ?",
        (CLAIMED,),
    )


@contextmanager
def alone(home: Home) -> Iterator[bool]:
    """One deliverer a node: with this lock held, an open claim is somebody's who died."""
    fd = os.open(os.path.join(home.state, "deliver.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield keystrokes.flock(fd)
    finally:
        os.close(fd)
