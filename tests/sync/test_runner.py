"""The loop with real nodes and servers: a dead peer delays nobody, news arrive also where nobody can reach us."""

import asyncio
import contextlib
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from claire.config import Home
from claire.node import log, members, projects
from claire.node.node import Node
from claire.node.rows import Row
from claire.sync import gossip, health
from claire.sync.bell import Bell, listen
from claire.sync.discovery import Suggestion
from claire.sync.peer import Peer, open_client
from claire.sync.round import Exchange
from claire.sync.runner import Outcome, Runner, attempt
from tests.conftest import befriend
from tests.sync.serving import serving

MakeNode = Callable[..., Node]
SOON_S = 120.0


@asynccontextmanager
async def running(node: Node, *suggestions: Suggestion) -> AsyncIterator[Runner]:
    """The node's exchange loop, and the bell that wakes it."""
    touched, changed = Bell(), Bell()
    async with open_client() as client:
        runner = Runner(node, client, changed, lambda: list(suggestions))
        tasks = [asyncio.create_task(runner.run()), asyncio.create_task(listen(node, touched, changed))]
        try:
            yield runner
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:  # each to its end, before the client closes
                with contextlib.suppress(asyncio.CancelledError):
                    await task


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not holds():
            await asyncio.sleep(0.02)


def equal(*nodes: Node) -> bool:
    etags = set()
    for node in nodes:
        with node.reading() as db:
            etags.add(log.etag(db))
    return len(etags) == 1


