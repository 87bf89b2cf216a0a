"""What enters the log from elsewhere: well-formed, signed, by a member, not beyond a revocation, not known yet.

Every node decides this alike, whatever way and in whatever order an event came; so equal knowledge of who is a member
gives equal sets.
"""

import sqlite3
from collections.abc import Collection, Sequence
from threading import RLock
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from claire.node import identity, log, members, seals
from claire.node.event import Body, Event, read_body, signed_bytes
from claire.node.fold import Fold, replay_events
from claire.node.form import malformed

if TYPE_CHECKING:
    from claire.node.node import Node

STRANGER = "its machine is not a member"
FOLLOWS = "follows a refused event of its machine"
FORGED = "the signature does not verify"
EQUIVOCAL = "another event has this uuid; the first one is kept"
TAKEN = "another machine took this uuid first"
MALFORMED = "malformed: "  # and which rule it breaks
REVOKED = "its machine was revoked before this event"

# Of batches that are checked and folded: Python runs one thread at a time, and two that take turns every few
# milliseconds cost half as much again. What SQLite writes and syncs at a commit goes on beside the next check.
turn = RLock()

ALARMS = {FORGED: "forged", EQUIVOCAL: "equivocation", TAKEN: "equivocation"}


class Refusal(msgspec.Struct, frozen=True):
    """One foreign event that does not enter, and why."""

    uuid: str
    machine_id: str
    why: str


class Receipt:
    """What became of a batch of foreign events."""

    def __init__(self, blocked: Collection[str] = ()) -> None:
        self.accepted = 0
        self.duplicate = 0
        self.refused: list[Refusal] = []
        self.blocked_machines = set(blocked)  # of which something was refused: what follows has to wait

    def refuse(self, event: Event, why: str) -> None:
        """Refuse an event, and with it what follows of its machine: `newest` must never hide a hole."""
        self.refused.append(Refusal(event.uuid, event.machine_id, FOLLOWS if self.blocked(event) else why))
        self.blocked_machines.add(event.machine_id)

    def leave_out(self, event: Event, why: str) -> None:
        """Refuse this event alone: it is not its machine's fault, and must not silence it."""
        self.refused.append(Refusal(event.uuid, event.machine_id, why))

    def blocked(self, event: Event) -> bool:
        return event.machine_id in self.blocked_machines


class Checked(NamedTuple):
    """Foreign events, judged as far as that needs no write; `take` decides the rest."""

    batch: list[seals.Hashed]  # of members
    bodies: list[Body | None]  # of each event in the batch
    wrong: dict[int, str]  # position in the batch -> why that event cannot enter
    known: set[int]  # positions of events that were in the log already: verified when they came, not again
    strangers: list[Event]  # of machines that nobody had admitted yet


def receive(node: "Node", events: Sequence[Event]) -> Receipt:
    """See `Node.receive`."""
    return take(node, check(node, events))


def check(node: "Node", events: Sequence[Event]) -> Checked:
    """Form, membership, signatures: all that can be checked while another batch is written."""
    with turn:
        return _check(node, events)


def _check(node: "Node", events: Sequence[Event]) -> Checked:
    with node.reading() as db:
        trusted = members.keys(db)
        batch = seals.hashed([event for event in events if event.machine_id in trusted])
        index = log.index(db)
        stored = log.known(db, [e.uuid for e, _ in batch if e.hlc <= index[e.machine_id].newest])
        sealed = seals.proven(db, batch, lambda event: signed(event, trusted[event.machine_id]))
    bodies = [read_body(event) for event, _ in batch]
    wrong: dict[int, str] = {}
    known: set[int] = set()
    blocked: set[str] = set()  # after a wrong one nothing of its machine enters: verifying that would be for nothing
    for at, (event, _) in enumerate(batch):
        if event.machine_id in blocked:
            continue
        if rule := malformed(event, bodies[at]):
            wrong[at] = MALFORMED + rule
        elif event.uuid in stored and signed_bytes(stored[event.uuid]) == signed_bytes(event):
            known.add(at)
        elif at not in sealed and not signed(event, trusted[event.machine_id]):
            wrong[at] = FORGED
        if at in wrong:
            blocked.add(event.machine_id)
    return Checked(batch, bodies, wrong, known, [event for event in events if event.machine_id not in trusted])


