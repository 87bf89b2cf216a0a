"""Seals: after every thousand of its own events a node signs one hash over them.

A node that catches up checks that one signature and one hash instead of a thousand signatures. A seal proves nothing
about events that do not match it, and forbids none: those are checked one by one.
"""

import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from claire.node import log
from claire.node.event import Body, Event, event_type, read_body, signed_bytes
from claire.node.node import SEAL_EVENTS

if TYPE_CHECKING:
    from claire.node.fold import Fold
    from claire.node.node import Transaction


@event_type("events_sealed")
class EventsSealed(Body):
    """This machine's events from stamp `first` to stamp `last` are `count` many and hash to `sha256`."""

    first: str
    last: str
    count: int
    sha256: str

    def fold(self, fold: "Fold", event: Event) -> None:
        """Nothing follows from a seal but trust in what it covers, and that was settled when it came in."""


def seal_hash(events: Iterable[Event]) -> str:
    """Over the signed bytes, each with its length and signature: no two lists of events give the same bytes."""
    parts: list[bytes] = []
    for event in events:
        message = signed_bytes(event)
        parts += (b"%d\n" % len(message), message, event.sig.encode())
    return sha256(b"".join(parts)).hexdigest()


def seal(tx: "Transaction", machine_id: str) -> None:
    """Seal the newest own events that no seal covers, at most SEAL_EVENTS: more would not fit one page anyway."""
    events = log.newest_of(tx.db, machine_id, _sealed_through(tx.db, machine_id), SEAL_EVENTS)
    tx.record(EventsSealed(events[0].hlc, events[-1].hlc, len(events), seal_hash(events)))


def _sealed_through(db: sqlite3.Connection, machine_id: str) -> str:
    newest = log.newest_of_type(db, machine_id, EventsSealed.wire_name)
    body = read_body(newest) if newest is not None else None
    return body.last if isinstance(body, EventsSealed) else ""


def proven(events: Sequence[Event], signed: Callable[[Event], bool]) -> set[int]:
    """Positions in `events` of those that a seal among them vouches for; `signed` verifies one signature.

    Seals that overlap an earlier one are passed over, so that no event is hashed twice whatever a peer sends.
    """
    vouched: set[int] = set()
    for machine_id in {event.machine_id for event in events if event.event_type == EventsSealed.wire_name}:
        own = sorted((event.hlc, event.uuid, at) for at, event in enumerate(events) if event.machine_id == machine_id)
        stamps = [stamp for stamp, _, _ in own]
        tried = ""
        for _, _, at in own:
            body = read_body(events[at]) if events[at].event_type == EventsSealed.wire_name else None
            if isinstance(body, EventsSealed) and tried < body.first <= body.last:
                tried = body.last
                covered = [i for *_, i in own[bisect_left(stamps, body.first) : bisect_right(stamps, body.last)]]
                if _matches(body, [events[i] for i in covered]) and signed(events[at]):
                    vouched.update(covered)
    return vouched


def _matches(seal: EventsSealed, events: Sequence[Event]) -> bool:
    return len(events) == seal.count and seal_hash(events) == seal.sha256