async def test_a_commit_is_pushed_at_once(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    befriend(a, b)
    async with serving(b) as url, running(a, Suggestion(url, b.machine_id)):
        await until(lambda: equal(a, b))
        for number in range(3):
            await asyncio.to_thread(projects.create, a, f"p{number}")
            await until(lambda: equal(a, b))


async def test_a_dead_peer_and_a_silent_one_delay_nobody(make_node: MakeNode) -> None:
    a, dead, silent, living = (make_node(name) for name in ("a", "dead", "silent", "living"))
    befriend(a, dead, silent, living)

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    mute = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = mute.sockets[0].getsockname()[1]
    async with (
        serving(living) as url,
        running(
            a,
            Suggestion("http://127.0.0.1:1", dead.machine_id),
            Suggestion(f"http://127.0.0.1:{port}", silent.machine_id),
            Suggestion(url, living.machine_id),
        ) as runner,
    ):
        for number in range(3):
            await asyncio.to_thread(projects.create, a, f"p{number}")
            await until(lambda: equal(a, living))
        await until(lambda: runner.gossip.peers[dead.machine_id].breaker.failures > 0)
        await until(lambda: "127.0.0.1:1" in (remembered(a, dead).get("last_error") or ""))
        await until(lambda: remembered(a, living).get("last_contact_ms") and remembered(a, living)["last_error"] == "")
    mute.close()


def remembered(node: Node, peer: Node) -> Row:
    """What `node` knows of talking to `peer` by now."""
    with node.reading() as db:
        return next((row for row in health.known(db) if row["machine_id"] == peer.machine_id), {})


async def test_suggestions_are_asked_for_where_they_are_made(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mDNS adds to them in the loop; a thread that reads meanwhile would fail, and the daemon with it."""
    asked: list[int] = []

    async with running(make_node("a")) as runner:
        monkeypatch.setattr(runner, "suggestions", lambda: asked.append(threading.get_ident()) or [])
        runner._wake.ring()
        await until(lambda: bool(asked))
    assert set(asked) == {threading.get_ident()}


async def test_whatever_ends_an_attempt_another_one_follows(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = make_node("a"), make_node("b")
    befriend(a, b)
    defects = iter([ZeroDivisionError, ZeroDivisionError])

    async def broken(*args: Any) -> Outcome:
        if defect := next(defects, None):
            raise defect
        return await attempt(*args)

    monkeypatch.setattr("claire.sync.runner.attempt", broken)
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    async with serving(b) as url, running(a, Suggestion(url, b.machine_id)) as runner:
        for failed in (1, 2):
            await until(lambda: runner.rounds["failed"] == failed)  # noqa: B023
            runner.gossip.want(b.machine_id)
            runner._wake.ring()
        await until(lambda: equal(a, b))


async def test_a_peer_that_never_agrees_is_not_watched(make_node: MakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("claire.sync.runner.TICK_S_MAX", 0.05)
    monkeypatch.setattr("claire.sync.runner.WATCH_PAUSE_S", 0.0)
    a, b = make_node("a"), make_node("b")
    befriend(a, b)

    async def never_in_sync(*_: Any) -> Outcome:
        return Outcome(Exchange(machine_id=b.machine_id))

    monkeypatch.setattr("claire.sync.runner.attempt", never_in_sync)
    async with running(a, Suggestion("http://127.0.0.1:1", b.machine_id)) as runner:
        await until(lambda: runner.addresses.get(b.machine_id) is not None)
        runner.addresses[b.machine_id][0].audience = f"{b.machine_id}/boot"
        await until(lambda: bool(runner._watches))
        made = runner.rounds["behind"]
        await asyncio.sleep(0.2)  # as long as it takes, were it to happen
        assert runner._watches and runner.rounds["behind"] == made


async def test_an_address_nobody_named_is_learnt_by_asking_there(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    befriend(a, b)
    async with serving(b) as url, running(a, Suggestion(url)) as runner:
        await until(lambda: equal(a, b))
        await asyncio.to_thread(projects.create, a, "api")
        await until(lambda: equal(a, b))
        await until(lambda: list(runner.addresses) == [b.machine_id])


async def test_a_node_and_its_live_copy_heal_alone(make_node: MakeNode, tmp_path: Path) -> None:
    a = make_node("a")
    befriend(a, make_node("never there"))
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    with Node(Home.from_env({"CLAIRE_HOME": str(tmp_path / "copy")}), now_ms=a.now_ms) as copy:
        for number in range(3):
            projects.create(a, f"a{number}")
            projects.create(copy, f"c{number}")
        async with serving(a) as url, serving(copy) as own, running(copy, Suggestion(url), Suggestion(own)) as runner:
            runner.moved([own])
            await until(lambda: equal(a, copy))
            await asyncio.to_thread(projects.create, copy, "later")
            await until(lambda: equal(a, copy))
            await until(lambda: runner.addresses.keys() == {a.machine_id} and runner.rounds["failed"] == 0)
    with a.reading() as db:
        assert len(projects.list_projects(db)) == 7
        assert [kind for (kind,) in db.execute("SELECT kind FROM alarms")] == ["clone"]


async def test_an_address_with_a_port_nobody_can_have_is_unreachable_like_any_other(make_node: MakeNode) -> None:
    """Members announce what they like."""
    async with open_client() as client:
        outcome = await attempt(make_node("a"), client, [Peer("http://127.0.0.1:0")])
    assert outcome.error.startswith("http://127.0.0.1:0: ") and not outcome.refused


async def test_an_address_of_this_node_itself_is_dialled_once(make_node: MakeNode) -> None:
    a = make_node("a")
    befriend(a, make_node("never there"))
    async with serving(a) as url, running(a, Suggestion(url)) as runner:
        await until(lambda: runner.rounds["failed"] == 1)
        await until(lambda: not runner.addresses and not runner.gossip.peers)


async def test_news_reach_a_node_that_nobody_can_reach(make_node: MakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("claire.sync.runner.TICK_S_MAX", 0.1)
    monkeypatch.setattr(gossip, "PULL_INTERVAL_S", 3600)  # so it is not the ordinary pull
    a, b = make_node("a"), make_node("b")
    befriend(a, b)
    bell = Bell()
    async with serving(b, bell=bell) as url, running(a, Suggestion(url, b.machine_id)) as runner:
        await until(lambda: equal(a, b) and bool(runner._watches))
        for number in range(2):
            await asyncio.to_thread(projects.create, b, f"p{number}")
            bell.ring()
            await until(lambda: equal(a, b))


async def test_a_revoked_peer_is_told_nothing_more(make_node: MakeNode) -> None:
    a, b, c = make_node("a"), make_node("b"), make_node("c")
    befriend(a, b, c)
    contacts: list[str] = []
    async with (
        serving(b, contacted=contacts.append) as revoked,
        serving(c) as living,
        running(a, Suggestion(revoked, b.machine_id), Suggestion(living, c.machine_id)) as runner,
    ):
        await until(lambda: equal(a, b, c))
        await asyncio.to_thread(members.revoke, a, b.machine_id)
        await until(lambda: not runner._tasks)  # what was under way may end
        contacts.clear()
        await asyncio.to_thread(projects.create, a, "secret")
        await until(lambda: equal(a, c) and b.machine_id not in runner.gossip.peers)
        assert contacts == []
