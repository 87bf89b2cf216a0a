"""Networks that cut, corrupt, trickle and hang: no event is lost, and the next round resumes."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from claire.node import log, projects
from claire.node.node import Node
from claire.sync import peer as peer_module
from claire.sync.peer import Peer, exchange, open_client
from claire.sync.runner import attempt
from tests.conftest import befriend
from tests.integration.proxy import proxy
from tests.sync.serving import serving

MakeNode = Callable[..., Node]
IDLE_BYTES_MAX = 400


@pytest.fixture
def pair(make_node: MakeNode) -> tuple[Node, Node]:
    nodes = make_node("alpha"), make_node("beta")
    befriend(*nodes)
    return nodes


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client() as made:
        yield made


def etag(node: Node) -> str:
    with node.reading() as db:
        return log.etag(db)


async def test_an_idle_round_is_one_small_request(pair: tuple[Node, Node], client: httpx.AsyncClient) -> None:
    a, b = pair
    async with serving(b) as url, proxy(url) as way:
        peer = Peer(way.url)
        await exchange(a, client, peer)
        before = sum(way.passed.values())
        assert (await exchange(a, client, peer)).in_sync
        assert sum(way.passed.values()) - before <= IDLE_BYTES_MAX


async def join_in(node: Node, client: httpx.AsyncClient, url: str) -> Peer:
    peer = Peer(url)
    await exchange(node, client, peer)
    return peer


async def answer_bytes(a: Node, b: Node, url: str, audience: str) -> int:
    """What comes back over the wire in a small exchange both ways."""
    projects.create(a, "api")
    projects.create(b, "web")
    async with proxy(url) as whole, open_client() as fresh:
        await exchange(a, fresh, Peer(whole.url, b.machine_id, audience))
        return whole.passed["down"]


async def test_n2_cut_after_every_byte_of_an_exchange(
    pair: tuple[Node, Node], client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = pair
    monkeypatch.setattr(peer_module._asked.retry, "stop", lambda state: True)  # every cut is felt
    async with serving(b) as url, open_client() as fresh:
        audience = (await join_in(a, fresh, url)).audience
        size, cuts = await answer_bytes(a, b, url, audience), 0
        for cut in range(1, size + 20):
            if etag(a) == etag(b):
                projects.create(a, f"a{cut}")
                projects.create(b, f"b{cut}")
            async with proxy(url, cut_after=cut) as way:
                outcome = await attempt(a, fresh, [Peer(way.url, b.machine_id, audience)])
            cuts += bool(outcome.error)
        assert cuts > size // 2
        assert (await exchange(a, client, Peer(url))).in_sync
    assert etag(a) == etag(b)
    with a.reading() as db:
        assert log.recount(db) == {m: row for m, row in log.index(db).items() if row.count}


@pytest.mark.parametrize(
    "faults", [{"corrupt_at": 300}, {"corrupt_at": 900}, {"cut_after": 500, "half_close": True}, {"cut_after": 0}]
)
async def test_n2_corruption_and_half_closed_ends(
    faults: dict[str, int], pair: tuple[Node, Node], client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = pair
    for number in range(20):
        projects.create(b, f"b{number}")
    async with serving(b) as url:
        with monkeypatch.context() as patched:
            patched.setattr(peer_module, "REQUEST_S_MAX", 1.0)
            patched.setattr(peer_module, "WAIT_S", 0)
            async with proxy(url, **faults) as way, open_client() as fresh:
                outcome = await attempt(a, fresh, [Peer(way.url)])
        assert outcome.error or outcome.exchange.refused
        assert (await exchange(a, client, Peer(url))).in_sync
    assert etag(a) == etag(b)


async def test_n2_a_trickle_meets_the_deadline(pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pair
    monkeypatch.setattr(peer_module, "REQUEST_S_MAX", 1.0)
    monkeypatch.setattr(peer_module, "WAIT_S", 0)
    async with serving(b) as url, proxy(url, bytes_a_read=1, pause_s=0.02) as way, open_client() as fresh:
        outcome = await attempt(a, fresh, [Peer(way.url)])
    assert "TimeoutError" in outcome.error  # without a deadline it would have come to its end


async def test_n6_a_thousand_rounds_with_a_dead_peer_leak_nothing(
    pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = pair
    monkeypatch.setattr(peer_module._asked.retry, "stop", lambda state: True)
    async with serving(b) as url, open_client() as fresh:
        living, dead = Peer(url), Peer("http://127.0.0.1:1")
        await attempt(a, fresh, [living])
        before = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
        for number in range(1000):
            outcome = await attempt(a, fresh, [dead if number % 5 == 0 else living])
            assert bool(outcome.error) == (number % 5 == 0)
        async with asyncio.timeout(120):  # a connection that was replaced may still be closing
            while len(os.listdir("/proc/self/fd")) > before[0] + 2 or len(asyncio.all_tasks()) > before[1] + 2:
                await asyncio.sleep(0.02)
