"""From evidence to a state: what a session does, who said so, since when, how sure. Pure.

Sources, best first: the registry, hooks, the transcript's tail, the screen. The first that
knows decides, unless it cannot tell apart what a later one can (`may_be`). A source that
contradicts lowers the confidence. Nothing is idle because nobody said anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    WORKING = "working"
    IDLE = "idle"
    PERMISSION = "permission"
    QUESTION = "question"
    DIALOG = "dialog"
    SHELL = "shell"
    RATE_LIMITED = "rate-limited"
    ERROR = "error"
    INTERRUPTED = "interrupted"
    CRASHED = "crashed"
    ORPHANED = "orphaned"
    GONE = "gone"
    UNKNOWN = "unknown"


class Confidence(StrEnum):
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Claim:
    """One source's word: the state it saw and since when."""

    source: str
    state: State
    since_ms: int = 0
    waiting_for: str = ""
    may_be: frozenset[State] = frozenset()  # what this source cannot tell from the state it names


@dataclass(frozen=True, slots=True)
class Judgement:
    state: State
    source: str = ""
    since_ms: int = 0
    confidence: Confidence = Confidence.LOW
    waiting_for: str = ""


_WAITS = {
    "permission prompt": State.PERMISSION,
    "sandbox request": State.PERMISSION,
    "worker request": State.PERMISSION,
    "input needed": State.QUESTION,
    "dialog open": State.DIALOG,
}
_STATUS = {"busy": State.WORKING, "idle": State.IDLE, "shell": State.SHELL}
_CONFIDENCE = {
    "registry": Confidence.HIGH,
    "hook": Confidence.HIGH,
    "transcript": Confidence.MEDIUM,
    "screen": Confidence.MEDIUM,
}
WAITING = frozenset({State.PERMISSION, State.QUESTION, State.DIALOG})
# The registry calls a session idle whose turn was cut short; only its transcript says why.
ENDED_BADLY = frozenset({State.RATE_LIMITED, State.ERROR, State.INTERRUPTED})


def from_registry(status: str, waiting_for: str, since_ms: int) -> Claim | None:
    """The registry's word; None for a status this version does not know."""
    if status == "waiting":
        state = _WAITS.get(waiting_for, State.DIALOG)
        return Claim("registry", state, since_ms, waiting_for)
    if status not in _STATUS:
        return None
    return Claim("registry", _STATUS[status], since_ms, may_be=ENDED_BADLY if status == "idle" else frozenset())


def judge(claims: list[Claim]) -> Judgement:
    """Claims in the order of their sources; the first one decides, later ones refine or cast doubt."""
    if not claims:
        return Judgement(State.UNKNOWN)
    best = first = claims[0]
    for claim in claims[1:]:
        if claim.state in best.may_be:
            best = claim
    doubt = any(_contradicts(claim, best) for claim in claims if claim is not first)
    confidence = Confidence.LOW if doubt else _CONFIDENCE[best.source]
    return Judgement(best.state, best.source, best.since_ms, confidence, best.waiting_for)


def _contradicts(claim: Claim, best: Claim) -> bool:
    """Another word on the present; what is older than the deciding one is only out of date."""
    if claim.state == best.state or {claim.state, best.state} == {State.IDLE, State.SHELL}:
        return False
    if 0 < claim.since_ms < best.since_ms:
        return False
    return best.state not in claim.may_be
