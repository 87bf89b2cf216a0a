"""A commit by any process is heard at once by the doorbell, and soon without it."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from claire.node import projects
from claire.node.errors import NewerSchema
from claire.node.node import Node
from claire.sync import bell as bell_module
from claire.sync.bell import Bell, listen

SOON_S = 120.0


@asynccontextmanager
async def listening(node: Node) -> AsyncIterator[tuple[Bell, Bell]]:
    touched, changed = Bell(), Bell()
    open_doorbell, opened = bell_module._open_doorbell, asyncio.Event()

    def told(path: str) -> socket.socket | None:
        opened.set()
        return open_doorbell(path)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bell_module, "_open_doorbell", told)
        task = asyncio.create_task(listen(node, touched, changed))
        await asyncio.wait_for(opened.wait(), SOON_S)  # and so it has read what it compares with
    try:
        yield touched, changed
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_commit_rings_without_waiting_for_a_poll(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell_module, "POLL_S", 3600)
    async with listening(node) as (touched, changed):
        for number in range(20):
            rung = changed.rung
            await asyncio.to_thread(projects.create, node, f"p{number}")
            assert await changed.wait(SOON_S, rung)
        assert await touched.wait(SOON_S, 0)
    assert not os.path.exists(node.home.doorbell)


async def test_a_commit_of_nothing_but_local_rows_touches_and_changes_nothing(node: Node) -> None:
    async with listening(node) as (touched, changed):
        rung = touched.rung
        with node.writing() as tx:
            tx.db.execute("INSERT INTO meta VALUES ('test', '1')")
        assert await touched.wait(SOON_S, rung)
        assert changed.rung == 0


async def test_without_a_doorbell_polling_notices(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell_module, "_open_doorbell", lambda path: None)
    async with listening(node) as (_, changed):
        await asyncio.to_thread(projects.create, node, "api")
        assert await changed.wait(SOON_S, 0)


async def test_a_waiter_misses_nothing_that_rang_while_it_did_not_wait() -> None:
    bell = Bell()
    before = bell.rung
    bell.ring()
    assert await bell.wait(0, before)
    assert not await bell.wait(0.01)


@pytest.mark.parametrize("turns", range(5))
async def test_who_is_cancelled_while_it_rings_is_cancelled(turns: int) -> None:
    """At whichever turn of the loop between the ring and the waiter's own next step."""
    bell = Bell()

    async def for_ever() -> None:
        while True:
            await bell.wait(SOON_S)

    waiter = asyncio.create_task(for_ever())
    await asyncio.sleep(0)
    bell.ring()
    for _ in range(turns):
        await asyncio.sleep(0)
    waiter.cancel()
    done, _ = await asyncio.wait({waiter}, timeout=5)
    waiter.cancel()
    assert done


async def test_the_watch_ends_when_a_newer_claire_has_upgraded_the_database(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With it the daemon, which its service then starts anew, from what is installed by now."""
    monkeypatch.setattr(bell_module, "POLL_S", 0.05)
    with node.writing() as tx:
        tx.db.execute("PRAGMA user_version = 99")
    with pytest.raises(NewerSchema):
        await asyncio.wait_for(listen(node, Bell(), Bell()), SOON_S)
