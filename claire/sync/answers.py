"""What a node answers to each request of a round: a function of the node and the request, no network here."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

from claire.node import admit, hlc, log, seals
from claire.node.event import Event
from claire.node.node import Node
from claire.sync import plan, wire
from claire.sync.messages import (
    EVENTS_PATH,
    IDS_MAX,
    POSITIONS_MAX,
    PROTOCOLS,
    RANGES_PATH,
    STATE_PATH,
    Answer,
    Ask,
    Compare,
    Differences,
    Leaf,
    Problem,
    Refused,
    Row,
    Span,
    State,
    Taken,
    compares,
    encode,
)

READ_EVENTS = 500  # rows held at once while a page is built
COMPARED_EVENTS_MAX = 200_000  # by one request, and the range that goes beyond: a slow host answers in time too


def answer(node: Node, ask: Ask) -> Answer:
    """The answer to any request of a round; what is wrong with one is said in its answer."""
    handler = HANDLERS.get((ask.method, ask.path))
    if handler is None:
        return problem(404, "no such route")
    try:
        return handler(node, ask)
    except wire.Malformed as error:
        return problem(413 if "larger than" in error.rule else 400, error.message)


def problem(status: int, why: str) -> Answer:
    return Answer(status, encode(Problem(why)))


def state(node: Node, ask: Ask) -> Answer:
    with node.reading() as db:
        index = log.index(db)
    etag = log.etag_of(index)
    if ask.etag == etag:
        return Answer(304)
    rows = {machine: Row(row.newest, row.count, row.digest) for machine, row in index.items()}
    return Answer(200, encode(State(node.machine_id, node.now_ms(), list(PROTOCOLS), etag, rows)))


def events(node: Node, ask: Ask) -> Answer:
    """A page of events: by position (`after`), by id, or everything above one stamp (`since`).

    Who asks by id lacks what we hold, or has refused it as forged: we look at the signatures ourselves before we send.
    """
    names = {name for name, _ in ask.query} - {"limit"}
    limit = _limit(ask)
    if names == {"id"}:
        admit.recheck(node, _values(ask, "id", IDS_MAX))
    with node.reading() as db:
        if names == {"id"}:
            pages = iter([log.get(db, _values(ask, "id", IDS_MAX))])
        elif names == {"since"}:
            pages = above(db, _since_stamp(ask))
        elif names == {"after"}:
            pages = beyond(db, _positions(ask))
        else:
            raise wire.Malformed("name what you want: after=, id= or since=")
        body, _, more = page(pages, limit)
        return Answer(200, body + wire.dump_trailer(more, log.etag(db)))


def page(pages: Iterable[list[Event]], limit: int) -> tuple[bytes, list[Event], bool]:
    """NDJSON of as many events as one body may have, those events, and whether there were more."""
    lines: list[bytes] = []
    size = 0
    taken: list[Event] = []
    for event in chain.from_iterable(pages):
        line = wire.dump_line(event)
        if len(lines) == limit or size + len(line) > wire.PAGE_BYTES:
            taken = taken[: _through_last_seal(taken)]
            return b"".join(lines[: len(taken)]), taken, True
        lines.append(line)
        taken.append(event)
        size += len(line)
    return b"".join(lines), taken, False


def _through_last_seal(events: list[Event]) -> int:
    """How many events a page should have that must end somewhere: what is cut from its seal is verified one by one."""
    for at in range(len(events) - 1, -1, -1):
        if events[at].event_type == seals.EventsSealed.wire_name:
            return at + 1
    return len(events)


def beyond(db: sqlite3.Connection, positions: Mapping[str, str]) -> Iterator[list[Event]]:
    """Each machine's events beyond its position, a few at a time."""
    for machine_id, stamp in positions.items():
        while events := log.after(db, {machine_id: stamp}, READ_EVENTS):
            yield events
            stamp = events[-1].hlc


def above(db: sqlite3.Connection, stamp: str) -> Iterator[list[Event]]:
    """Every machine's events above one stamp, a few at a time."""
    while events := log.since(db, stamp, READ_EVENTS):
        yield events
        stamp = events[-1].hlc


def take(node: Node, ask: Ask) -> Answer:
    """Receive pushed events. Who sends a malformed one, which no node does, is told that alone."""
    receipt = node.receive(wire.load(ask.body).events)
    if rules := [refusal.why for refusal in receipt.refused if refusal.why.startswith(admit.MALFORMED)]:
        return problem(400, rules[0])
    refused = [Refused(refusal.uuid, refusal.why, refusal.machine_id) for refusal in receipt.refused]
    with node.reading() as db:
        return Answer(200, encode(Taken(receipt.accepted, receipt.duplicate, refused, log.etag(db))))


def ranges(node: Node, ask: Ask) -> Answer:
    compare: Compare = wire.decode(compares, ask.body)
    if plan.overlap([(span.lo, span.hi) for span in compare.ranges]):
        raise wire.Malformed("ranges that overlap")  # so that one request reads a machine's events once at most
    differences = Differences([], [])
    compared = 0
    with node.reading() as db:
        for span in compare.ranges:
            if compared < COMPARED_EVENTS_MAX:
                compared += _differ(db, compare.machine_id, span, differences)
            else:
                differences.split.append(Span(span.lo, span.hi))  # unseen: it will be asked again
    return Answer(200, encode(differences))


def _differ(db: sqlite3.Connection, machine_id: str, span: Span, differences: Differences) -> int:
    """Add how a range differs, if it does; how many events it has here."""
    count = log.count(db, machine_id, span.lo, span.hi)
    if count == span.count and log.fingerprint(db, machine_id, span.lo, span.hi)[1] == span.digest:
        return count
    if count <= plan.LEAF_KEYS:
        keys = log.keys(db, machine_id, span.lo, span.hi, plan.LEAF_KEYS)
        differences.leaves.append(Leaf(span.lo, span.hi, keys))
        return count
    found = log.parts(db, machine_id, span.lo, span.hi, plan.cuts(count))
    borders = plan.between(span.lo, [key for key, _, _ in found[1:]], span.hi)
    for (lo, hi), (_, events, part) in zip(borders, found, strict=True):
        differences.split.append(Span(lo, hi, events, part))
    return count


def _limit(ask: Ask) -> int:
    values = _values(ask, "limit", 1)
    if not values:
        return wire.PAGE_EVENTS
    if not values[0].isdecimal() or len(values[0]) > 9:
        raise wire.Malformed("limit is not a number")
    return max(1, min(int(values[0]), wire.PAGE_EVENTS))


def _positions(ask: Ask) -> dict[str, str]:
    stamps = _values(ask, "after", POSITIONS_MAX)
    return {_machine(stamp): stamp for stamp in stamps}


def _since_stamp(ask: Ask) -> str:
    [stamp] = _values(ask, "since", 1) or [""]
    _machine(stamp)
    return stamp


def _machine(stamp: str) -> str:
    try:
        return hlc.decode(stamp)[2]
    except ValueError as error:
        raise wire.Malformed(str(error)) from None


def _values(ask: Ask, name: str, maximum: int) -> list[str]:
    values = [value for key, value in ask.query if key == name]
    if len(values) > maximum:
        raise wire.Malformed(f"{name} is named more than {maximum} times")
    return values


HANDLERS: dict[tuple[str, str], Callable[[Node, Ask], Answer]] = {
    ("GET", STATE_PATH): state,
    ("GET", EVENTS_PATH): events,
    ("POST", EVENTS_PATH): take,
    ("POST", RANGES_PATH): ranges,
}
