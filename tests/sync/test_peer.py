"""Talking to a peer: what a real one answers, and (by respx) what a real one would not say on demand."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest
import respx

import claire.sync
from claire.node import log, members, projects
from claire.node.node import Node
from claire.sync import auth, pairing, wire
from claire.sync.messages import EVENTS_PATH, STATE_PATH, State, encode
from claire.sync.peer import TRIES_MAX, Busy, Failing, Peer, exchange, join, open_client, retry_after_s
from claire.sync.round import Cut, PeerError
from claire.sync.runner import attempt
from tests.conftest import befriend
from tests.sync.serving import serving

MakeNode = Callable[..., Node]


@pytest.fixture
def pair(make_node: MakeNode) -> tuple[Node, Node]:
    nodes = make_node("alpha"), make_node("beta")
    befriend(*nodes)
    return nodes


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client() as made:
        yield made


def names(node: Node) -> set[str]:
    with node.reading() as db:
        return {row["name"] for row in projects.list_projects(db)}


async def test_a_whole_round_over_http(pair: tuple[Node, Node], client: httpx.AsyncClient) -> None:
    a, b = pair
    projects.create(a, "api")
    projects.create(b, "web")
    async with serving(b) as url:
        peer = Peer(url)
        done = await exchange(a, client, peer)
        again = await exchange(a, client, peer)
    assert done.in_sync and done.received and done.sent and done.machine_id == b.machine_id
    assert again.in_sync and not again.received and not again.sent
    assert names(a) == names(b) == {"api", "web"}


async def test_p3_a_restarted_peer_is_met_again(pair: tuple[Node, Node], client: httpx.AsyncClient) -> None:
    a, b = pair
    peer = Peer("")
    boots = set()
    for _ in range(2):
        async with serving(b) as peer.url:
            assert (await exchange(a, client, peer)).in_sync
            boots.add(peer.audience)
    assert len(boots) == 2


async def test_a_stranger_is_not_served_and_not_asked(make_node: MakeNode, client: httpx.AsyncClient) -> None:
    a, b = make_node("alpha"), make_node("beta")
    async with serving(b) as url:
        with pytest.raises(PeerError, match="not a member of this fleet"):
            await exchange(a, client, Peer(url))
        with a.writing() as tx:
            members.admit(tx, b.identity.public_key.hex(), "beta")
        with pytest.raises(PeerError, match="not a member of this fleet"):
            await exchange(a, client, Peer(url))
        unsigned = await client.get(url + STATE_PATH)
    assert unsigned.status_code == 401 and names(b) == set()


async def test_another_node_at_a_known_address_gets_nothing(
    pair: tuple[Node, Node], make_node: MakeNode, client: httpx.AsyncClient
) -> None:
    a, b = pair
    other = make_node("other")
    befriend(a, other)
    async with serving(other) as url:
        with pytest.raises(PeerError, match="another node"):
            await exchange(a, client, Peer(url, b.machine_id))


async def test_this_node_itself_at_an_address(node: Node, client: httpx.AsyncClient) -> None:
    async with serving(node) as url:
        with pytest.raises(PeerError, match="this node itself"):
            await exchange(node, client, Peer(url))


async def test_p2_a_revoked_node_is_cut_off_and_says_so(pair: tuple[Node, Node], client: httpx.AsyncClient) -> None:
    a, b = pair
    members.revoke(b, a.machine_id)
    async with serving(b) as url:
        with pytest.raises(PeerError, match="revoked"):
            await exchange(a, client, Peer(url))


async def test_p3_a_clock_far_off_is_named(pair: tuple[Node, Node], client: httpx.AsyncClient) -> None:
    a, b = pair
    real = a.now_ms
    a.now_ms = lambda: real() + 600_000
    async with serving(b) as url:
        with pytest.raises(PeerError, match="600 s ahead of mine"):
            await exchange(a, client, Peer(url))


async def audience(client: httpx.AsyncClient, url: str) -> str:
    return (await client.get(url + STATE_PATH)).headers[auth.AUDIENCE_HEADER]


async def test_p6_bodies_have_limits(pair: tuple[Node, Node], client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"x" * 65536

    async def status(content: bytes | AsyncIterator[bytes], **headers: str) -> int:
        """413 too where the server hung up on us before we read why."""
        try:
            return (await client.post(url + EVENTS_PATH, content=content, headers=headers)).status_code
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            return 413

    async with serving(pair[1]) as url:
        assert await status(b"x" * (wire.BATCH_BYTES_MAX + 1)) in (401, 413), "a stranger's body is not even read"
        assert await status(endless()) in (401, 413)
        for body in (b"x" * (wire.BATCH_BYTES_MAX + 1), b"x" * (10 * wire.BATCH_BYTES_MAX)):
            request = auth.Request("POST", EVENTS_PATH)
            to = await audience(client, url)
            made = auth.sign(pair[0].identity, request, body, to, pair[0].now_ms(), f"n{len(body)}")
            assert await status(body, authorization=made) == 413
        assert (await client.post(url + EVENTS_PATH, content=b"x", headers={"content-encoding": "gzip"})).is_error
        assert (await exchange(pair[0], client, Peer(url))).in_sync


async def test_state_with_wait_answers_when_something_changes(
    pair: tuple[Node, Node], client: httpx.AsyncClient
) -> None:
    from claire.sync.bell import Bell
    from claire.sync.peer import wait_for_change

    a, b = pair
    bell = Bell()
    async with serving(b, bell=bell) as url:
        peer = Peer(url)
        await exchange(a, client, peer)
        with a.reading() as db:
            etag = log.etag(db)
        waiting = asyncio.create_task(wait_for_change(a, client, peer, etag))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await asyncio.to_thread(projects.create, b, "late")
        bell.ring()
        assert await asyncio.wait_for(waiting, 120)


async def test_joining_over_http(make_node: MakeNode, client: httpx.AsyncClient) -> None:
    a, b = make_node("alpha"), make_node("beta")
    made = pairing.invite(a)
    async with serving(a) as url:
        made.addresses.extend(["http://127.0.0.1:1", url])
        peer = await join(b, client, made, "beta")
        assert peer == Peer(url, a.machine_id)
        assert (await exchange(b, client, peer)).in_sync
        with pytest.raises(PeerError, match="it was used"):
            await join(b, client, made, "beta")


def test_the_seeds_functions_are_there_without_importing_the_network() -> None:
    assert callable(claire.sync.pull_from_peer) and callable(claire.sync.push_to_peer)
    assert claire.sync.exchange is exchange
    with pytest.raises(AttributeError):
        claire.sync.nonsense  # noqa: B018


async def test_the_seeds_pull_and_push_by_one_stamp(pair: tuple[Node, Node]) -> None:
    a, b = pair
    projects.create(a, "api")
    projects.create(b, "web")
    async with serving(b) as url:
        pulled = await asyncio.to_thread(claire.sync.pull_from_peer, url, "", node=a)
        assert names(a) == {"api", "web"} and names(b) == {"web"} and not pulled.in_sync
        pushed = await asyncio.to_thread(claire.sync.push_to_peer, url, "", node=a)
        assert names(b) == {"api", "web"} and pushed.in_sync
        newest = projects_stamp(a)
        assert (await asyncio.to_thread(claire.sync.pull_from_peer, url, newest, node=a)).received == 0


def projects_stamp(node: Node) -> str:
    with node.reading() as db:
        return max(row.newest for row in log.index(db).values())


# What follows no real peer answers on demand.

URL = "http://127.0.0.9:8766"


def signed(node: Node, request: httpx.Request, body: bytes = b"", status: int = 200) -> httpx.Response:
    """An answer as `node` signs it, to this request."""
    nonce = request.headers["authorization"].split(":")[2]
    told = request.headers["if-none-match"].strip('"').encode() if status == 304 else body
    signature = auth.sign_answer(node.identity, nonce, status, told)
    return httpx.Response(status, content=body, headers={auth.SIGNATURE_HEADER: signature})


def known(node: Node) -> Peer:
    return Peer(URL, node.machine_id, f"{node.machine_id}/boot")


@pytest.mark.parametrize("status", [429, 503])
@respx.mock
async def test_retry_after_is_honoured(status: int, pair: tuple[Node, Node], client: httpx.AsyncClient) -> None:
    route = respx.get(URL + STATE_PATH).respond(status, headers={"retry-after": "7"})
    with pytest.raises(Busy) as busy:
        await exchange(pair[0], client, known(pair[1]))
    assert busy.value.retry_after_s == 7 and route.call_count == 1
    outcome = await attempt(pair[0], client, [known(pair[1])])
    assert outcome.retry_after_s == 7 and outcome.error


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("120", 120), ("99999", 900), ("Wed, 21 Oct", 2), ("-1", 2), ("1e9", 2), ("", 2)]
)
def test_retry_after_as_peers_write_it(text: str, seconds: float) -> None:
    assert retry_after_s(text) == seconds


@respx.mock
async def test_a_server_error_is_tried_again_and_then_told(pair: tuple[Node, Node], client: httpx.AsyncClient) -> None:
    a, b = pair
    route = respx.get(URL + STATE_PATH).respond(500, json={"error": "oh no"})
    with pytest.raises(Failing, match="oh no"):
        await exchange(a, client, known(b))
    assert route.call_count == TRIES_MAX
    answers: Iterator[httpx.Response | httpx.ReadError] = iter([httpx.Response(502), httpx.ReadError("cut")])

    def reply(request: httpx.Request) -> httpx.Response:
        given = next(answers, None) or signed(b, request, status=304)
        if isinstance(given, httpx.ReadError):
            raise given
        return given

    route.side_effect = reply
    assert (await exchange(a, client, known(b))).in_sync


@pytest.mark.parametrize("status", [400, 404, 405, 413, 418])
@respx.mock
async def test_what_we_did_wrong_is_not_repeated(
    status: int, pair: tuple[Node, Node], client: httpx.AsyncClient
) -> None:
    route = respx.get(URL + STATE_PATH).respond(status, text="<html>")
    with pytest.raises(PeerError, match=f"HTTP {status}"):
        await exchange(pair[0], client, known(pair[1]))
    assert route.call_count == 1


@pytest.mark.parametrize("status", [400, 403, 500, 503])
@respx.mock
async def test_an_odd_refusal_is_no_more_than_a_refusal(
    status: int, pair: tuple[Node, Node], client: httpx.AsyncClient
) -> None:
    for body in (b"[" * 100_000, b'{"error":' + b"[" * 100_000, b'{"evidence":7}', b"\xff"):
        respx.get(URL + STATE_PATH).respond(status, content=body)
        with pytest.raises(PeerError):
            await exchange(pair[0], client, known(pair[1]))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@respx.mock
async def test_p14_redirects_are_not_followed(status: int, pair: tuple[Node, Node], client: httpx.AsyncClient) -> None:
    respx.get(URL + STATE_PATH).respond(status, headers={"location": "http://169.254.169.254/"})
    elsewhere = respx.get("http://169.254.169.254/")
    with pytest.raises(PeerError, match=f"HTTP {status}"):
        await exchange(pair[0], client, known(pair[1]))
    assert not elsewhere.called


async def test_p14_proxies_in_the_environment_are_not_used(
    pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving(pair[1]) as url, open_client() as fresh:
        assert (await exchange(pair[0], fresh, Peer(url))).in_sync


@respx.mock
async def test_p14_an_answer_nobody_signed_is_not_used(
    pair: tuple[Node, Node], make_node: MakeNode, client: httpx.AsyncClient
) -> None:
    a, b = pair
    liar = make_node("liar")
    body = encode(State(b.machine_id, 0, [1], "0" * 32, {}))
    replies: list[Callable[[httpx.Request], httpx.Response]] = [
        lambda request: signed(liar, request, body),
        lambda request: httpx.Response(200, content=body),
    ]
    for reply in replies:
        respx.get(URL + STATE_PATH).mock(side_effect=reply)
        with pytest.raises(PeerError, match="does not sign as a member"):
            await exchange(a, client, known(b))


@respx.mock
async def test_an_endless_answer_is_cut_off(pair: tuple[Node, Node], client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 65536

    respx.get(URL + STATE_PATH).mock(side_effect=lambda request: httpx.Response(200, content=endless()))
    with pytest.raises(wire.Malformed, match="answer larger"):
        await exchange(pair[0], client, known(pair[1]))


@respx.mock
async def test_truncated_ndjson_keeps_what_was_whole(pair: tuple[Node, Node], client: httpx.AsyncClient) -> None:
    from claire.sync.answers import answer
    from claire.sync.messages import Ask

    a, b = pair
    for number in range(5):
        projects.create(b, f"b{number}")

    def reply(request: httpx.Request) -> httpx.Response:
        query = tuple(httpx.QueryParams(request.url.query).multi_items())
        body = answer(b, Ask("GET", request.url.path, query)).body
        if request.url.path == EVENTS_PATH:
            body = b"\n".join(body.split(b"\n")[:4]) + b"\n"
        return signed(b, request, body)

    respx.get(url__startswith=URL).mock(side_effect=reply)
    with pytest.raises(Cut):
        await exchange(a, client, known(b))
    assert 0 < len(names(a)) < 5


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"machine_id":"x"}', b"a clock"])
@respx.mock
async def test_an_odd_state_is_refused(body: bytes, pair: tuple[Node, Node], client: httpx.AsyncClient) -> None:
    a, b = pair
    if body == b"a clock":  # beyond what the database holds
        body = encode(State(b.machine_id, 0, [1], "0" * 32, {})).replace(b'"now_ms":0', b'"now_ms":%d' % 2**80)
    respx.get(URL + STATE_PATH).mock(side_effect=lambda request: signed(b, request, body))
    with pytest.raises(wire.Malformed):
        await exchange(a, client, known(b))


@respx.mock
async def test_p16_nobody_but_the_peer_may_say_nothing_new(
    pair: tuple[Node, Node], make_node: MakeNode, client: httpx.AsyncClient
) -> None:
    """A 304 somebody else made, or the peer's own for another etag, would keep events from us in silence."""
    a, b = pair

    def for_another_etag(request: httpx.Request) -> httpx.Response:
        nonce = request.headers["authorization"].split(":")[2]
        signature = auth.sign_answer(b.identity, nonce, 304, b"0" * 32)
        return httpx.Response(304, headers={auth.SIGNATURE_HEADER: signature})

    route = respx.get(URL + STATE_PATH)
    for reply in (
        lambda request: httpx.Response(304),
        lambda request: signed(a, request, status=304),
        for_another_etag,
    ):
        route.side_effect = reply
        with pytest.raises(PeerError, match="does not sign"):
            await exchange(a, client, known(b))
