"""Notifications: runs the user's own command when somebody is needed, once for the whole fleet.

A node that has a command says in the log that it is about to notify, waits until what others said has come, and rings
only if it was first. While nodes cannot talk to each other each rings; if the node ends in between, nobody does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from claire.node import history, notices
from claire.node.errors import StorageError, UsageError
from claire.node.node import Node
from claire.node.notices import Matter

HOLD_MS = 3_000  # who answers at once needs no bell
SETTLE_MS = 2_000  # a push takes far less
FRESH_MS = 10 * 60_000  # older news come from a host that slept
LOOK_S = 0.5
COMMAND_S_MAX = 10.0
LABEL_CHARS_MAX, DETAIL_CHARS_MAX, NAMED_MAX = 60, 120, 4
TEXT = "{text}"
READ_AGAIN = {"sh", "bash", "dash", "zsh", "ksh", "fish", "su", "eval", "ssh", "mosh", "tmux", "osascript"}
ACTIVE = frozenset("`$\\#;|&<>(){}[]*~\"'^")  # what a shell, or tmux, may do something at

Start = Callable[[list[str], dict[str, str]], None]
Key = tuple[str, str, int]

log = logging.getLogger(__name__)


def check(template: Sequence[str]) -> None:
    """What others wrote must stay one argument: neither part of another nor something a shell reads."""
    parts = [part for part in template if TEXT in part]
    if any(part != TEXT for part in parts) or template[:1] == [TEXT]:
        raise UsageError(
            f"notify: {TEXT} has to be an argument of its own", 'notify = ["notify-send", "Claire", "{text}"]'
        )
    if parts and (readers := [part for part in template if os.path.basename(part) in READ_AGAIN]):
        raise UsageError(
            f"notify: {readers[0]} might run what {TEXT} says", 'notify = ["sh", "-c", "ntfy send \\"$CLAIRE_TEXT\\""]'
        )


def command(template: Sequence[str], told: Sequence[Matter]) -> tuple[list[str], dict[str, str]]:
    """argv, and what the environment says besides. The text begins with a number, so no program takes it for a flag."""
    said, first = text(told), told[0]
    more = {
        "CLAIRE_TEXT": said,
        "CLAIRE_COUNT": str(len(told)),
        "CLAIRE_STATE": first.state,
        "CLAIRE_HOST": plain(first.host, LABEL_CHARS_MAX),
        "CLAIRE_SUBJECT": plain(first.subject, LABEL_CHARS_MAX),
    }
    return [said if part == TEXT else part for part in template], more


def text(told: Sequence[Matter]) -> str:
    """`1 needs you: api on web1, permission: Bash`; a burst is one line. Nothing in it is ACTIVE."""
    named = " + ".join(_named(matter) for matter in told[:NAMED_MAX])
    more = f" + {len(told) - NAMED_MAX} more" if len(told) > NAMED_MAX else ""
    return f"{len(told)} {'needs' if len(told) == 1 else 'need'} you: {named}{more}"


def _named(matter: Matter) -> str:
    where = f" on {plain(matter.host, LABEL_CHARS_MAX)}" if matter.host else ""
    why = f": {plain(matter.detail, DETAIL_CHARS_MAX)}" if matter.detail else ""
    return f"{plain(matter.label, LABEL_CHARS_MAX)}{where}, {matter.state}{why}"


def plain(said: str, chars_max: int) -> str:
    """One line of printable characters in which nobody to whom the command may pass it on finds anything to run."""
    kept = "".join(c if c.isprintable() and c not in ACTIVE else " " for c in said)
    return " ".join(kept.split())[:chars_max]


def start_process(argv: list[str], more: dict[str, str]) -> None:
    """Run it to its end; what it prints is nobody's."""
    try:
        done = subprocess.run(
            argv,
            env={**os.environ, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=False,
            timeout=COMMAND_S_MAX,
        )
    except subprocess.TimeoutExpired:
        log.error("%s did not end within %.0f s", argv[0], COMMAND_S_MAX)
    except OSError as error:
        log.error("cannot run %s: %s", argv[0], error.strerror or error)
    else:
        if done.returncode:
            log.error("%s ended with %d", argv[0], done.returncode)


@dataclass
class Notifier:
    """What this node has seen waiting since it started, and what it is about to tell."""

    node: Node
    template: Sequence[str]
    start: Start = start_process
    _before: set[Key] | None = None  # what waited already when we started is no news
    _first_ms: dict[Key, int] = field(default_factory=dict)
    _told_ms: dict[Key, int] = field(default_factory=dict)
    _settled: set[Key] = field(default_factory=set)
    _since_ms: dict[tuple[str, str], int] = field(default_factory=dict)

    def look(self) -> bool:
        """One step; True while something has to be looked at again soon."""
        now_ms = self.node.now_ms()
        with self.node.reading() as db:
            found = [self._steady(matter) for matter in notices.matters(db)]
            tellers = {matter.key: notices.told_by(db, matter) for matter in found}
        if self._before is None:
            self._before = {matter.key for matter in found}
        self._forget({matter.key for matter in found})
        fresh = [m for m in found if m.key not in self._before | self._settled and now_ms - m.since_ms <= FRESH_MS]
        due = [m for m in fresh if now_ms - self._first_ms.setdefault(m.key, now_ms) >= HOLD_MS]
        self._announce([m for m in due if tellers[m.key] is None], now_ms)
        ring = [m for m in due if tellers[m.key] is not None and self._is_ours(m, tellers[m.key], now_ms)]
        if ring:
            self.start(*command(self.template, ring))
        return any(matter.key not in self._settled for matter in fresh)

    def _steady(self, matter: Matter) -> Matter:
        """With the moment it had when first seen: another source may date the same thing a little differently."""
        since_ms = self._since_ms.get((matter.subject, matter.state), matter.since_ms)
        if abs(since_ms - matter.since_ms) > notices.SAME_MS:
            since_ms = matter.since_ms
        self._since_ms[matter.subject, matter.state] = since_ms
        return msgspec.structs.replace(matter, since_ms=since_ms)

    def _announce(self, new: list[Matter], now_ms: int) -> None:
        if new:
            notices.tell(self.node, new)
            self._told_ms |= {matter.key: now_ms for matter in new}

    def _is_ours(self, matter: Matter, teller: str | None, now_ms: int) -> bool:
        """Whether to ring, once the word of others had time to come; what another node tells is settled, too."""
        announced_ms = self._told_ms.get(matter.key)
        if announced_ms is not None and now_ms - announced_ms < SETTLE_MS:
            return False
        self._settled.add(matter.key)
        return announced_ms is not None and teller == self.node.machine_id

    def _forget(self, waiting: set[Key]) -> None:
        """What no longer waits; if it waits again, that is another matter."""
        assert self._before is not None
        self._before &= waiting
        self._settled &= waiting
        self._since_ms = {(subject, state): since_ms for subject, state, since_ms in waiting}
        for memory in (self._first_ms, self._told_ms):
            for key in memory.keys() - waiting:
                del memory[key]


async def run(notifier: Notifier, stop: asyncio.Event) -> None:
    """Until `stop`. Without a command there is nothing to do but wait for it."""
    if not notifier.template:
        await stop.wait()
        return
    looked, again = -1, True
    while not stop.is_set():
        try:
            newest = await asyncio.to_thread(_newest, notifier.node)
            if again or newest != looked:
                looked, again = newest, await asyncio.to_thread(notifier.look)
        except StorageError as error:  # a full disk: the next look may find room
            log.error("%s", error)
        await _pause(stop)


def _newest(node: Node) -> int:
    with node.reading() as db:
        return history.newest_rowid(db)


async def _pause(stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), LOOK_S)
    except TimeoutError:
        return
