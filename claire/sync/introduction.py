"""What anybody may bring, because members signed it: who admitted a node, and who cut one off.

A node that a member has not heard of yet introduces itself with the admissions that make it one; a node that was cut
off is shown the revocation when it is refused. Nothing but such events is taken this way.
"""

import msgspec

from claire.node import log, members
from claire.node.admit import signed
from claire.node.node import Node
from claire.sync import wire
from claire.sync.answers import problem
from claire.sync.messages import Answer, Ask, encode

PATH = "/api/sync/introduction"
EVENTS_MAX = 16
BYTES_MAX = 16 * 1024
ADMITTED, REVOKED = "node_admitted", "node_revoked"


class Refusal(msgspec.Struct):
    """A 403 with the revocations behind it, as NDJSON."""

    error: str = ""
    evidence: str = ""


_refusals = msgspec.json.Decoder(Refusal)


def of(node: Node) -> bytes:
    """NDJSON of how this node came to be a member, from its own admissions upwards; empty if nobody admitted it."""
    with node.reading() as db:
        return wire.dump(members.admissions_of(db, node.machine_id, EVENTS_MAX))


def take(node: Node, ask: Ask) -> Answer:
    """The answer to an introduction."""
    try:
        return Answer(200, encode({"accepted": heed(node, ask.body, ADMITTED)}))
    except wire.Malformed as error:
        return problem(400, error.message)


def refusal(node: Node, machine_id: str, error: str) -> bytes:
    with node.reading() as db:
        return encode(Refusal(error, wire.dump(members.revocations_of(db, machine_id)[:EVENTS_MAX]).decode()))


def hear_refusal(node: Node, answer: Answer) -> None:
    """Take in who cut us off, if a refusal shows it."""
    try:
        shown: Refusal = wire.decode(_refusals, answer.body)
        heed(node, shown.evidence.encode(), REVOKED)
    except wire.Malformed:
        return  # a refusal in other words, or by somebody else


def heed(node: Node, body: bytes, event_type: str) -> int:
    """Take in events of one type that are new here and signed by members; how many.

    Whatever else a stranger brings costs us no write and raises no alarm about members.
    """
    batch = wire.load(body)
    if len(batch.events) > EVENTS_MAX:
        raise wire.Malformed(f"more than {EVENTS_MAX} events")
    with node.reading() as db:
        known, keys, cut = log.known(db, [event.uuid for event in batch.events]), members.keys(db), members.revoked(db)
    fresh = [
        event
        for event in batch.events
        if event.event_type == event_type
        and event.uuid not in known
        and event.hlc <= cut.get(event.machine_id, event.hlc)
        and (event.machine_id not in keys or signed(event, keys[event.machine_id]))
    ]
    return node.receive(fresh).accepted if fresh else 0
