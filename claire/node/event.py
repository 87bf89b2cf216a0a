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

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
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

    def row(self) -> tuple[str, str] | None:
        """(table, id) of the row this fact changes, if it says so before it is folded: then it is read with others."""
        return None

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
    """The body of an event, or None if this Claire cannot read it (unknown type, field or value, or no JSON)."""
    if event.event_type not in _types:
        _load_nouns()
    known = _types.get(event.event_type)
    if known is None:
        return None
    try:
        return known[1].decode(event.payload)
    except (msgspec.DecodeError, RecursionError):
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


@cache
def _load_nouns() -> None:
    """Import every noun, once: a command that meets only its own types never pays for the others."""
    for noun in NOUNS:
        importlib.import_module(f"claire.node.{noun}")
