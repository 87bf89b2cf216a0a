"""Bytes <-> events: the NDJSON of `/api/sync/events`, its limits, and the only validation of foreign data.

A line is one event as `msgspec` writes it, payload included as the exact text that was signed. What is
refused here is refused on every node alike, so a set of well-formed events is the same set everywhere.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from claire.node.errors import ClaireError
from claire.node.event import EVENT_BYTES_MAX, Event, holds_nul, malformed

LINE_BYTES_MAX = 2 * EVENT_BYTES_MAX + 1024  # JSON text grows at most twofold when quoted; plus the envelope
BATCH_BYTES_MAX = 4 * 1024 * 1024  # one request or answer body, inflated
PAGE_BYTES = BATCH_BYTES_MAX - LINE_BYTES_MAX  # what we fill of it: room for a trailer
PAGE_EVENTS = 5_000  # events of one answer
DEPTH_MAX = 16  # nesting of a payload

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKETS = re.compile(r"[\[\]{}]")


class Malformed(ClaireError):
    """A peer sent what no honest node writes; `machine_id` is whose event it was, where that can be read."""

    def __init__(self, rule: str, machine_id: str = "", uuid: str = "") -> None:
        super().__init__(f"malformed: {rule}")
        self.rule, self.machine_id, self.uuid = rule, machine_id, uuid


class Trailer(msgspec.Struct, frozen=True):
    """Last line of an answer; an answer without it was cut."""

    more: bool
    etag: str


class Batch(NamedTuple):
    """The well-formed events of a body, the malformed ones, and the trailer if the body is complete."""

    events: list[Event]
    malformed: list[Malformed]
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
    """Decode a body.

    A malformed event takes the rest of its machine's events with it: taking them would leave a hole that
    `newest` hides. Raises Malformed where it cannot be said whose event it is, or if the body is too large.
    """
    if len(body) > BATCH_BYTES_MAX:
        raise Malformed(f"body larger than {BATCH_BYTES_MAX} bytes")
    *lines, rest = body.split(b"\n")
    trailer = None
    if lines and lines[-1].startswith(b'{"more":'):
        trailer = decode(_trailers, lines.pop())
    elif rest:
        lines.append(rest)
    if (events := _load_canonical(lines)) is not None:
        return Batch(events, [], trailer)
    events = []
    refused: dict[str, Malformed] = {}
    for line in lines:
        try:
            event = load_line(line)
        except Malformed as error:
            if not error.machine_id:
                raise
            refused.setdefault(error.machine_id, error)
            continue
        if event.machine_id not in refused:
            events.append(event)
    return Batch(events, list(refused.values()), trailer)


def _load_canonical(lines: list[bytes]) -> list[Event] | None:
    """All lines at once, where they are all good and in the form we write ourselves; nearly all bodies are."""
    body = b"\n".join(lines)
    try:
        events: list[Event] = _events.decode_lines(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if _encoder.encode_lines(events).rstrip(b"\n") != body or max(map(len, lines), default=0) > LINE_BYTES_MAX:
        return None
    good = all(malformed(event) is None and _payload_rule(event.payload) is None for event in events)
    return events if good else None


def load_line(line: bytes) -> Event:
    """One event, every field checked for form; whether it is signed by a member is the node's question."""
    if len(line) > LINE_BYTES_MAX:
        raise Malformed(f"event larger than {EVENT_BYTES_MAX} bytes")
    event: Event = decode(_events, line)
    if _encoder.encode(event) != line:  # equal text has no duplicate key, and nearly all text is equal
        _unique_keys(line.decode())
    if rule := malformed(event) or _payload_rule(event.payload):
        raise Malformed(rule, event.machine_id, event.uuid)
    return event


def decode(decoder: "msgspec.json.Decoder[Any]", data: bytes) -> Any:
    """The value in foreign bytes, as `decoder` types it; Malformed says why not."""
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from None


def _payload_rule(text: str) -> str | None:
    try:
        strict_json(text)
    except Malformed as error:
        return f"payload: {error.rule}"
    return None


def strict_json(text: str) -> dict[str, Any]:
    """The JSON object in `text`, refusing what parsers disagree about."""
    if holds_nul(text):
        raise Malformed("NUL character")
    if _too_deep(text):
        raise Malformed(f"nested deeper than {DEPTH_MAX}")
    value = decode(_any, text.encode())
    if not isinstance(value, dict):
        raise Malformed("not an object")
    if _encoder.encode(value).decode() != text:
        _unique_keys(text)
    return value


_any = msgspec.json.Decoder(Any)


def _too_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= DEPTH_MAX:
        return False
    depth = 0
    for bracket in _BRACKETS.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > DEPTH_MAX:
            return True
    return False


def _unique_keys(text: str) -> None:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            raise Malformed("duplicate key")
        return found

    json.loads(text, object_pairs_hook=pairs)
