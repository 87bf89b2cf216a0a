"""The form of an event: what its envelope may hold, how large it may be, and what parsers disagree about."""

import msgspec
import pytest

from claire.node import form
from claire.node.event import EVENT_BYTES_MAX, Event, read_body

MACHINE = "7f9a3c2b-1a4d-8e7f-9c2b-3d8a1e4f6c5b"
OTHER = "00000000-1a4d-8e7f-9c2b-3d8a1e4f6c5b"


def event(**fields: str) -> Event:
    values = {
        "uuid": "00000000-0000-7000-8000-000000000001",
        "hlc": f"1716253199000.000001.{MACHINE}",
        "machine_id": MACHINE,
        "event_type": "project_created",
        "payload": "{}",
        "created_at": "2024-05-21T01:00:00.000Z",
        "sig": "A" * 86,
    }
    return Event(**{**values, **fields})


def malformed(event: Event) -> str | None:
    return form.malformed(event, read_body(event))


def test_a_good_one_breaks_no_rule() -> None:
    assert malformed(event()) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"uuid": "x"}, {"uuid": "00000000-0000-7000-8000-00000000000G"}, {"hlc": "999.000001." + MACHINE},
        {"hlc": f"17162531990000.000001.{MACHINE}"}, {"hlc": f"1716253199000.0000001.{MACHINE}"}, {"hlc":
        f"-716253199000.000001.{MACHINE}"}, {"hlc": f"1716253199000.000001.{OTHER}"}, {"sig": "A" * 85},
        {"sig": "=" * 86}, {"event_type": "Project"}, {"event_type": ""}, {"created_at": "\x1b[2J"},
    ],
)  # fmt: skip
def test_a_malformed_envelope_breaks_one(fields: dict[str, str]) -> None:
    assert malformed(event(**fields))


def test_the_largest_payload_passes_and_one_byte_more_does_not() -> None:
    largest = '{"a":"' + '\\"' * ((EVENT_BYTES_MAX - 8) // 2) + '"}'
    assert len(largest) == EVENT_BYTES_MAX
    assert malformed(event(payload=largest)) is None
    assert malformed(event(payload=largest.replace('"}', 'x"}')))


@pytest.mark.parametrize(
    "payload",
    [
        '{"a":NaN}', '{"a":Infinity}', '{"a":1e400}', '{"a":' + "1" * 5000 + "}", '{"a":' + "1" * 4301 +
        "}", '{"a":1,"a":2}', '{"a":{"b":1,"b":1}}', '{"a":"\\ud800"}', '{"a":"\\ud800\\u0041"}',
        '{"a":"\\u0000"}', "\ufeff{}", "[]", "", "1", "{", "{}{}", '{"a":1,}', "[" * 60_000, '{"a":' * 17 +
        "1" + "}" * 17, '{"a":01}', "// no\n{}", "{'a':1}",
    ],
)  # fmt: skip
def test_odd_payloads_break_one(payload: str) -> None:
    assert (malformed(event(payload=payload)) or "").startswith("payload: ")


@pytest.mark.parametrize("name", ["a\x00b", "\x00"])
def test_a_nul_breaks_one_though_its_type_is_known(name: str) -> None:
    payload = msgspec.json.encode({"project_id": "p", "name": name}).decode()
    assert read_body(event(payload=payload)) is not None
    assert malformed(event(payload=payload)) == "payload: NUL character"


def test_backslash_u0000_as_typed_text_is_not_a_nul() -> None:
    assert malformed(event(payload=msgspec.json.encode({"a": "\\u0000"}).decode())) is None


def test_a_key_twice_breaks_one_though_its_type_is_known() -> None:
    payload = '{"project_id":"p","name":"a","name":"a"}'
    assert read_body(event(payload=payload)) is not None
    assert malformed(event(payload=payload)) == "payload: duplicate key"


def test_a_payload_may_nest_sixteen_deep_and_hold_brackets_in_text() -> None:
    deep = '{"a":' * 16 + "1" + "}" * 16
    flat = msgspec.json.encode({"a": '[{"' * 100}).decode()
    assert malformed(event(payload=deep)) is None and malformed(event(payload=flat)) is None
