"""Admissions and revocations that anybody may bring: what they do, and what else a stranger cannot do with them."""

from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from claire.node import log, members, projects, rotation
from claire.node.node import Node
from claire.sync import introduction, wire
from claire.sync.messages import NDJSON, Ask
from claire.sync.peer import Peer, exchange, open_client
from claire.sync.round import PeerError
from tests.conftest import befriend
from tests.node.test_admit import changed, etag, everything
from tests.sync.serving import serving

MakeNode = Callable[..., Node]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client() as made:
        yield made


def admit(issuer: Node, other: Node) -> None:
    with issuer.writing() as tx:
        members.admit(tx, other.identity.public_key.hex(), other.machine_id[:8])


async def test_a_member_that_was_not_heard_of_yet_introduces_itself(
    make_node: MakeNode, client: httpx.AsyncClient
) -> None:
    """a knows b, b admits c, c admits d; a has heard of neither, and d is the first to call."""
    a, b, c, d = (make_node(name) for name in "abcd")
    befriend(a, b)
    admit(b, c)
    admit(c, b)
    c.receive(everything(b))
    admit(c, d)
    admit(d, c)
    d.receive(everything(c))
    projects.create(d, "api")
    async with serving(a) as url:
        done = await exchange(d, client, Peer(url))
    assert done.sent and done.machine_id == a.machine_id
    with a.reading() as db:
        assert {c.machine_id, d.machine_id} <= members.keys(db).keys()


async def test_an_introduction_that_was_cut_is_made_again(
    make_node: MakeNode, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c = (make_node(name) for name in "abc")
    befriend(a, b)
    admit(b, c)
    admit(c, b)
    c.receive(everything(b))

    async def cut(*_: object) -> bool:
        raise httpx.ReadError("cut")

    async with serving(a) as url:
        peer = Peer(url)
        with monkeypatch.context() as patch, pytest.raises(httpx.ReadError):
            patch.setattr("claire.sync.peer._introduce", cut)
            await exchange(c, client, peer)
        assert (await exchange(c, client, peer)).machine_id == a.machine_id


async def test_after_a_rotation_that_no_peer_heard_of(make_node: MakeNode, client: httpx.AsyncClient) -> None:
    a, b = make_node("a"), make_node("b")
    befriend(a, b)
    projects.create(a, "api")
    rotation.rotate(a)
    async with serving(b) as url:
        assert (await exchange(a, client, Peer(url, b.machine_id))).in_sync
    assert etag(a) == etag(b)


async def test_a_stranger_has_nothing_to_show(make_node: MakeNode, client: httpx.AsyncClient) -> None:
    a, stranger = make_node("a"), make_node("stranger")
    admit(stranger, a)
    async with serving(a) as url:
        with pytest.raises(PeerError, match="not a member"):
            await exchange(stranger, client, Peer(url))
        forged = wire.dump(everything(stranger))
        answer = await client.post(url + introduction.PATH, content=forged, headers={"content-type": NDJSON})
        assert (answer.status_code, answer.json()) == (200, {"accepted": 0})
        large = await client.post(url + introduction.PATH, content=b" " * (introduction.BYTES_MAX + 1))
        assert large.status_code == 413
    with a.reading() as db:
        assert list(members.keys(db)) == [a.machine_id]


def test_what_a_stranger_brings_costs_no_write_and_raises_no_alarm(make_node: MakeNode) -> None:
    a, b, c = make_node("a"), make_node("b"), make_node("c")
    befriend(a, b)
    admit(b, c)
    admission = everything(b)[-1]
    forged = changed(admission, created_at="2020-01-01T00:00:00.000Z")
    projects.create(b, "other kinds are not taken this way")
    before, version = etag(a), data_version(a)
    for events in ([forged], [everything(b)[-1]], [], everything(a)):
        answer = introduction.take(a, Ask("POST", introduction.PATH, body=wire.dump(events)))
        assert (answer.status, answer.body) == (200, b'{"accepted":0}')
    for body in (b"{", b"\xff\xfe", b"[]", wire.dump([admission] * 17), b"[" * 10_000):
        assert introduction.take(a, Ask("POST", introduction.PATH, body=body)).status == 400
    assert (etag(a), data_version(a)) == (before, version)
    with a.reading() as db:
        assert db.execute("SELECT count(*) FROM alarms").fetchone() == (0,)
    assert introduction.take(a, Ask("POST", introduction.PATH, body=wire.dump([admission]))).body == b'{"accepted":1}'


def data_version(node: Node) -> int:
    """Changes with every commit."""
    with node.reading() as db:
        (count,) = db.execute("SELECT total_changes()").fetchone()
    return int(count) + node._writer.total_changes


async def test_p2_who_was_cut_off_is_shown_by_whom(make_node: MakeNode, client: httpx.AsyncClient) -> None:
    a, b, c = make_node("a"), make_node("b"), make_node("c")
    befriend(a, b, c)
    for node in (b, c):
        node.receive(everything(a))
    c.receive(everything(b))
    members.revoke(b, a.machine_id)
    c.receive(everything(b))
    async with serving(c) as url:
        with pytest.raises(PeerError, match="revoked"):
            await exchange(a, client, Peer(url))
    with a.reading() as db:
        assert members.suspended(db, a.machine_id) == {b.machine_id}
        assert a.machine_id not in members.revoked(db), "it is shown, and not obeyed"
        assert log.index(db)
