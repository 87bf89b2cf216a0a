"""One round with a peer, as steps: yields what to ask, takes the answer, and ends with what happened.

No network here: `peer` plays a round over HTTP, the simulation over a simulated network. A round is state
(equal: done), pull what they have beyond us, push what we have beyond them, ranges where digests still
differ; again until nothing changes. What is remembered of a peer never decides what is sent.
"""

from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from functools import partial
from itertools import islice
from threading import Lock
from typing import Any

import msgspec

from claire.node import admit, hlc, log
from claire.node.errors import ClaireError
from claire.node.event import Event
from claire.node.node import SEAL_EVENTS, Node
from claire.sync import wire
from claire.sync.answers import READ_EVENTS, above, beyond, page
from claire.sync.messages import (
    EVENTS_PATH,
    IDS_MAX,
    POSITIONS_MAX,
    PROTOCOLS,
    RANGES_MAX,
    RANGES_PATH,
    STATE_PATH,
    Answer,
    Ask,
    Compare,
    Differences,
    Leaf,
    Problem,
    Span,
    State,
    Taken,
    after_query,
    differences,
    encode,
    problems,
    states,
    takens,
)
from claire.sync.plan import FIRST, LAST, behind, plan

PASSES_MAX = 20  # a peer that is written to all the time must not hold us for ever
FIRST_PAGE_EVENTS = 2 * SEAL_EVENTS  # of a pull: soon there, so that storing begins; whole segments all the same
COMPARES_MAX = 1_000  # requests to find the differences of one machine

REASON_CHARS_MAX = 300

NOTHING_SINCE = hlc.start("00000000-0000-0000-0000-000000000000")  # below every stamp

Steps = Generator[Ask, Answer, Any]


class PeerError(ClaireError):
    """The peer answered, and not as a peer does; `status` is its HTTP status."""

    def __init__(self, message: str, status: int = 200, hint: str = "") -> None:
        super().__init__(message, hint)
        self.status = status


class Cut(PeerError):
    """An answer that ended before its trailer; what was whole of it is stored."""


class Exchange(msgspec.Struct):
    """What happened in a round, as far as it came."""

    machine_id: str = ""
    received: int = 0
    sent: int = 0
    duplicate: int = 0
    refused: list[tuple[str, str]] = []  # (uuid, why), on either side
    behind: dict[str, int] = {}  # what they hold and we do not, by machine, when the round ended
    ahead: dict[str, int] = {}
    in_sync: bool = False
    skew_ms: int | None = None  # their clock minus ours, where they told the time
    etag: str = ""  # their newest known
    agreed: dict[str, str] = {}  # newest stamp of each machine when the two last agreed


def exchange_steps(node: Node, tally: Exchange) -> Steps:
    """A whole round; `tally` is filled as it goes, so that a cut round still tells what it did."""
    for _ in range(PASSES_MAX):
        with node.reading() as db:
            mine = log.index(db)
        asked_ms = node.now_ms()
        answer = yield Ask("GET", STATE_PATH, etag=log.etag_of(mine))
        if answer.status == 304:
            _agree(tally, mine)
            return
        state = _read_state(answer)
        tally.machine_id, tally.etag = state.machine_id, state.etag
        tally.skew_ms = state.now_ms - (asked_ms + node.now_ms()) // 2
        tally.behind, tally.ahead = behind(mine, state.index), behind(state.index, mine)
        before = (tally.received, tally.sent)
        todo = plan(mine, state.index)
        yield from pull_steps(node, todo.pull, tally)
        yield from doubt_steps(node, tally)
        yield from push_steps(node, todo.push, tally)
        for machine_id in todo.compare:
            yield from compare_steps(node, machine_id, tally)
        with node.reading() as db:
            mine = log.index(db)
        if log.etag_of(mine) == tally.etag:
            _agree(tally, mine)
        if tally.in_sync or (tally.received, tally.sent) == before:
            return


def _agree(tally: Exchange, mine: Mapping[str, log.IndexRow]) -> None:
    tally.in_sync, tally.behind, tally.ahead = True, {}, {}
    tally.agreed = {machine: row.newest for machine, row in mine.items() if row.count}


def news_steps(node: Node, tally: Exchange, agreed: Mapping[str, str]) -> Steps:
    """Send at once what this node wrote since the two agreed; a whole round if there is anything else to talk about.

    `agreed` is {} or what an earlier round left in its `Exchange`; it saves a request and decides nothing.
    """
    with node.reading() as db:
        mine = log.index(db)
        changed = {machine for machine, row in mine.items() if row.count and row.newest != agreed.get(machine)}
        if agreed and changed == {node.machine_id}:
            position = agreed.get(node.machine_id, hlc.start(node.machine_id))
            body, events, _ = page(beyond(db, {node.machine_id: position}), READ_EVENTS)  # more comes in rounds
        else:
            events = []
    if events:
        yield from _send(node, body, events, tally)
        if log.etag_of(mine) == tally.etag:
            _agree(tally, mine)
            return
    yield from exchange_steps(node, tally)


