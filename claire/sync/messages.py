"""The requests and answers of a round as values: what they say, their limits, their checks. Pure."""

from collections.abc import Callable, Mapping
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from claire.node import hlc

PROTOCOLS = (1,)  # versions of the exchange this Claire speaks
STATE_PATH, EVENTS_PATH, RANGES_PATH = "/api/sync/state", "/api/sync/events", "/api/sync/ranges"

NDJSON, JSON = "application/x-ndjson", "application/json"  # of a body of events, of any other

POSITIONS_MAX = 100  # machines named in one request line
IDS_MAX = 200  # event ids named in one request line
RANGES_MAX = 64  # ranges compared by one request
MEMBERS_MAX = 10_000

MachineId = Annotated[str, Meta(pattern=f"^{hlc.UUID}$")]
Stamp = Annotated[str, Meta(pattern=f"^{hlc.STAMP.pattern}$")]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
Count = Annotated[int, Meta(ge=0, le=2**48)]  # MEMBERS_MAX of them still add up to what a database holds
Moment = Annotated[int, Meta(ge=-(2**53), le=2**53)]  # Unix milliseconds, by whatever clock
KeyText = Annotated[str, Meta(max_length=64, pattern="^[0-9a-f.~-]*$")]
KeyPair = tuple[KeyText, KeyText]


class Ask(NamedTuple):
    """A request as the protocol sees it. `etag` becomes If-None-Match.

    `meanwhile` is work for the time the answer takes; who carries the request may begin it then, in a thread.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    etag: str = ""
    meanwhile: Callable[[], object] | None = None


class Answer(NamedTuple):
    status: int
    body: bytes = b""


class Row(msgspec.Struct, frozen=True):
    """One machine in an index."""

    newest: Stamp
    count: Count
    digest: Digest


class State(msgspec.Struct, frozen=True):
    """Answer of GET state: who I am, what time I have, what I hold."""

    machine_id: MachineId
    now_ms: Moment
    proto: Annotated[list[int], Meta(max_length=100)]
    etag: Digest
    index: Annotated[dict[MachineId, Row], Meta(max_length=MEMBERS_MAX)]


class Refused(msgspec.Struct, frozen=True):
    uuid: Annotated[str, Meta(max_length=80)]
    why: Annotated[str, Meta(max_length=500)]
    machine_id: Annotated[str, Meta(max_length=80)] = ""


class Taken(msgspec.Struct, frozen=True):
    """Answer of POST events."""

    accepted: Count
    duplicate: Count
    refused: list[Refused]
    etag: Digest


class Problem(msgspec.Struct, frozen=True):
    """Any answer that is no good one says why."""

    error: str = ""


class Span(msgspec.Struct, frozen=True):
    """Keys from `lo` up to but not including `hi`; without a digest: split it, whatever it holds."""

    lo: KeyPair
    hi: KeyPair
    count: Count = 0
    digest: str = ""


class Compare(msgspec.Struct, frozen=True):
    """Body of POST ranges."""

    machine_id: MachineId
    ranges: Annotated[list[Span], Meta(max_length=RANGES_MAX)]


class Leaf(msgspec.Struct, frozen=True):
    """All keys of a small range."""

    lo: KeyPair
    hi: KeyPair
    keys: list[KeyPair]


class Differences(msgspec.Struct, frozen=True):
    """Answer of POST ranges: what differs, as smaller ranges, or as keys where they are few."""

    split: list[Span]
    leaves: list[Leaf]


states = msgspec.json.Decoder(State)
problems = msgspec.json.Decoder(Problem)
takens = msgspec.json.Decoder(Taken)
compares = msgspec.json.Decoder(Compare)
differences = msgspec.json.Decoder(Differences)
encode = msgspec.json.Encoder().encode


def after_query(positions: Mapping[str, str], limit: int) -> tuple[tuple[str, str], ...]:
    """The query that names positions; a stamp carries its machine's id."""
    return (*(("after", stamp) for stamp in positions.values()), ("limit", str(limit)))
