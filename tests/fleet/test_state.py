"""Evidence to state: the table, refinement, doubt."""

from __future__ import annotations

import json

import pytest

from claire.fleet import screen
from claire.fleet.state import WAITING, Claim, Confidence, Judgement, State, from_registry, judge
from tests.fleet.kit import CAPTURES, needs_kit

# What each capture of the real program is, with the registry's word and the screen's.
CAPTURED = {
    "ask": State.QUESTION,
    "bashmode": State.RATE_LIMITED,
    "bgshell": State.SHELL,
    "busy": State.WORKING,
    "busy_queued": State.WORKING,
    "helpoverlay": State.RATE_LIMITED,
    "idle": State.IDLE,
    "interrupted": State.INTERRUPTED,
    "perm_bash": State.PERMISSION,
    "perm_write": State.PERMISSION,
    "ratelimit": State.RATE_LIMITED,
    "slashmenu": State.RATE_LIMITED,
}


@needs_kit
@pytest.mark.parametrize("name", CAPTURED)
def test_captures(name: str) -> None:
    folder = CAPTURES / "screens"
    entry = json.loads((folder / f"{name}.json").read_text())["registry"]
    claim = from_registry(entry["status"], entry.get("waitingFor", ""), entry["statusUpdatedAt"])
    shown = screen.read((folder / f"{name}.txt").read_text()).state
    assert claim and shown
    judged = judge([claim, Claim("screen", shown)])
    assert judged.state is CAPTURED[name]
    assert judged.confidence is not Confidence.LOW
    assert judged.since_ms == (entry["statusUpdatedAt"] if judged.source == "registry" else 0)


def test_nothing_is_idle_by_default() -> None:
    assert judge([]) == Judgement(State.UNKNOWN, "", 0, Confidence.LOW)
    assert from_registry("", "", 0) is None
    assert from_registry("a-status-of-next-year", "", 0) is None


@pytest.mark.parametrize(
    ("waiting_for", "state"),
    [
        ("permission prompt", State.PERMISSION),
        ("sandbox request", State.PERMISSION),
        ("input needed", State.QUESTION),
        ("dialog open", State.DIALOG),
        ("something new", State.DIALOG),
    ],
)
def test_waiting(waiting_for: str, state: State) -> None:
    claim = from_registry("waiting", waiting_for, 5)
    assert claim and judge([claim]) == Judgement(state, "registry", 5, Confidence.HIGH, waiting_for)


def idle(since_ms: int = 10) -> Claim:
    claim = from_registry("idle", "", since_ms)
    assert claim
    return claim


def busy(since_ms: int = 10) -> Claim:
    claim = from_registry("busy", "", since_ms)
    assert claim
    return claim


def test_the_registry_calls_a_failed_turn_idle() -> None:
    judged = judge([idle(), Claim("transcript", State.RATE_LIMITED, 9)])
    assert (judged.state, judged.source, judged.since_ms) == (State.RATE_LIMITED, "transcript", 9)


def test_the_registry_knows_a_prompt_from_a_slow_tool() -> None:
    judged = judge([busy(), Claim("screen", State.PERMISSION)])
    assert (judged.state, judged.confidence) == (State.WORKING, Confidence.LOW)


def test_a_transcript_cannot_tell_a_slow_tool_from_a_prompt_but_the_screen_can() -> None:
    open_tool = Claim("transcript", State.WORKING, 9, may_be=WAITING)
    assert judge([open_tool]).state is State.WORKING
    assert judge([open_tool, Claim("screen", State.PERMISSION)]).state is State.PERMISSION


def test_disagreement_lowers_confidence() -> None:
    assert judge([idle(10), Claim("transcript", State.WORKING, 11)]).confidence is Confidence.LOW
    assert judge([idle(10), Claim("transcript", State.IDLE, 11)]).confidence is Confidence.HIGH


def test_what_is_older_is_outdated_not_contradicting() -> None:
    assert judge([busy(10), Claim("transcript", State.IDLE, 9)]).confidence is Confidence.HIGH
