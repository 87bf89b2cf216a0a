"""The fleet loop of the daemon: a pass when something moved, and now and then anyway."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping

from claire.fleet.observer import Observer, Pass
from claire.node.errors import StorageError
from claire.node.node import Node

PASS_S = 5.0  # without a sign that something moved
GLANCE_S = 0.5  # looking at a few file stamps costs nothing
BETWEEN_PASSES_S = 0.5

log = logging.getLogger("claire.fleet")


def observe(node: Node, env: Mapping[str, str]) -> Pass:
    """One pass over this host: what `claire pull` does."""
    return Observer(node, env).observe()


async def run(
    node: Node,
    env: Mapping[str, str],
    stop: asyncio.Event,
    *,
    pass_s: float = PASS_S,
    monotonic: Callable[[], float] | None = None,
) -> None:
    """Passes until `stop`: within a second of a change that hooks or registry files show, else every `pass_s`."""
    observer = Observer(node, env)
    clock = monotonic or asyncio.get_running_loop().time
    while not stop.is_set():
        marks, due = stamps(observer), clock() + pass_s
        await _pass(observer)
        await _pause(stop, BETWEEN_PASSES_S)
        while not stop.is_set() and clock() < due and stamps(observer) == marks:
            await _pause(stop, GLANCE_S)


async def _pass(observer: Observer) -> None:
    try:
        done = await asyncio.to_thread(observer.observe)
    except StorageError as error:  # a full disk: the next pass may find room
        log.error("fleet: %s", error)
        return
    if done.recorded:
        log.info("fleet: %d sessions, %d changes recorded", done.sessions, done.recorded)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


def stamps(observer: Observer) -> tuple[int, ...]:
    """Changes when a hook reports, or a registry file is written, made or removed."""
    folders = [os.path.join(home, "sessions") for home in observer.host.homes]
    return tuple(_stamp(path) for path in (observer.spool.path, *folders))


def _stamp(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
