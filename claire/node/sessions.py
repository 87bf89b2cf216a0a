"""Sessions: the live Claude Code sessions of the fleet, as their hosts last saw them, and which continues which."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from claire.node import hlc, registers
from claire.node.errors import Ambiguous, NotFound, UsageError
from claire.node.event import Body, Event, Millis, event_type
from claire.node.fold import Fold
from claire.node.rows import Row, one, resolve, rows

if TYPE_CHECKING:
    from claire.node.node import Node

STALE_MS = 5 * 60_000  # an unchanged session is recorded again only when what the log says is this old
STALLED_MS = 20 * 60_000  # long thought and long builds are quiet for minutes; longer is worth a look
BACKGROUND = "background "  # the pane of an agent in the background, before its id: `claude attach ID` shows it
NEEDS_PERSON = ("permission", "question", "dialog", "rate-limited", "error", "crashed", "interrupted")


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What a host sees of one of its sessions. Times are Unix milliseconds, `last_seen_mtime` Unix seconds."""

    session_uuid: str
    host: str
    cwd: str = ""
    tmux_name: str = ""
    pane: str = ""
    name: str = ""
    version: str = ""
    state: str = "unknown"
    source: str = ""
    confidence: str = ""
    waiting_for: str = ""
    since_ms: Millis = 0
    last_seen_ms: Millis = 0
    last_seen_mtime: float = 0.0
    last_triage: str = ""
    gone: bool = False


# A change of any of these is worth an event; the others (times) only ride along.
NOTABLE = (
    "host", "cwd", "tmux_name", "pane", "name", "version", "state", "source", "confidence", "waiting_for",
    "last_triage", "gone",
)  # fmt: skip


@event_type("session_observed")
class SessionObserved(Body):
    """A whole snapshot, by the host that sees the session; the newest one counts."""

    session: Observation

    def fold(self, fold: Fold, event: Event) -> None:
        values = msgspec.structs.asdict(self.session)
        row = fold.row("sessions", values.pop("session_uuid"))
        values["machine_id"] = event.machine_id
        registers.set_newest(row, "observed_hlc", event.hlc, values)


@event_type("session_succeeded")
class SessionSucceeded(Body):
    """`new` continues `old`: after /clear, a resume, a restart. `reason` is the evidence."""

    old: str
    new: str
    reason: str

    def fold(self, fold: Fold, event: Event) -> None:
        fold.row("session_links", event.uuid).update(old=self.old, new=self.new, reason=self.reason, hlc=event.hlc)
        fold.settle(settle, self.old)
        fold.settle(settle, self.new)


def settle(db: sqlite3.Connection, touched: Iterable[str]) -> None:
    """Recompute the lineages of the sessions touched, and whose assignment is active in them."""
    from claire.node import assignments  # the higher noun; it follows from lineages

    done: set[str] = set()
    for session in touched:
        if session in done:
            continue
        members, newest = _connected(db, session)
        done |= members
        head = newest[1] if newest else session
        db.executemany(
            "INSERT OR REPLACE INTO lineages VALUES (?, ?, ?)",
            [(member, min(members), head) for member in members],
        )
    assignments.settle(db, done)


def _connected(db: sqlite3.Connection, session: str, by: str | None = None) -> tuple[set[str], tuple[str, str] | None]:
    """All sessions reachable over links (of one machine) in either direction, and (hlc, new) of the newest link."""
    members, open_, newest = {session}, [session], None
    while open_:
        current = open_.pop()
        for old, new, stamp in db.execute(
            "SELECT l.old, l.new, l.hlc FROM session_links l WHERE (l.old = ?1 OR l.new = ?1)"
            " AND (?2 IS NULL OR ?2 = (SELECT machine_id FROM events WHERE uuid = l.id))",
            (current, by),
        ).fetchall():
            newest = max(newest, (stamp, new)) if newest else (stamp, new)
            found = {old, new} - members
            members |= found
            open_ += found
    return members, newest


def lineage(db: sqlite3.Connection, session: str) -> tuple[str, ...]:
    """Every session of the same lineage, the given one included."""
    found = db.execute(
        "SELECT session_uuid FROM lineages WHERE root = (SELECT root FROM lineages WHERE session_uuid = ?)",
        (session,),
    ).fetchall()
    return tuple(uuid for (uuid,) in found) or (session,)


def seen_by(db: sqlite3.Connection, session: str, machine_id: str) -> tuple[set[str], str]:
    """A session's lineage and the session that continues it now, as one machine itself has seen it.

    What is typed follows no other: else any member could lead a text for one session into another.
    """
    members, newest = _connected(db, session, machine_id)
    return members, newest[1] if newest else session


