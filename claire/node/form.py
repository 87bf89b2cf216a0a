"""The form of an event: the rules every node checks alike, before it asks who signed it. Pure.

What one JSON reader takes for something else than another does has no place in a log that all must read alike.
"""

import json
import re
from typing import Any

import msgspec

from claire.node import hlc
from claire.node.event import EVENT_BYTES_MAX, Body, Event, holds_nul

DEPTH_MAX = 16  # nesting of a payload

_UUID = re.compile(hlc.UUID)
_TYPE = re.compile(r"[a-z][a-z_]{0,63}")
_CREATED_AT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_SIGNATURE = re.compile(r"[A-Za-z0-9_-]{86}")
_is_envelope = re.compile(  # all of them at once, a line each; no field of a good event has a line feed
    rf"{_UUID.pattern}\n[0-9]{{13}}\.[0-9]{{6}}\.({hlc.UUID})\n\1\n"
    rf"{_TYPE.pattern}\n{_CREATED_AT.pattern}\n{_SIGNATURE.pattern}"
).fullmatch
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKETS = re.compile(r"[\[\]{}]")

_any = msgspec.json.Decoder(Any)
_encode = msgspec.json.Encoder().encode


def malformed(event: Event, body: Body | None) -> str | None:
    """Which rule a foreign event breaks, or None; `body` is what `read_body` makes of it."""
    lines = f"{event.uuid}\n{event.hlc}\n{event.machine_id}\n{event.event_type}\n{event.created_at}\n{event.sig}"
    if _is_envelope(lines) is None:
        return _broken_rule(event)
    payload = event.payload
    if len(payload) * 4 > EVENT_BYTES_MAX and len(payload.encode()) > EVENT_BYTES_MAX:
        return f"payload is larger than {EVENT_BYTES_MAX} bytes"
    if body is not None and _encode(body) == payload.encode() and "\\u0000" not in payload:
        return None  # the text we would write ourselves; nearly every payload is
    rule = ambiguity(payload)
    return f"payload: {rule}" if rule else None


def _broken_rule(event: Event) -> str:
    if _UUID.fullmatch(event.uuid) is None:
        return "uuid is not a lower-case UUID"
    stamp = hlc.STAMP.fullmatch(event.hlc)
    if stamp is None:
        return "hlc is not {13 digits}.{6 digits}.{machine id}"
    if stamp[3] != event.machine_id:
        return "hlc and machine_id disagree"
    if _TYPE.fullmatch(event.event_type) is None:
        return "event_type is not a lower-case name"
    if _CREATED_AT.fullmatch(event.created_at) is None:
        return "created_at is not a UTC time with milliseconds"
    return "sig is not 86 characters of base64url"


def ambiguity(text: str) -> str | None:
    """What parsers disagree about in this text of a JSON object, or None."""
    if holds_nul(text):
        return "NUL character"
    if _too_deep(text):
        return f"nested deeper than {DEPTH_MAX}"
    try:
        value = _any.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return str(error)
    if not isinstance(value, dict):
        return "not an object"
    if _encode(value).decode() != text and repeats_a_key(text):
        return "duplicate key"
    return None


def _too_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= DEPTH_MAX:
        return False
    depth = 0
    for bracket in _BRACKETS.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > DEPTH_MAX:
            return True
    return False


def repeats_a_key(text: str) -> bool:
    """Whether an object in this JSON text names a key twice."""
    repeated = False

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        found = dict(items)
        repeated = repeated or len(found) != len(items)
        return found

    json.loads(text, object_pairs_hook=pairs)
    return repeated
