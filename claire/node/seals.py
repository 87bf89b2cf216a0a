"""Seals: after every thousand of its own events a node signs one hash over them.

A node that catches up checks that one signature and one hash instead of a thousand signatures. A seal proves nothing
about events that do not match it, and forbids none: those are checked one by one. What belongs to the set is decided by
each event's own signature all the same: an author may seal a wrong one, and who happens not to see the seal refuses it.
Then the two nodes find that they differ, and who trusted the seal looks again (`admit.recheck`).
"""

import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from claire.node import log
from claire.node.event import Body, Event, event_hash, event_type, read_body
from claire.node.node import SEAL_EVENTS

if TYPE_CHECKING:
    from claire.node.fold import Fold
    from claire.node.node import Transaction

Hashed = tuple[Event, int]  # with its event_hash


@event_type("events_sealed")
class EventsSealed(Body):
    """This machine's events from stamp `first` to stamp `last` are `count` many and hash to `sha256`."""

    first: str
    last: str
    count: int
    sha256: str

    def fold(self, fold: "Fold", event: Event) -> None:
        """Nothing follows from a seal but trust in what it covers, and that was settled when it came in."""


def seal_hash(segment: Iterable[Hashed]) -> str:
    """Over the hash and the signature of each event, in the order of stamps."""
    parts = (number.to_bytes(16, "big") + event.sig.encode() for event, number in segment)
    return sha256(b"".join(parts)).hexdigest()


def hashed(events: Iterable[Event]) -> list[Hashed]:
    return [(event, event_hash(event)) for event in events]


def seal(tx: "Transaction", machine_id: str) -> None:
    """Seal the own events since the last seal, at most SEAL_EVENTS: more would not fit one page anyway.

    A seal does not cover the one before it: a page that ends at a seal leaves the next segment whole.
    """
    last = log.newest_of_type(tx.db, machine_id, EventsSealed.wire_name)
    events = log.newest_of(tx.db, machine_id, last.hlc if last else "", SEAL_EVENTS)
    tx.record(EventsSealed(events[0].hlc, events[-1].hlc, len(events), seal_hash(hashed(events))))


def proven(db: sqlite3.Connection, batch: Sequence[Hashed], signed: Callable[[Event], bool]) -> set[int]:
    """Positions in `batch` of the events that a seal in it vouches for; `signed` verifies one signature.

    What a segment lacks in the batch may be in the log already. Seals that overlap an earlier one are passed over, so
    that no event is hashed twice whatever a peer sends. A machine under whose name a forged event has come is checked
    one by one from then on, whoever forged it.
    """
    vouched: set[int] = set()
    doubtful = {machine for (machine,) in db.execute("SELECT machine_id FROM alarms WHERE kind = 'forged'")}
    sealing = [event for event, _ in batch if event.event_type == EventsSealed.wire_name]
    for machine_id in {event.machine_id for event in sealing} - doubtful:
        own = [(event.hlc, event.uuid, at) for at, (event, _) in enumerate(batch) if event.machine_id == machine_id]
        own.sort()
        stamps = [stamp for stamp, _, _ in own]
        tried = ""
        for seal_event in sorted(sealing, key=lambda event: (event.hlc, event.uuid)):
            body = read_body(seal_event) if seal_event.machine_id == machine_id else None
            if isinstance(body, EventsSealed) and tried < body.first <= body.last:
                tried = body.last
                covered = [i for *_, i in own[bisect_left(stamps, body.first) : bisect_right(stamps, body.last)]]
                if _matches(db, machine_id, body, [batch[i] for i in covered]) and signed(seal_event):
                    vouched.update(covered)
    return vouched


def _matches(db: sqlite3.Connection, machine_id: str, body: EventsSealed, segment: list[Hashed]) -> bool:
    if len(segment) < body.count <= SEAL_EVENTS:
        here = {event.uuid for event, _ in segment}
        stored = log.between(db, machine_id, body.first, body.last, SEAL_EVENTS)
        segment = segment + hashed(event for event in stored if event.uuid not in here)
        segment.sort(key=lambda pair: (pair[0].hlc, pair[0].uuid))
    return len(segment) == body.count and seal_hash(segment) == body.sha256
