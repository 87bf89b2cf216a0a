"""The one fold for every field that can change: a register and its heads.

A changing event says which earlier events it replaces. An event not replaced by any other is a head; more than one
head with different values is a real conflict: concurrent edits, made without having seen each other. An edit made
after seeing a value replaces it whatever the clocks say. (The multi-value register of Shapiro et al., "A comprehensive
study of Convergent and Commutative Replicated Data Types", 2011, with a total order to choose the value shown.)

Pure: heads are values, the caller keeps them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

Value = Any  # what JSON can say: str, int, bool, None
Head = tuple[str, str, Value]  # (hlc, uuid, value) of an event that nothing has replaced
Rank = Callable[[Value], int]

STATUS_RANKS = {"todo": 0, "in_progress": 1, "blocked": 2, "done": 3}


def status_rank(value: Value) -> int:
    """Task status: of concurrent edits the one nearer to done is shown."""
    return STATUS_RANKS.get(value, -1)


def true_wins(value: Value) -> int:
    """Deletion and links: of concurrent edits the one that says yes is shown."""
    return int(value is True)


def latest_wins(_value: Value) -> int:
    return 0


def fold(heads: Sequence[Head], head: Head, replaced: Collection[str], dead: bool) -> list[Head]:
    """The heads after one more event: `replaced` are the uuids it replaces, `dead` if it was replaced before it came.

    Order-free: in whatever order events are folded, the heads are those events that no folded event replaces,
    provided the caller remembers what was replaced and says so in `dead`.
    """
    if not dead and (not heads or (len(heads) == 1 and heads[0][1] in replaced)):
        return [head]  # nothing concurrent: nearly every change there is
    kept = [other for other in heads if other[1] not in replaced and other[1] != head[1]]
    if not dead:
        kept.append(head)
        kept.sort(key=lambda other: other[:2])
    return kept


def winner(heads: Sequence[Head], rank: Rank = latest_wins) -> Head | None:
    """The head whose value is shown: highest (rank, hlc, uuid)."""
    if len(heads) == 1:
        return heads[0]
    return max(heads, key=lambda head: (rank(head[2]), head[0], head[1]), default=None)


def conflict(heads: Iterable[Head]) -> bool:
    """True if the heads disagree; the same value set twice is no conflict."""
    values = [head[2] for head in heads]
    return any(value != values[0] for value in values[1:])


def set_newest(row: dict[str, Any], column: str, stamp: str, values: Mapping[str, Value]) -> None:
    """For facts that are said whole: the row holds what was said at the newest stamp, which `column` keeps.

    Clones of a machine can say two things at one stamp; then the greater values count, on every node alike.
    """
    held = row[column] or ""
    if stamp > held or (stamp == held and [*values.values()] > [row[field] for field in values]):
        row.update(values)
        row[column] = stamp


def set_oldest(row: dict[str, Any], column: str, stamp: str, values: Mapping[str, Value]) -> None:
    """The same for facts that are said once: what was said first holds, and of one stamp the smaller values."""
    held = row[column]
    if held is None or stamp < held or (stamp == held and [*values.values()] < [row[field] for field in values]):
        row.update(values)
        row[column] = stamp
