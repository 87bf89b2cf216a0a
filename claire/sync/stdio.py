"""A round over a pair of pipes, such as ssh makes: for hosts that open no port. The other side is `serve`.

One greeting each way, then a line of JSON and a body for each request, and for its answer. Whoever can start the
other side is that user already, so nothing is signed here; what enters the log is verified as ever.
"""

from typing import IO

import msgspec

from claire.node import members
from claire.node.errors import ClaireError, Refused
from claire.node.node import Node
from claire.sync import wire
from claire.sync.answers import answer, problem
from claire.sync.messages import Answer, Ask, Count, MachineId
from claire.sync.pairing import Hex32, Name
from claire.sync.round import Exchange, Steps, exchange_steps

HEAD_BYTES_MAX = 64 * 1024
BANNER_LINES_MAX = 100  # what a shell may say before us
AGAIN = "run it again: it goes on where it stopped"


class Hello(msgspec.Struct, frozen=True, tag="hello", tag_field="claire-stdio"):
    """First line of each side: who speaks, with what key; `admit` asks to be paired, and is answered alike."""

    machine_id: MachineId
    public_key: Hex32
    name: Name
    admit: bool = False
    error: str = ""


class Head(msgspec.Struct, frozen=True):
    """A request's first line."""

    method: str
    path: str
    query: list[tuple[str, str]]
    etag: str
    length: Count


class Reply(msgspec.Struct, frozen=True):
    """An answer's first line."""

    status: int
    length: Count


_hellos = msgspec.json.Decoder(Hello)
_heads = msgspec.json.Decoder(Head)
_replies = msgspec.json.Decoder(Reply)
_encode = msgspec.json.Encoder().encode


def serve(node: Node, name: str, coming: IO[bytes], going: IO[bytes]) -> None:
    """Answer until the other side closes. A node that is no member is told so, and no more."""
    _send(going, Hello(node.machine_id, node.identity.public_key.hex(), name))
    theirs: Hello = wire.decode(_hellos, coming.readline(HEAD_BYTES_MAX))
    refused = _stranger(node, theirs)
    _send(going, Hello(node.machine_id, node.identity.public_key.hex(), name, theirs.admit, refused))
    while not refused and (line := coming.readline(HEAD_BYTES_MAX)):
        head: Head = wire.decode(_heads, line)
        if head.length > wire.BATCH_BYTES_MAX:
            given = problem(413, "body too large")
        else:
            body = coming.read(head.length)
            given = answer(node, Ask(head.method, head.path, tuple(head.query), body, head.etag))
        _send(going, Reply(given.status, len(given.body)), given.body)


def _stranger(node: Node, other: Hello) -> str:
    """Why this node does not exchange with the other; "" if it does, having admitted it where both wish so."""
    with node.reading() as db:
        known, revoked = other.machine_id in members.keys(db), other.machine_id in members.revoked(db)
        suspended = other.machine_id in members.suspended(db, node.machine_id)
    if other.machine_id == node.machine_id:
        return "both ends are the same node, or copies of it: `claire identity rotate --copy` makes one of them another"
    if revoked:
        return f"{other.name} was cut off"
    if suspended:
        return f"{other.name} cut this node off"
    if known:
        return ""
    if not other.admit or not members.proves(other.public_key, other.machine_id):
        return "the two are no members of one fleet"
    with node.writing() as tx:
        members.admit(tx, other.public_key, other.name)
    return ""


def exchange(node: Node, name: str, coming: IO[bytes], going: IO[bytes], tally: Exchange, *, admit: bool) -> Hello:
    """A whole round with a `serve` at the other end; who that is. `admit` pairs the two first."""
    theirs = _greeting(coming)
    _send(going, Hello(node.machine_id, node.identity.public_key.hex(), name, admit))
    refused = wire.decode(_hellos, _line(coming)).error
    refused = refused or _stranger(node, msgspec.structs.replace(theirs, admit=admit))
    if refused:
        raise Refused(refused, "" if admit else "to make them so: claire sync --ssh HOST --pair")
    steps: Steps = exchange_steps(node, tally)
    given = None
    while (ask := _next(steps, given)) is not None:
        _send(going, Head(ask.method, ask.path, list(ask.query), ask.etag, len(ask.body)), ask.body)
        reply: Reply = wire.decode(_replies, _line(coming))
        if reply.length > wire.BATCH_BYTES_MAX:
            raise wire.Malformed(f"answer larger than {wire.BATCH_BYTES_MAX} bytes")
        given = Answer(reply.status, coming.read(reply.length))
    tally.machine_id = theirs.machine_id
    return theirs


def _next(steps: Steps, given: Answer | None) -> Ask | None:
    try:
        return steps.send(given)  # type: ignore[arg-type]  # the first send is None
    except StopIteration:
        return None


def _greeting(coming: IO[bytes]) -> Hello:
    """The first line that is ours; shells greet people before."""
    for _ in range(BANNER_LINES_MAX):
        line = coming.readline(HEAD_BYTES_MAX)
        if not line:
            break
        if line.startswith(b'{"claire-stdio":'):
            hello: Hello = wire.decode(_hellos, line)
            return hello
    raise ClaireError("no Claire answers there", "is `claire` on the PATH of that host, and `claire init` done?")


def _line(coming: IO[bytes]) -> bytes:
    line = coming.readline(HEAD_BYTES_MAX)
    if not line.endswith(b"\n"):
        raise ClaireError("the connection was cut", AGAIN)
    return line


def _send(going: IO[bytes], head: msgspec.Struct, body: bytes = b"") -> None:
    going.write(_encode(head) + b"\n" + body)
    going.flush()
