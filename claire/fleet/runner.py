"""The fleet loops of the daemon: watching this host, and delivering to it. Work is done when something moved."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from claire.config import Settings
from claire.fleet import obstacles, rclaude, tmux, triage
from claire.fleet.deliver import Deliverer
from claire.fleet.host import Host
from claire.fleet.keystrokes import Typist
from claire.fleet.observer import Observer, Pass, eyes, spool_path
from claire.fleet.rclaude import Listing
from claire.fleet.redact import redact
from claire.fleet.reports import Spool
from claire.fleet.triager import Triager
from claire.node import updates
from claire.node.errors import ClaireError, Refused
from claire.node.node import Node
from claire.node.rows import Row

PASS_S = 4.0  # without a sign that something moved; with the pass itself a screen is read every five
ELSEWHERE_S = 60.0
TRIAGE_S = 15.0
SHARED_CHARS_MAX = 8_000
GLANCE_S = 0.5  # looking at a few file stamps costs nothing
BETWEEN_PASSES_S = 0.5

Stamps = tuple[int, ...]
log = logging.getLogger(__name__)


def observe(node: Node, env: Mapping[str, str]) -> Pass:
    """One pass over this host, and over what rclaude sees where it is installed: what `claire pull` does."""
    spoken = _contract(node, env)
    return Observer(node, env, partial(rclaude.sessions, spoken, env) if spoken else Listing).observe()


def deliver(node: Node, env: Mapping[str, str]) -> list[Row]:
    """Type what is due on this host and may be typed now; the outcomes. The daemon does so by itself."""
    return _deliverer(node, env, lambda: False).deliver()


def pane_tail(node: Node, env: Mapping[str, str], session_id: str, rows_max: int) -> str:
    """The last rows a session of this host shows. It stays here unless somebody shares it."""
    sight = _eyes(node, env).look()
    seat = obstacles.choose(sight.of_session(session_id), sight.problems)
    if isinstance(seat, obstacles.Obstacle):
        raise Refused(f"its pane cannot be read: {seat.why}")
    assert seat.pane
    try:
        rows = tmux.capture(seat.pane).rstrip().splitlines()
    except tmux.TmuxError as error:
        raise Refused(f"its pane cannot be read: {error}") from None
    return "\n".join(row.rstrip() for row in rows[-rows_max:])


def share_tail(node: Node, env: Mapping[str, str], session_id: str, rows_max: int) -> str:
    """The same as an update for the whole fleet, without secrets; what was shared."""
    text = redact(pane_tail(node, env, session_id, rows_max))
    updates.add(node, session_id, "pane-tail", text[-SHARED_CHARS_MAX:])
    return text


def _deliverer(node: Node, env: Mapping[str, str], stopping: Callable[[], bool]) -> Deliverer:
    spoken = _contract(node, env)
    sender = partial(rclaude.send, spoken, env) if spoken else None
    return Deliverer(node, Typist(_eyes(node, env)), sender, stopping)


def _eyes(node: Node, env: Mapping[str, str]) -> Host:
    return eyes(node, env, Spool(spool_path(node.home)))


def _contract(node: Node, env: Mapping[str, str]) -> rclaude.Contract | None:
    """rclaude is used where it is installed, and nothing is missed where it is not."""
    spoken = rclaude.contract(Settings.load(node.home, env).fleet)
    return spoken if rclaude.is_installed(spoken, env) else None


async def run(node: Node, env: Mapping[str, str], stop: asyncio.Event, *, pass_s: float = PASS_S) -> None:
    """Watch and deliver until `stop`; what is being typed is brought to its end first."""
    ending = threading.Event()

    def stopping() -> bool:
        return stop.is_set() or ending.is_set()

    spoken = _contract(node, env)
    heard: deque[Listing] = deque(maxlen=1)  # other hosts are far away: no pass waits for them
    observer = Observer(node, env, lambda: heard.pop() if heard else Listing())
    deliverer = _deliverer(node, env, stopping)
    chosen = triage.settings(Settings.load(node.home, env).fleet)
    homes = observer.host

    def watched() -> Stamps:
        return (_stamp(observer.spool.path), *_registries(homes))

    def awaited() -> Stamps:
        return (_newest_event(node), *_registries(homes))

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_repeat(lambda: _report(observer.observe()), watched, stop, pass_s))
            group.create_task(_repeat(lambda: _tell(deliverer.deliver()), awaited, stop, pass_s))
            if spoken:
                ask = partial(rclaude.sessions, spoken, env, stopping)
                group.create_task(_repeat(lambda: heard.append(ask()), lambda: (), stop, ELSEWHERE_S))
            if chosen.enabled:
                triager = Triager(node, env, chosen, stopping, spoken)
                group.create_task(_repeat(triager.triage_one, lambda: (), stop, TRIAGE_S))
    finally:
        ending.set()


async def _repeat(work: Callable[[], Any], stamps: Callable[[], Stamps], stop: asyncio.Event, pass_s: float) -> None:
    """Once now, then within a second of a new stamp, else every `pass_s`."""
    clock = asyncio.get_running_loop().time
    while not stop.is_set():
        marks, due = stamps(), clock() + pass_s
        try:
            await asyncio.to_thread(work)
        except (ClaireError, OSError) as error:  # a full disk, no more processes: the next round may find room
            log.error("%s", error)
        await _pause(stop, BETWEEN_PASSES_S)
        while not stop.is_set() and clock() < due and stamps() == marks:
            await _pause(stop, GLANCE_S)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


def _report(done: Pass) -> None:
    if done.recorded:
        log.info("%d sessions, %d changes recorded", done.sessions, done.recorded)


def _tell(outcomes: list[Row]) -> None:
    for row in outcomes:
        log.info(
            "broadcast %s to session %s: %s %s", row["id"][:8], row["session_uuid"][:8], row["outcome"], row["why"]
        )


def _registries(host: Host) -> list[int]:
    """A registry file that is made or removed moves the stamp of its folder, one that is rewritten its own."""
    folders = [os.path.join(home, "sessions") for home in host.homes_seen]
    return [_stamp(path) for path in (*folders, *host.registry.paths)]


def _stamp(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _newest_event(node: Node) -> int:
    with node.reading() as db:
        return int(db.execute("SELECT coalesce(max(rowid), 0) FROM events").fetchone()[0])