def observe(node: "Node", seen: Sequence[Observation]) -> int:
    """Record those observations that differ from what the log says, or that it last heard too long ago; how many.

    Heartbeats are no events: the caller moves `last_seen_ms` only when there is a reason to (see STALE_MS).
    """
    with node.reading() as db:
        changed = [observation for observation in seen if _worth_an_event(db, node.machine_id, observation)]
    if not changed:
        return 0
    with node.writing() as tx:
        for observation in changed:
            tx.record(SessionObserved(observation))
    return len(changed)


def _worth_an_event(db: sqlite3.Connection, machine_id: str, new: Observation) -> bool:
    row = db.execute(
        f"SELECT machine_id, last_seen_ms, {', '.join(NOTABLE)} FROM sessions WHERE id = ?",
        (new.session_uuid,),
    ).fetchone()
    if row is None:
        return True
    if row[0] != machine_id or any(getattr(new, f) != value for f, value in zip(NOTABLE, row[2:], strict=True)):
        return True
    return bool(new.last_seen_ms - row[1] > STALE_MS)


def succeed(node: "Node", old: str, new: str, reason: str) -> bool:
    """Record that `new` continues `old`; False if by this node's own word their lineage goes on there already."""
    if old == new:
        raise UsageError("a session cannot succeed itself")
    with node.writing() as tx:
        if seen_by(tx.db, old, node.machine_id)[1] == new:
            return False
        tx.record(SessionSucceeded(old, new, reason))
        return True


_SELECT = (
    "SELECT s.id, s.host, s.machine_id, s.cwd, s.tmux_name, s.pane, s.name, s.version, s.state, s.source, s.confidence,"
    " s.waiting_for, s.since_ms, s.last_seen_ms, s.last_seen_mtime, s.last_triage, s.gone IS 1 AS gone, s.observed_hlc,"
    " coalesce(l.root, s.id) AS lineage, coalesce(l.head, s.id) AS current_session"
    " FROM sessions s LEFT JOIN lineages l ON l.session_uuid = s.id WHERE 1"
)


def list_sessions(db: sqlite3.Connection, machine_id: str | None = None, *, gone: bool = False) -> list[Row]:
    """Sessions by host and tmux name, of one machine if given; those that are gone only if asked for."""
    found = rows(
        db,
        f"{_SELECT}{'' if gone else ' AND s.gone IS NOT 1'} AND (?1 IS NULL OR s.machine_id = ?1)"
        " ORDER BY s.host, s.tmux_name, s.id",
        (machine_id,),
    )
    return [_read(row) for row in found]


def by_id(db: sqlite3.Connection, session: str) -> Row | None:
    """A session by its whole id, gone or not."""
    found = one(db, f"{_SELECT} AND s.id = ?", (session,))
    return _read(found) if found else None


def find(db: sqlite3.Connection, ref: str) -> Row:
    """A session by uuid, unique prefix, tmux name or own name (or `host:name`); NotFound or Ambiguous.

    Of those that fit, the live ones are meant: a name goes on to the session that continues another.
    """
    missing = NotFound(f"there is no session {ref!r}")
    for live in (" AND s.gone IS NOT 1", ""):
        for name in ("s.tmux_name", "s.name"):
            label = f"(s.host || ':' || {name})" if ":" in ref else name
            try:
                return _read(resolve(db, "session", _SELECT + live, ref, id_column="s.id", label_column=label))
            except Ambiguous:
                raise
            except NotFound as error:
                missing = error
    raise missing


def links(db: sqlite3.Connection, session: str) -> list[Row]:
    """How a session's lineage came about, oldest link first."""
    members = lineage(db, session)
    marks = ", ".join("?" * len(members))
    return rows(
        db,
        f"SELECT old, new, reason, hlc FROM session_links WHERE new IN ({marks}) ORDER BY hlc, id",
        members,
    )


def seen_ms(row: Row) -> int:
    """When a session was last heard of, by its host's clock."""
    return max(row["last_seen_ms"] or 0, hlc.decode(row["observed_hlc"])[0])


def stalled(row: Row, now_ms: int) -> bool:
    """It is said to work, and shows no sign of it. Whether its host still says anything is another question."""
    return row["state"] == "working" and now_ms - active_ms(row) > STALLED_MS


def active_ms(row: Row) -> int:
    """When the session itself last did something, by its host's clock."""
    return max(row["last_seen_ms"] or 0, row["since_ms"] or 0)


def _read(row: Row) -> Row:
    row["gone"] = bool(row["gone"])
    return row
