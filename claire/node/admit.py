"""What enters the log from elsewhere: well-formed, signed, by a member, not beyond a revocation, not known yet.

Every node decides this alike, whatever way and in whatever order an event came; so equal knowledge of who is a member
gives equal sets.
"""

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from claire.node import identity, log, members, seals
from claire.node.event import Event, malformed, signed_bytes
from claire.node.fold import Fold, replay_events

if TYPE_CHECKING:
    from claire.node.node import Node

STRANGER = "its machine is not a member"
FOLLOWS = "follows a refused event of its machine"
FORGED = "the signature does not verify"
EQUIVOCAL = "another event has this uuid; the first one is kept"
TAKEN = "another machine took this uuid first"
REVOKED = "its machine was revoked before this event"

ALARMS = {FORGED: "forged", EQUIVOCAL: "equivocation", TAKEN: "equivocation"}


class Refusal(msgspec.Struct, frozen=True):
    """One foreign event that does not enter, and why."""

    uuid: str
    machine_id: str
    why: str


class Receipt:
    """What became of a batch of foreign events."""

    def __init__(self) -> None:
        self.accepted = 0
        self.duplicate = 0
        self.refused: list[Refusal] = []
        self.fresh: list[str] = []  # uuids of the accepted, to be forwarded
        self.blocked_machines: set[str] = set()  # of which something was refused: what follows has to wait

    def refuse(self, event: Event, why: str) -> None:
        """Refuse an event, and with it what follows of its machine: `newest` must never hide a hole."""
        self.refused.append(Refusal(event.uuid, event.machine_id, FOLLOWS if self.blocked(event) else why))
        self.blocked_machines.add(event.machine_id)

    def leave_out(self, event: Event, why: str) -> None:
        """Refuse this event alone: it is not its machine's fault, and must not silence it."""
        self.refused.append(Refusal(event.uuid, event.machine_id, why))

    def blocked(self, event: Event) -> bool:
        return event.machine_id in self.blocked_machines


def receive(node: "Node", events: Sequence[Event]) -> Receipt:
    """Check outside the write transaction, append and fold in it. See `Node.receive`."""
    receipt = Receipt()
    waiting = list(events)
    while True:
        with node.reading() as db:
            trusted = members.keys(db)
        batch = [event for event in waiting if event.machine_id in trusted]
        waiting = [event for event in waiting if event.machine_id not in trusted]
        if not batch:
            break
        _take(node, batch, trusted, receipt)
    for event in waiting:
        receipt.refuse(event, malformed(event) or STRANGER)
    return receipt


def _take(node: "Node", events: list[Event], trusted: dict[str, bytes], receipt: Receipt) -> None:
    batch = seals.hashed(events)
    with node.reading() as db:
        known = log.known(db, [event.uuid for event in events])
        sealed = seals.proven(db, batch, lambda event: signed(event, trusted[event.machine_id]))
    sound = [
        (event, number)
        for at, (event, number) in enumerate(batch)
        if _sound(event, known.get(event.uuid), at in sealed, trusted, receipt)
    ]
    with node.writing() as tx:
        fresh = _new(tx.db, sound, receipt)
        if fresh:
            log.append(tx.db, [event for event, _ in fresh], [number for _, number in fresh])
            fold = Fold(tx.db)
            for event, _ in fresh:
                fold.apply(event)
            fold.flush()
            members.restore(tx.db)
            tx.wrote = True
        _raise_alarms(tx.db, node, receipt, [event for event, _ in fresh])
    receipt.accepted += len(fresh)
    receipt.fresh += [event.uuid for event, _ in fresh]


def _sound(event: Event, stored: Event | None, sealed: bool, trusted: dict[str, bytes], receipt: Receipt) -> bool:
    """False if the event is refused or known already. What is known was verified when it came."""
    if receipt.blocked(event):
        receipt.refuse(event, FOLLOWS)
    elif (why := malformed(event)) is not None:
        receipt.refuse(event, why)
    elif stored is not None and signed_bytes(stored) == signed_bytes(event):
        receipt.duplicate += 1
    elif not sealed and not signed(event, trusted[event.machine_id]):
        receipt.refuse(event, FORGED)
    else:
        return True
    return False


def signed(event: Event, public_key: bytes) -> bool:
    """Whether the event's signature is of this key."""
    signature = identity.decode_signature(event.sig)
    return signature is not None and identity.verify(public_key, signed_bytes(event), signature)


def recheck(node: "Node", uuids: Sequence[str]) -> None:
    """Drop those of these events whose own signature is wrong: a seal had let them in, elsewhere they are refused."""
    with node.reading() as db:
        trusted = members.keys(db)
        found = [event for event in log.get(db, uuids) if event.machine_id in trusted]
    wrong = [event for event in found if not signed(event, trusted[event.machine_id])]
    if not wrong:
        return
    receipt = Receipt()
    for event in wrong:
        receipt.refuse(event, FORGED)
    with node.writing() as tx:
        log.drop(tx.db, wrong)
        replay_events(tx.db)
        _raise_alarms(tx.db, node, receipt, [])
        tx.wrote = True


def _new(db: sqlite3.Connection, sound: list[seals.Hashed], receipt: Receipt) -> list[seals.Hashed]:
    """Those to append. Decided in the write transaction: log and revocations are what they are now."""
    through = members.revoked(db)
    known = log.known(db, [event.uuid for event, _ in sound])
    fresh: list[seals.Hashed] = []
    blocked: set[str] = set()  # not the receipt's: what that holds by now came after these events
    for event, number in sound:
        stored = known.get(event.uuid)
        if event.machine_id in blocked:
            receipt.refuse(event, FOLLOWS)
        elif event.machine_id in through and event.hlc > through[event.machine_id]:
            blocked.add(event.machine_id)
            receipt.refuse(event, REVOKED)
        elif stored is None:
            known[event.uuid] = event
            fresh.append((event, number))
        elif signed_bytes(stored) == signed_bytes(event):
            receipt.duplicate += 1
        elif stored.machine_id != event.machine_id:
            receipt.leave_out(event, TAKEN)
        else:
            blocked.add(event.machine_id)
            receipt.refuse(event, EQUIVOCAL)
    return fresh


def _raise_alarms(db: sqlite3.Connection, node: "Node", receipt: Receipt, fresh: list[Event]) -> None:
    alarms = [(ALARMS[r.why], r.machine_id, f"{r.why}: {r.uuid}") for r in receipt.refused if r.why in ALARMS]
    alarms += [
        (
            "clone",
            event.machine_id,
            f"this node's id wrote {event.uuid} elsewhere, or before a backup was restored",
        )
        for event in fresh
        if event.machine_id == node.machine_id
    ]
    elsewhere = [(event.hlc,) for event in fresh if event.machine_id == node.machine_id]
    db.executemany("INSERT OR IGNORE INTO own_elsewhere VALUES (?)", elsewhere)
    now_ms = node.now_ms()
    db.executemany(
        "INSERT INTO alarms VALUES (?1, ?2, ?3, ?4, ?4, 1) ON CONFLICT (kind, machine_id) DO UPDATE"
        " SET detail = ?3, last_ms = ?4, count = count + 1",
        [(*alarm, now_ms) for alarm in alarms],
    )
