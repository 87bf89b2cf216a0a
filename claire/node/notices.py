"""Notices: what a person was told of by a notification, so that one host of the fleet rings and not every one."""

import sqlite3
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from claire.node import hlc, registers
from claire.node.event import Body, Event, Millis, event_type
from claire.node.fold import Fold
from claire.node.rows import rows

if TYPE_CHECKING:
    from claire.node.node import Node

TELLING = ("permission", "question", "error", "crashed")  # the other states can wait until somebody looks
SAME_MS = 15_000  # sources of one state disagree by less about when it began; who just answered is there anyway


class Matter(msgspec.Struct, frozen=True):
    """Something a person should know now: a session in one of these states, or a question an agent asked."""

    subject: str  # id of the session, or of the update that asks
    state: str
    since_ms: int
    label: str = ""
    host: str = ""
    detail: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        return self.subject, self.state, self.since_ms


@event_type("person_notified")
class PersonNotified(Body):
    """The author is about to notify of this, and does unless another node said so earlier."""

    subject: str
    state: str
    since_ms: Millis

    def fold(self, fold: Fold, event: Event) -> None:
        values = {
            "subject": self.subject,
            "state": self.state,
            "since_ms": self.since_ms,
            "machine_id": event.machine_id,
        }
        row = fold.row("notices", f"{self.subject}/{self.state}/{self.since_ms}")
        registers.set_oldest(row, "hlc", event.hlc, values)


def matters(db: sqlite3.Connection) -> list[Matter]:
    """What is worth a notification as things stand, the oldest first."""
    marks = ", ".join("?" * len(TELLING))
    waiting = rows(
        db,
        "SELECT id, state, since_ms, host, coalesce(waiting_for, '') AS detail,"
        " coalesce(nullif(name, ''), nullif(tmux_name, ''), substr(id, 1, 8)) AS label"
        f" FROM sessions WHERE gone IS NOT 1 AND state IN ({marks})",
        TELLING,
    )
    asked = rows(
        db,
        # CROSS JOIN keeps the order: blocked tasks are few, updates many.
        "SELECT u.id, u.hlc, u.payload, t.title, coalesce(s.host, '') AS host FROM tasks t"
        " CROSS JOIN updates u ON u.task_id = t.id LEFT JOIN sessions s ON s.id = u.session_uuid"
        " WHERE t.status = 'blocked' AND t.deleted IS NOT 1 AND u.source = 'question'",
    )
    found = [Matter(r["id"], r["state"], r["since_ms"] or 0, r["label"], r["host"], r["detail"]) for r in waiting]
    found += [
        Matter(r["id"], "question", hlc.decode(r["hlc"])[0], r["title"] or "", r["host"], r["payload"]) for r in asked
    ]
    return sorted(found, key=lambda matter: matter.since_ms)


def told_by(db: sqlite3.Connection, matter: Matter) -> str | None:
    """The machine that said first that it would notify of this."""
    found = db.execute(
        "SELECT machine_id FROM notices WHERE subject = ? AND state = ? AND since_ms BETWEEN ? AND ?"
        " ORDER BY hlc LIMIT 1",
        (matter.subject, matter.state, matter.since_ms - SAME_MS, matter.since_ms + SAME_MS),
    ).fetchone()
    return found[0] if found else None


def tell(node: "Node", told: Iterable[Matter]) -> None:
    """Record that this node is about to notify of these."""
    with node.writing() as tx:
        for matter in told:
            if told_by(tx.db, matter) is None:
                tx.record(PersonNotified(matter.subject, matter.state, matter.since_ms))