def look_steps(node: Node, tally: Exchange) -> Steps:
    """Only see where the peer stands: nothing is exchanged."""
    with node.reading() as db:
        mine = log.index(db)
    asked_ms = node.now_ms()
    answer = yield Ask("GET", STATE_PATH, etag=log.etag_of(mine))
    tally.in_sync = answer.status == 304
    if not tally.in_sync:
        state = _read_state(answer)
        tally.etag, tally.skew_ms = state.etag, state.now_ms - (asked_ms + node.now_ms()) // 2
        tally.behind, tally.ahead = behind(mine, state.index), behind(state.index, mine)


def _read_state(answer: Answer) -> State:
    state: State = wire.decode(states, expect(answer))
    if not set(state.proto) & set(PROTOCOLS):
        raise PeerError(
            f"it speaks exchange protocol {max(state.proto, default=0)}, this Claire {max(PROTOCOLS)}",
            hint="upgrade the older of the two",
        )
    return state


def expect(answer: Answer) -> bytes:
    """The body of a good answer; PeerError says what another one was."""
    if answer.status == 200:
        return answer.body
    raise PeerError(_reason(answer) or f"it answered HTTP {answer.status}", answer.status)


def _reason(answer: Answer) -> str:
    try:
        problem: Problem = wire.decode(problems, answer.body)
    except wire.Malformed:
        return ""
    return problem.error[:REASON_CHARS_MAX]


def pull_steps(node: Node, positions: Mapping[str, str], tally: Exchange) -> Steps:
    """Fetch everything beyond `positions`, page by page: while one is stored, the next is fetched and checked.

    Of a machine of which a page had something refused nothing later is stored: it would hide the hole.
    """
    left, refused = dict(positions), set[str]()
    limit = FIRST_PAGE_EVENTS
    store: Callable[[], set[str]] | None = None  # of the page before
    while left:
        asked = dict(islice(left.items(), POSITIONS_MAX))
        answer = yield Ask("GET", EVENTS_PATH, after_query(asked, limit), meanwhile=store)
        limit = wire.PAGE_EVENTS
        batch, checked = _checked(node, expect(answer))
        if store is not None:
            refused |= store()
        store = _once(partial(_take, node, checked, frozenset(refused), tally))
        if batch.trailer is None:
            store()
            raise Cut("its answer was cut")
        tally.etag = batch.trailer.etag
        newest = {event.machine_id: event.hlc for event in batch.events}
        if batch.trailer.more and not any(newest.get(machine, "") > stamp for machine, stamp in asked.items()):
            store()
            raise PeerError("it says there is more and sends nothing new")
        for machine_id in asked:
            if machine_id in refused or not batch.trailer.more:
                del left[machine_id]
            else:
                left[machine_id] = newest.get(machine_id, left[machine_id])
    if store is not None:
        store()


def doubt_steps(node: Node, tally: Exchange) -> Steps:
    """Ask by id for what came forged: a seal may have let it in over there, and asked so the peer looks again."""
    forged = dict.fromkeys(uuid for uuid, why in tally.refused if why == admit.FORGED)
    for some in _chunks(list(forged), IDS_MAX):
        answer = yield Ask("GET", EVENTS_PATH, tuple(("id", uuid) for uuid in some))
        _receive(node, expect(answer), tally)


def _once(work: Callable[[], set[str]]) -> Callable[[], set[str]]:
    """`work`, done by whoever calls first and then let go of; who calls meanwhile waits for it."""
    lock, todo, done = Lock(), [work], list[set[str]]()

    def run() -> set[str]:
        with lock:
            if todo:
                done.append(todo[0]())
                todo.clear()
            return done[0]

    return run


def _receive(node: Node, body: bytes, tally: Exchange) -> tuple[wire.Batch, set[str]]:
    """Store a body's events; the machines of which something was refused."""
    batch, checked = _checked(node, body)
    return batch, _take(node, checked, (), tally)


def _checked(node: Node, body: bytes) -> tuple[wire.Batch, admit.Checked]:
    with admit.turn:
        batch = wire.load(body)
        return batch, admit.check(node, batch.events)


def _take(node: Node, checked: admit.Checked, blocked: Collection[str], tally: Exchange) -> set[str]:
    """Store what was checked; the machines of which something was refused so far."""
    receipt = admit.take(node, checked, blocked)
    tally.received += receipt.accepted
    tally.duplicate += receipt.duplicate
    tally.refused += [(refusal.uuid, refusal.why) for refusal in receipt.refused]
    return receipt.blocked_machines


