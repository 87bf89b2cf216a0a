"""What an event is: its envelope, the bytes its signature covers, and the types whose payloads we can read.

An event is a fact: it is stored, signed and sent as the exact text it was made of, and folding it never refuses.
A type, a field or a version that this Claire does not know is kept and relayed all the same, and folded after an
upgrade that knows it.
"""

import importlib
import re
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

import msgspec

from claire.node import hlc

if TYPE_CHECKING:
    from claire.node.fold import Fold

EVENT_BYTES_MAX = 64 * 1024  # all fields together; larger facts belong in files, not in the log

# Every module that defines event types; read when a type is met that no imported module has defined yet.
NOUNS = (
    "projects",
    "tasks",
    "assignments",
    "sessions",
    "groups",
    "updates",
    "decisions",
    "broadcasts",
    "notices",
    "members",
    "seals",
)

_UUID = re.compile(hlc.UUID)
_TYPE = re.compile(r"[a-z][a-z_]{0,63}")
_CREATED_AT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_SIGNATURE = re.compile(r"[A-Za-z0-9_-]{86}")
_ENVELOPE = re.compile(  # all of them at once, a line each; no field of a good event has a line feed
    rf"{_UUID.pattern}\n[0-9]{{13}}\.[0-9]{{6}}\.({hlc.UUID})\n\1\n"
    rf"{_TYPE.pattern}\n{_CREATED_AT.pattern}\n{_SIGNATURE.pattern}"
)


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the log, fields in wire order. `payload` is JSON text, `sig` base64url without padding."""

    uuid: str
    hlc: str
    machine_id: str
    event_type: str
    payload: str
    created_at: str
    sig: str


class Body(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What an event says; one subclass for each event type, with its fold."""

    wire_name: ClassVar[str]

    def fold(self, fold: "Fold", event: Event) -> None:
        """Bring this fact into the projections, in any order with others. Must not refuse and not do I/O but SQL."""
        raise NotImplementedError


def said(fields: msgspec.Struct) -> dict[str, Any]:
    """The fields of a change that are set, by name."""
    values: dict[str, Any] = msgspec.to_builtins(fields)
    return values


Millis = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]  # Unix time; what SQLite can hold, whoever wrote it

BodyClass = TypeVar("BodyClass", bound=type[Body])
_types: dict[str, tuple[type[Body], "msgspec.json.Decoder[Body]"]] = {}


def event_type(wire_name: str) -> Callable[[BodyClass], BodyClass]:
    """Give a body class its name on the wire. The name is frozen for ever; a golden line guards it."""

    def register(body_class: BodyClass) -> BodyClass:
        body_class.wire_name = wire_name
        _types[wire_name] = (body_class, msgspec.json.Decoder(body_class))
        return body_class

    return register


def all_types() -> dict[str, type[Body]]:
    """Every event type this Claire knows, by wire name."""
    _load_nouns()
    return {name: body_class for name, (body_class, _) in _types.items()}


def read_body(event: Event) -> Body | None:
    """The body of an event, or None if this Claire cannot read it (unknown type, field or value)."""
    if event.event_type not in _types:
        _load_nouns()
    known = _types.get(event.event_type)
    if known is None:
        return None
    try:
        return known[1].decode(event.payload)
    except msgspec.ValidationError:
        return None


def write_payload(body: Body) -> str:
    """The payload of an event of ours. ValueError if every other node would refuse it, and all that follows it."""
    payload = msgspec.json.encode(body).decode()  # half a surrogate pair is a UnicodeEncodeError, a ValueError too
    if holds_nul(payload):
        raise ValueError("NUL character")
    return payload


def holds_nul(payload: str) -> bool:
    """True if a string in this JSON text holds U+0000, at which some readers of text stop and others do not."""
    return "\\u0000" in payload and _NUL.search(payload) is not None


def signed_bytes(event: Event) -> bytes:
    return signing_text(event.uuid, event.hlc, event.event_type, event.created_at, event.payload)


def signing_text(uuid: str, stamp: str, type_name: str, created_at: str, payload: str) -> bytes:
    return f"claire-event-v1\n{uuid}\n{stamp}\n{type_name}\n{created_at}\n{payload}".encode()


def event_hash(event: Event) -> int:
    """128-bit BLAKE2b of the signed bytes, as an integer; digests of sets are the XOR of these."""
    return int.from_bytes(blake2b(signed_bytes(event), digest_size=16).digest(), "big")


def malformed(event: Event) -> str | None:
    """Which rule of the envelope a foreign event breaks, or None. Decided alike on every node and version."""
    lines = f"{event.uuid}\n{event.hlc}\n{event.machine_id}\n{event.event_type}\n{event.created_at}\n{event.sig}"
    if _ENVELOPE.fullmatch(lines) is None:
        return _broken_rule(event)
    if len(event.payload) * 4 > EVENT_BYTES_MAX and len(event.payload.encode()) > EVENT_BYTES_MAX:
        return f"payload is larger than {EVENT_BYTES_MAX} bytes"
    return None


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


@cache
def _load_nouns() -> None:
    """Import every noun, once: a command that meets only its own types never pays for the others."""
    for noun in NOUNS:
        importlib.import_module(f"claire.node.{noun}")
