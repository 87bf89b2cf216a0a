"""What a person asks of sync, against real nodes under the real server."""

import asyncio
from collections.abc import Callable

import pytest

from claire.node import members, projects
from claire.node.errors import NotFound, UsageError
from claire.node.node import Node
from claire.sync import once
from tests.conftest import befriend
from tests.sync.serving import serving

MakeNode = Callable[..., Node]


@pytest.fixture
def pair(make_node: MakeNode) -> tuple[Node, Node]:
    nodes = make_node("alpha"), make_node("beta")
    befriend(*nodes)
    return nodes


async def listed(node: Node, url: str) -> None:
    """Put a peer's address where the user would."""
    with open(node.home.peers_file, "w") as file:
        file.write(f'[[peer]]\nurl = "{url}"\nid = "{members_of(node)[0]}"\n')


def members_of(node: Node) -> list[str]:
    with node.reading() as db:
        return sorted(members.keys(db).keys() - {node.machine_id})


async def test_sync_now_says_what_each_peer_came_to(pair: tuple[Node, Node]) -> None:
    a, b = pair
    projects.create(a, "api")
    projects.create(b, "web")
    async with serving(b) as url:
        await listed(a, url)
        [row] = await asyncio.to_thread(once.sync_now, a, None)
        [again] = await asyncio.to_thread(once.sync_now, a, b.machine_id[:8])
    [gone] = await asyncio.to_thread(once.sync_now, a, None)
    assert (row["id"], row["state"], row["behind"], row["refused"], row["why"]) == (b.machine_id, "in sync", 0, 0, "")
    assert row["sent"] and row["received"] and again["sent"] == again["received"] == 0
    assert gone["state"] == "unreachable" and url in gone["why"]
    with pytest.raises(NotFound):
        once.sync_now(a, a.machine_id)


async def test_status_says_behind_by_whom_and_changes_nothing(pair: tuple[Node, Node]) -> None:
    a, b = pair
    async with serving(b) as url:
        await listed(a, url)
        await asyncio.to_thread(once.sync_now, a, None)
        projects.create(b, "web")
        projects.create(a, "api")
        projects.create(a, "app")
        [row] = await asyncio.to_thread(once.status, a)
        assert (row["state"], sum(row["behind"].values()), sum(row["ahead"].values())) == ("behind", 1, 2)
        assert row["last_contact_ms"] and row["breaker"] == "closed" and row["url"] == url
        assert list((await asyncio.to_thread(once.status, a))[0]["behind"].values()) == [1]
    [row] = await asyncio.to_thread(once.status, a)
    assert row["state"] == "unreachable" and row["last_contact_ms"]


async def test_verify_finds_an_index_that_lies(pair: tuple[Node, Node]) -> None:
    a, b = pair
    async with serving(b) as url:
        await listed(a, url)
        await asyncio.to_thread(once.sync_now, a, None)
        found = await asyncio.to_thread(once.verify, a)
        assert found["wrong"] == [] and [row["state"] for row in found["peers"]] == ["in sync"]
        with a.writing() as tx:
            tx.db.execute("UPDATE log_index SET digest = '' WHERE machine_id = ?", (b.machine_id,))
        found = await asyncio.to_thread(once.verify, a)
    assert [row["id"] for row in found["wrong"]] == [b.machine_id]


async def test_waiting_for_copies(pair: tuple[Node, Node]) -> None:
    a, b = pair
    projects.create(a, "api")
    async with serving(b) as url:
        await listed(a, url)
        found = await asyncio.to_thread(once.wait_for_copies, a, 1, 120)
        assert found["copies"] == 1 and len(found["on"]) == 1
    projects.create(a, "web")
    assert (await asyncio.to_thread(once.wait_for_copies, a, 1, 0.1))["copies"] == 0
    for copies in (0, 2):
        with pytest.raises(UsageError):
            once.wait_for_copies(a, copies, 1)


def test_waiting_for_copies_of_a_fleet_of_one(make_node: Callable[..., Node]) -> None:
    with pytest.raises(UsageError, match="no other node") as refused:
        once.wait_for_copies(make_node("alone"), 1, 1)
    assert "invite" in refused.value.hint
