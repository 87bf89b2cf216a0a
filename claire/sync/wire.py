"""Bytes <-> events: the NDJSON of `/api/sync/events` and its limits.

A line is one event as `msgspec` writes it, payload included as the exact text that was signed.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from claire.node import form
from claire.node.errors import ClaireError
from claire.node.event import EVENT_BYTES_MAX, Event

LINE_BYTES_MAX = 2 * EVENT_BYTES_MAX + 1024  # JSON text grows at most twofold when quoted; plus the envelope
BATCH_BYTES_MAX = 4 * 1024 * 1024  # one request or answer body, inflated
PAGE_BYTES = BATCH_BYTES_MAX - LINE_BYTES_MAX  # what we fill of it: room for a trailer
PAGE_EVENTS = 8_000  # events of one answer


class Malformed(ClaireError):
    """A peer sent what no honest node writes."""

    def __init__(self, rule: str) -> None:
        super().__init__(f"malformed: {rule}")
        self.rule = rule


class Trailer(msgspec.Struct, frozen=True):
    """Last line of an answer; an answer without it was cut."""

    more: bool
    etag: str


class Batch(NamedTuple):
    """The events of a body, and its trailer if it is complete."""

    events: list[Event]
    trailer: Trailer | None


_events = msgspec.json.Decoder(Event)
_trailers = msgspec.json.Decoder(Trailer)
_encoder = msgspec.json.Encoder()


def dump(events: Iterable[Event]) -> bytes:
    """NDJSON, one event a line."""
    return _encoder.encode_lines(events)


def dump_line(event: Event) -> bytes:
    return _encoder.encode(event) + b"\n"


def dump_trailer(more: bool, etag: str) -> bytes:
    return _encoder.encode(Trailer(more, etag)) + b"\n"


def load(body: bytes) -> Batch:
    """Decode a body; Malformed if a line of it is no event, or it is too large.

    Whether an event has the form of one, and who signed it, is the node's question: see `admit`.
    """
    if len(body) > BATCH_BYTES_MAX:
        raise Malformed(f"body larger than {BATCH_BYTES_MAX} bytes")
    trailer, end, last_line = None, len(body), body.rfind(b"\n", 0, -1) + 1
    if body.startswith(b'{"more":', last_line) and body.endswith(b"\n"):
        trailer, end = decode(_trailers, body[last_line:-1]), last_line
    events = _load_canonical(body, end)
    if events is None:
        events = [load_line(line) for line in body[:end].removesuffix(b"\n").split(b"\n")]
    return Batch(events, trailer)


def _load_canonical(body: bytes, end: int) -> list[Event] | None:
    """All lines up to `end` at once, where they are in the form we write ourselves; nearly all bodies are.

    Megabytes are not copied: fresh memory costs more than what is done with it.
    """
    try:
        events: list[Event] = _events.decode_lines(memoryview(body)[:end])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    written = _encoder.encode_lines(events)
    return events if len(written) == end and body.startswith(written) else None


def load_line(line: bytes) -> Event:
    """One event."""
    if len(line) > LINE_BYTES_MAX:
        raise Malformed(f"event larger than {EVENT_BYTES_MAX} bytes")
    event: Event = decode(_events, line)
    if _encoder.encode(event) != line and form.repeats_a_key(line.decode()):  # equal text has no duplicate key
        raise Malformed("duplicate key")
    return event


def decode(decoder: "msgspec.json.Decoder[Any]", data: bytes) -> Any:
    """The value in foreign bytes, as `decoder` types it; Malformed says why not."""
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from None