def take(node: "Node", checked: Checked, blocked: Collection[str] = ()) -> Receipt:
    """Append and fold what belongs to the set, in one transaction; in one more what that made members of.

    `blocked` are machines of which an earlier batch of the same exchange had something refused.
    """
    receipt = Receipt(blocked)
    _append(node, checked, receipt)
    while checked.strangers:
        checked = check(node, checked.strangers)
        if not checked.batch:
            break
        _append(node, checked, receipt)
    for event in checked.strangers:
        receipt.refuse(event, STRANGER)
    return receipt


def _append(node: "Node", checked: Checked, receipt: Receipt) -> None:
    if not checked.batch:
        return
    refused_before, events = len(receipt.refused), list[Event]()
    with node.writing() as tx, turn:
        fresh = _new(tx.db, checked, receipt)
        if fresh:
            events = [checked.batch[at][0] for at in fresh]
            log.append(tx.db, events, [checked.batch[at][1] for at in fresh])
            fold = Fold(tx.db)
            fold.apply_all(events, [checked.bodies[at] for at in fresh])
            fold.flush()
            members.restore(tx.db)
            tx.wrote = True
        _raise_alarms(tx.db, node, receipt.refused[refused_before:], events)
    receipt.accepted += len(fresh)


def signed(event: Event, public_key: bytes) -> bool:
    """Whether the event's signature is of this key."""
    signature = identity.decode_signature(event.sig)
    return signature is not None and identity.verify(public_key, signed_bytes(event), signature)


def recheck(node: "Node", uuids: Sequence[str]) -> None:
    """Look at the signatures of these events: a seal had let them in, and elsewhere they may be refused.

    Of whoever signed one wrongly everything is looked at, so that the projections are rebuilt for it only once.
    """
    with node.reading() as db:
        trusted = members.keys(db)
        found = [event for event in log.get(db, uuids) if event.machine_id in trusted]
    guilty = {event.machine_id for event in found if not signed(event, trusted[event.machine_id])}
    if not guilty:
        return
    with node.reading() as db:
        theirs = (event for event in log.in_stamp_order(db) if event.machine_id in guilty)
        wrong = [event for event in theirs if not signed(event, trusted[event.machine_id])]
    receipt = Receipt()
    for event in wrong:
        receipt.refuse(event, FORGED)
    with node.writing() as tx:
        log.drop(tx.db, wrong)
        replay_events(tx.db)
        _raise_alarms(tx.db, node, receipt.refused, [])
        tx.wrote = True


def _new(db: sqlite3.Connection, checked: Checked, receipt: Receipt) -> list[int]:
    """Positions of those to append. Decided in the write transaction: log and revocations are what they are now."""
    trusted, through = members.keys(db), members.revoked(db)
    stored = log.known(db, [event.uuid for event, _ in checked.batch])
    fresh: list[int] = []
    for at, (event, _) in enumerate(checked.batch):
        if receipt.blocked(event):
            receipt.refuse(event, FOLLOWS)
        elif at in checked.wrong:
            receipt.refuse(event, checked.wrong[at])
        elif event.machine_id not in trusted:
            receipt.refuse(event, STRANGER)
        elif event.machine_id in through and event.hlc > through[event.machine_id]:
            receipt.refuse(event, REVOKED)
        elif at in checked.known:
            receipt.duplicate += 1
        elif event.uuid not in stored:
            stored[event.uuid] = event
            fresh.append(at)
        elif signed_bytes(stored[event.uuid]) == signed_bytes(event):
            receipt.duplicate += 1
        elif stored[event.uuid].machine_id != event.machine_id:
            receipt.leave_out(event, TAKEN)
        else:
            receipt.refuse(event, EQUIVOCAL)
    return fresh


def _raise_alarms(db: sqlite3.Connection, node: "Node", refused: list[Refusal], fresh: list[Event]) -> None:
    own = [event for event in fresh if event.machine_id == node.machine_id]
    alarms = [(ALARMS[r.why], r.machine_id, f"{r.why}: {r.uuid}") for r in refused if r.why in ALARMS]
    alarms += [
        (
            "clone",
            event.machine_id,
            f"this node's id wrote {event.uuid} elsewhere, or before a backup was restored",
        )
        for event in own
    ]
    elsewhere = [(event.hlc,) for event in own]
    db.executemany("INSERT OR IGNORE INTO own_elsewhere VALUES (?)", elsewhere)
    now_ms = node.now_ms()
    db.executemany(
        "INSERT INTO alarms VALUES (?1, ?2, ?3, ?4, ?4, 1) ON CONFLICT (kind, machine_id) DO UPDATE"
        " SET detail = ?3, last_ms = ?4, count = count + 1",
        [(*alarm, now_ms) for alarm in alarms],
    )
