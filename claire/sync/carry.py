"""The log as a file: NDJSON of events, out of one node and, verified as from any peer, into another."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

import msgspec

from claire.node import admit, log
from claire.node.errors import UsageError
from claire.node.event import Event
from claire.node.node import Node
from claire.sync import wire

BATCH_EVENTS = 2_000  # received in one transaction
HINT = "export it again, and carry the whole file"


class Carried(msgspec.Struct):
    """What a file brought."""

    accepted: int = 0
    duplicate: int = 0
    refused: list[admit.Refusal] = []
    etag: str = ""  # of the node that wrote the file; "" where the file was cut
    in_sync: bool = False  # this node now holds exactly what that one held


def export(node: Node, write: Callable[[bytes], object], since_ms: int = 0) -> int:
    """Write every event from `since_ms` on, one a line and the oldest first, and last the trailer; how many."""
    count = 0
    with node.reading() as db:
        for event in log.in_stamp_order(db, (f"{since_ms:013d}", "") if since_ms else log.FIRST):
            write(wire.dump_line(event))
            count += 1
        write(wire.dump_trailer(False, log.etag(db)))
    return count


def bring_in(node: Node, file: BinaryIO) -> Carried:
    """Receive all events of a file that can be read twice.

    Once more while a pass brought something and left strangers: whoever admits them may stand further down.
    """
    carried = Carried()
    while True:
        file.seek(0)
        brought = _pass(node, file)
        carried.accepted += brought.accepted
        carried.duplicate = carried.duplicate or brought.duplicate
        carried.refused, carried.etag = brought.refused, brought.etag
        if not brought.accepted or not any(refusal.why == admit.STRANGER for refusal in brought.refused):
            break
    with node.reading() as db:
        carried.in_sync = log.etag(db) == carried.etag
    return carried


def _pass(node: Node, file: BinaryIO) -> Carried:
    carried = Carried()
    blocked: set[str] = set()
    for batch in _batches(file, carried):
        receipt = node.receive([event for event in batch if event.machine_id not in blocked])
        carried.accepted += receipt.accepted
        carried.duplicate += receipt.duplicate
        carried.refused += receipt.refused
        blocked |= receipt.blocked_machines
    return carried


def _batches(file: BinaryIO, carried: Carried) -> Iterator[list[Event]]:
    """Its events, some at a time; a line that is none ends it all."""
    batch: list[Event] = []
    number = 0
    while line := file.readline(wire.LINE_BYTES_MAX + 1):
        number += 1
        if not line.endswith(b"\n") and len(line) <= wire.LINE_BYTES_MAX:
            break  # the file was cut; what is whole of it counts
        if line.startswith(b'{"more":'):
            carried.etag = wire.decode(_trailers, line).etag
            continue
        try:
            batch.append(wire.load_line(line.rstrip(b"\n")))
        except wire.Malformed as error:
            raise UsageError(f"line {number} is no event: {error.rule}", HINT) from None
        if len(batch) == BATCH_EVENTS:
            yield batch
            batch = []
    yield batch


_trailers = msgspec.json.Decoder(wire.Trailer)
