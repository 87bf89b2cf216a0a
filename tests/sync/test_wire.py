"""The strict decoder: what it takes comes back unchanged, what parsers disagree about stays outside."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claire.node.event import Event
from claire.sync import wire

MACHINE = "7f9a3c2b-1a4d-8e7f-9c2b-3d8a1e4f6c5b"
OTHER = "00000000-1a4d-8e7f-9c2b-3d8a1e4f6c5b"


def event(payload: str = "{}", machine: str = MACHINE, number: int = 1, **fields: str) -> Event:
    values = {
        "uuid": f"00000000-0000-7000-8000-{number:012d}",
        "hlc": f"1716253199000.{number:06d}.{machine}",
        "machine_id": machine,
        "event_type": "project_created",
        "payload": payload,
        "created_at": "2024-05-21T01:00:00.000Z",
        "sig": "A" * 86,
    }
    return Event(**{**values, **fields})


TEXT = st.text('ab\\"/[{u0\n\x1b\u00e9\u202e\U0001f600', max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_dump_and_load_give_the_same_events_back(payload: dict[str, object]) -> None:
    events = [event(msgspec.json.encode(payload).decode(), number=number) for number in (1, 2, 3)]
    batch = wire.load(wire.dump(events) + wire.dump_trailer(False, "e"))
    assert batch == (events, wire.Trailer(False, "e"))


def test_payload_text_is_kept_to_the_byte() -> None:
    text = '{ "b":1.50,\n"a" : "\\u00e9é" }'
    [loaded] = wire.load(wire.dump([event(text)])).events
    assert loaded.payload == text


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 60_000, b"null", b"{}", b"\xff\xfe", b'{"uuid":1}', b"GET / HTTP/1.1",
        wire.dump_line(event()).replace(b'"sig":', b'"extra":"","sig":'),
        wire.dump_line(event()).replace(b'"sig":', b'"sig":"B","sig":'),
        b"x" * (wire.LINE_BYTES_MAX + 1),
    ],
)  # fmt: skip
def test_what_is_not_an_envelope_is_refused_whole(line: bytes) -> None:
    with pytest.raises(wire.Malformed):
        wire.load(wire.dump([event()]) + line + b"\n")


def test_a_body_has_a_limit() -> None:
    with pytest.raises(wire.Malformed, match="body larger"):
        wire.load(b"\n" * (wire.BATCH_BYTES_MAX + 1))


@given(st.binary(max_size=300))
def test_bytes_never_raise_anything_else(body: bytes) -> None:
    with contextlib.suppress(wire.Malformed):
        wire.load(body)


def test_a_cut_body_has_no_trailer() -> None:
    whole = wire.dump([event(), event(number=2)]) + wire.dump_trailer(False, "etag")
    for cut in range(len(whole)):
        try:
            assert wire.load(whole[:cut]).trailer is None
        except wire.Malformed:
            continue
