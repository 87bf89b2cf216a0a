"""What the sync listener answers to requests that are not an honest round."""

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from claire.node import projects
from claire.node.node import Node
from claire.sync import routes as routes_module
from claire.sync.messages import EVENTS_PATH, RANGES_PATH, STATE_PATH
from claire.sync.pairing import PAIR_PATH
from claire.sync.peer import Peer, exchange, open_client
from tests.conftest import befriend
from tests.sync.serving import serving

MakeNode = Callable[..., Node]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client() as made:
        yield made


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", STATE_PATH), ("GET", EVENTS_PATH), ("POST", EVENTS_PATH), ("POST", RANGES_PATH)],
)
async def test_w3_nothing_is_told_to_who_does_not_sign(
    method: str, path: str, node: Node, client: httpx.AsyncClient
) -> None:
    async with serving(node) as url:
        answer = await client.request(method, url + path)
    assert answer.status_code == 401 and node.machine_id not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/api/sync", 404), ("DELETE", EVENTS_PATH, 405), ("GET", PAIR_PATH, 405)],
)
async def test_there_is_nothing_else(
    method: str, path: str, status: int, node: Node, client: httpx.AsyncClient
) -> None:
    async with serving(node) as url:
        assert (await client.request(method, url + path)).status_code == status


@pytest.mark.parametrize("body", [b"", b"{}", b"[" * 4000, b"\xff", b"null", b'{"invite_id":"x"}'])
async def test_p7_an_odd_join_is_a_bad_request(body: bytes, node: Node, client: httpx.AsyncClient) -> None:
    async with serving(node) as url:
        assert (await client.post(url + PAIR_PATH, content=body)).status_code == 400


async def test_when_all_permits_are_taken_it_says_when_to_come_back(
    make_node: MakeNode, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes_module, "INBOUND_EXCHANGES_MAX", 0)
    monkeypatch.setattr(routes_module, "INBOUND_WAIT_S", 0.05)
    a, b = make_node("a"), make_node("b")
    befriend(a, b)
    projects.create(b, "api")
    async with serving(b) as url:
        from claire.sync.peer import Busy

        with pytest.raises(Busy) as busy:
            await exchange(a, client, Peer(url))
    assert busy.value.status == 503 and busy.value.retry_after_s == routes_module.RETRY_AFTER_S


async def test_many_exchanges_at_once_all_come_through(make_node: MakeNode, client: httpx.AsyncClient) -> None:
    hub, *others = (make_node(name) for name in "abcdef")
    befriend(hub, *others)
    for number, node in enumerate(others):
        projects.create(node, f"p{number}")
    async with serving(hub) as url:
        for _ in range(2):
            done = await asyncio.gather(*(exchange(node, client, Peer(url)) for node in others))
    assert all(tally.in_sync for tally in done)


async def test_n3_a_body_that_never_ends_is_cut_off(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_module, "REQUEST_S_MAX", 0.3)
    monkeypatch.setattr(routes_module, "WAIT_S_MAX", 0.1)
    async with serving(node) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(f"POST {PAIR_PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{".encode())
        answer = await asyncio.wait_for(reader.readline(), 120)
        writer.close()
        await writer.wait_closed()
    assert b" 408" in answer or b" 400" in answer
