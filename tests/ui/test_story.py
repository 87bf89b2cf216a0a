"""Every event this Claire knows has a sentence, and no payload breaks one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claire.node.event import all_types
from claire.ui import story

GOLDEN = Path(__file__).resolve().parents[1] / "node" / "golden.ndjson"
EVENTS = [msgspec.json.decode(line) for line in GOLDEN.read_text().splitlines()]
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
FIELDS = sorted({field for body in all_types().values() for field in body.__struct_fields__})


def label(id: str) -> str:
    return f"<{id[:8]}>"


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event["event_type"])
def test_every_golden_event_is_told(event: dict[str, Any]) -> None:
    told = story.tell(event["event_type"], msgspec.json.decode(event["payload"]), label)
    assert told and "cannot be read" not in told and "malformed" not in told


def test_every_type_has_a_teller() -> None:
    assert set(story.TELLERS) == set(all_types())


@given(st.sampled_from(sorted(all_types())), st.dictionaries(st.sampled_from(FIELDS), ANY, max_size=6) | ANY)
def test_no_payload_breaks_a_sentence(event_type: str, payload: Any) -> None:
    assert isinstance(story.tell(event_type, payload, label), str)
    assert all(isinstance(id, str) for id in story.mentioned([payload]))


def test_what_a_newer_claire_wrote_is_told_by_its_type() -> None:
    assert story.tell("future_thing", {}, label).startswith("future_thing (cannot be read here")


@pytest.mark.parametrize(
    ("event_type", "payload", "told"),
    [
        ("task_changed", {"task_id": "t", "set": {"status": "in_progress"}}, "task <t>: status in progress"),
        ("task_changed", {"task_id": "t", "set": {"deleted": True}}, "task <t> removed"),
        ("task_changed", {"task_id": "t", "set": {"project_id": "p"}}, "task <t>: project <p>"),
        ("project_merged", {"project_id": "a", "into": "b"}, "project <a> merged into <b>"),
        ("decision_logged", {"text": "no retry", "task_id": "t"}, "decided for <t>: no retry"),
    ],
)
def test_sentences(event_type: str, payload: dict[str, Any], told: str) -> None:
    assert story.tell(event_type, payload, label) == told