def push_steps(node: Node, positions: Mapping[str, str], tally: Exchange) -> Steps:
    """Send everything beyond `positions`, a bounded body at a time."""
    left = dict(positions)
    while left:
        with node.reading() as db:
            body, events, _ = page(beyond(db, left), wire.PAGE_EVENTS)
        if not events:
            return
        blocked = yield from _send(node, body, events, tally)
        sent = {event.machine_id: event.hlc for event in events}
        left = {m: sent.get(m, stamp) for m, stamp in left.items() if m not in blocked}


def _send(node: Node, body: bytes, events: list[Event], tally: Exchange) -> Generator[Ask, Answer, set[str]]:
    """Send one body; the machines of which the peer refused something."""
    taken: Taken = wire.decode(takens, expect((yield Ask("POST", EVENTS_PATH, body=body))))
    tally.sent += taken.accepted
    tally.etag = taken.etag
    tally.refused += [(refused.uuid, refused.why) for refused in taken.refused]
    refused = {refused.uuid: refused.why for refused in taken.refused}
    admit.recheck(node, [event.uuid for event in events if refused.get(event.uuid) == admit.FORGED])
    return {event.machine_id for event in events if event.uuid in refused}


def compare_steps(node: Node, machine_id: str, tally: Exchange) -> Steps:
    """Find where the two sets of one machine differ by halving ranges, and exchange what is missing."""
    spans = [Span(FIRST, LAST)]
    for _ in range(COMPARES_MAX):
        if not spans:
            return
        asked, spans = spans[:RANGES_MAX], spans[RANGES_MAX:]
        answer = yield Ask("POST", RANGES_PATH, body=encode(Compare(machine_id, asked)))
        found: Differences = wire.decode(differences, expect(answer))
        for leaf in found.leaves:
            yield from _settle(node, machine_id, leaf, tally)
        with node.reading() as db:
            spans += [span for span in map(_own(db, machine_id), found.split) if span is not None]


def _own(db: Any, machine_id: str) -> Any:
    def own(theirs: Span) -> Span | None:
        """Our fingerprint of a range of theirs, or None if it agrees."""
        count, digest = log.fingerprint(db, machine_id, theirs.lo, theirs.hi)
        return None if (count, digest) == (theirs.count, theirs.digest) else Span(theirs.lo, theirs.hi, count, digest)

    return own


def _settle(node: Node, machine_id: str, leaf: Leaf, tally: Exchange) -> Steps:
    """Exchange what one side of a range lacks of which the peer has few; we may have any number."""
    with node.reading() as db:
        known = log.known(db, [uuid for _, uuid in leaf.keys])
    for some in _chunks([uuid for _, uuid in leaf.keys if uuid not in known], IDS_MAX):
        answer = yield Ask("GET", EVENTS_PATH, tuple(("id", uuid) for uuid in some))
        _receive(node, expect(answer), tally)
    theirs, lo = {uuid for _, uuid in leaf.keys}, leaf.lo
    while True:
        with node.reading() as db:
            keys = log.keys(db, machine_id, lo, leaf.hi, READ_EVENTS)
            events = log.get(db, [uuid for _, uuid in keys if uuid not in theirs])
        while events:
            body, sent, _ = page([events], READ_EVENTS)
            yield from _send(node, body, sent, tally)
            events = events[len(sent) :]
        if len(keys) < READ_EVENTS:
            return
        lo = (keys[-1][0], keys[-1][1] + "~")  # just beyond that key


def _chunks(uuids: list[str], size: int) -> Iterator[list[str]]:
    return (uuids[start : start + size] for start in range(0, len(uuids), size))


def pull_since_steps(node: Node, since: str, tally: Exchange) -> Steps:
    """Everything the peer holds above one stamp; see `pull_from_peer` for what that misses."""
    stamp, more = since or NOTHING_SINCE, True
    while more:
        answer = yield Ask("GET", EVENTS_PATH, (("since", stamp), ("limit", str(wire.PAGE_EVENTS))))
        batch, _ = _receive(node, expect(answer), tally)
        if batch.trailer is None:
            raise Cut("its answer was cut")
        tally.etag, more = batch.trailer.etag, batch.trailer.more and bool(batch.events)
        stamp = max([stamp, *(event.hlc for event in batch.events)])
    yield from _compare_etags(node, tally)


def push_since_steps(node: Node, since: str, tally: Exchange) -> Steps:
    """Everything this node holds above one stamp, to the peer."""
    stamp, blocked = since or NOTHING_SINCE, set[str]()
    while True:
        with node.reading() as db:
            wanted = ([event for event in some if event.machine_id not in blocked] for some in above(db, stamp))
            body, events, _ = page(wanted, wire.PAGE_EVENTS)
        if not events:
            break
        blocked |= yield from _send(node, body, events, tally)
        stamp = events[-1].hlc
    yield from _compare_etags(node, tally)


def _compare_etags(node: Node, tally: Exchange) -> Steps:
    with node.reading() as db:
        etag = log.etag(db)
    answer = yield Ask("GET", STATE_PATH, etag=etag)
    tally.in_sync = answer.status == 304
