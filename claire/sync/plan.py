"""Two indexes -> what to pull, what to push, what to compare; and how ranges of keys are narrowed down. Pure.

An index has one row for each member, also for one without events: the row says "I accept this machine". So
a machine only one side has in its index waits until its admission has travelled, and a round runs until
nothing changes.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

Key = tuple[str, str]  # (hlc, uuid): stamps alone cannot split, two live clones can make the same one

FIRST: Key = ("", "")
LAST: Key = ("~", "~")  # above every stamp
FANOUT_RANGES = 16  # sub-ranges a differing range is cut into
LEAF_KEYS = 64  # a range this small is answered with its keys


class Row(Protocol):
    """What an index says of one machine."""

    @property
    def newest(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def digest(self) -> str: ...


class Plan(NamedTuple):
    """Positions are `{machine_id: stamp}`: everything of that machine after that stamp."""

    pull: dict[str, str]
    push: dict[str, str]
    compare: list[str]


def plan(mine: Mapping[str, Row], theirs: Mapping[str, Row]) -> Plan:
    """What to do so that both sides hold the union, machine by machine, in a stable order."""
    pull, push, compare = {}, {}, []
    for machine_id in sorted(mine.keys() & theirs.keys()):
        own, other = mine[machine_id], theirs[machine_id]
        if other.newest > own.newest:
            pull[machine_id] = own.newest
        elif own.newest > other.newest:
            push[machine_id] = other.newest
        elif (own.count, own.digest) != (other.count, other.digest):
            compare.append(machine_id)
    return Plan(pull, push, compare)


def behind(mine: Mapping[str, Row], theirs: Mapping[str, Row]) -> dict[str, int]:
    """`{machine_id: events}` they hold and we do not, at least; machines we do not accept yet included."""
    missing = {
        machine_id: other.count - (mine[machine_id].count if machine_id in mine else 0)
        for machine_id, other in theirs.items()
    }
    return {machine_id: events for machine_id, events in sorted(missing.items()) if events > 0}


def cuts(count: int) -> list[int]:
    """Offsets at which `count` keys are cut into at most FANOUT_RANGES parts of nearly equal size."""
    parts = min(FANOUT_RANGES, count)
    return [count * part // parts for part in range(1, parts)]


def between(lo: Key, inner: Sequence[Key], hi: Key) -> list[tuple[Key, Key]]:
    """The ranges that `inner` keys, ascending, cut [lo, hi) into."""
    return [(low, high) for low, high in pairwise([lo, *inner, hi]) if low < high]


def overlap(ranges: Iterable[tuple[Key, Key]]) -> bool:
    """True if any key is in two of these, or one ends before it begins."""
    ordered = sorted(ranges)
    return any(low > high for low, high in ordered) or any(
        high > following for (_, high), (following, _) in pairwise(ordered)
    )
