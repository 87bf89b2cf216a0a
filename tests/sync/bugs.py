"""Known bugs, each switched in for as long as its context lasts: a simulation that misses one proves nothing."""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from claire.node import admit, hlc, log, registers
from claire.sync import round
from claire.sync.plan import Plan, Row, plan


@contextmanager
def one_cursor() -> Iterator[None]:
    """Ask for everything above the newest stamp seen, as with `since=`, instead of by machine."""

    def by_cursor(mine: Mapping[str, Row], theirs: Mapping[str, Row]) -> Plan:
        def above(rows: Mapping[str, Row], machines: Iterable[str]) -> dict[str, str]:
            newest = max((row.newest for row in rows.values()), default="")[:20]
            return {machine: f"{newest}.{machine}" if newest else hlc.start(machine) for machine in machines}

        both = sorted(mine.keys() & theirs.keys())
        return Plan(above(mine, both), above(theirs, both), [])

    with patch.object(round, "plan", by_cursor):
        yield


@contextmanager
def no_ranges() -> Iterator[None]:
    """Trust `newest` alone."""
    with patch.object(round, "plan", lambda mine, theirs: plan(mine, theirs)._replace(compare=[])):
        yield


@contextmanager
def believe_seals() -> Iterator[None]:
    """Never look again at what a seal let in."""
    with patch.object(admit, "recheck", lambda node, uuids: None):
        yield


@contextmanager
def rest_after_refused() -> Iterator[None]:
    """Take a machine's events after one that was refused."""
    with patch.object(admit.Receipt, "blocked", lambda receipt, event: False):
        yield


@contextmanager
def last_write_wins() -> Iterator[None]:
    """Let the highest stamp win, whatever its author had seen."""

    def fold(heads: Sequence[Any], head: Any, replaced: Collection[str], dead: bool) -> list[Any]:
        return [max([*heads, head], key=lambda other: other[:2])]

    with patch.object(registers, "fold", fold):
        yield


@contextmanager
def arrival_order() -> Iterator[None]:
    """Let what arrives last win."""
    with patch.object(registers, "fold", lambda heads, head, replaced, dead: [head]):
        yield


@contextmanager
def stale_digest() -> Iterator[None]:
    """Keep newest and count of the index, and forget the digest."""
    original = log._add_to_index

    def forgetful(db: sqlite3.Connection, events: Iterable[Any]) -> dict[str, int]:
        before = dict(db.execute("SELECT machine_id, digest FROM log_index"))
        counts = original(db, events)
        db.executemany("UPDATE log_index SET digest = ? WHERE machine_id = ?", [(d, m) for m, d in before.items()])
        return counts

    with patch.object(log, "_add_to_index", forgetful):
        yield


BUGS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "cursor": one_cursor,
    "no-ranges": no_ranges,
    "seals": believe_seals,
    "rest": rest_after_refused,
    "lww": last_write_wins,
    "arrival": arrival_order,
    "digest": stale_digest,
}
