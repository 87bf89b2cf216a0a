"""Talking to one peer over HTTP: the only module that imports httpx.

Requests are signed, answers are checked before their body is used; redirects, proxies and cookies are not
followed. A name is resolved once and its address is dialled, so that what decides about TLS is what is connected to.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import httpx
import tenacity

from claire.config import Home
from claire.node import members
from claire.node.node import Node
from claire.sync import auth, introduction, pack, pairing, tls, wire
from claire.sync.discovery import is_address, url_for, url_of
from claire.sync.messages import EVENTS_PATH, JSON, NDJSON, Answer, Ask, encode
from claire.sync.round import (
    Exchange,
    PeerError,
    Steps,
    exchange_steps,
    expect,
    pull_since_steps,
    push_since_steps,
)

CONNECT_S = 5.0
REQUEST_S_MAX = 30.0
WAIT_S = 25
KEEP_ALIVE_S = 20.0  # below the server's 30 s: else a request may meet a closing connection
CONNECTIONS_MAX = 50
TRIES_MAX = 3
RETRY_WAIT_S_MAX = 2.0
RETRY_AFTER_S_MAX = 900.0


HOST = "peer.invalid"  # what every node is called in a request: no browser can be led to say that

NETWORK_ERRORS = (httpx.TransportError, TimeoutError)  # the peer, or the way to it, does not work


class Busy(PeerError):
    """The peer asks us to come back later."""

    def __init__(self, message: str, status: int, retry_after_s: float) -> None:
        super().__init__(message, status)
        self.retry_after_s = retry_after_s


class Failing(PeerError):
    """The peer is in trouble (5xx); worth another try at once."""


@dataclass
class Peer:
    """An address, who is expected there (or anybody who is a member), and how it wants to be addressed."""

    url: str
    machine_id: str = ""
    audience: str = ""
    is_here: bool = False  # this very node answered


def open_client() -> httpx.AsyncClient:
    """The one client of a process. Close it."""
    client = httpx.AsyncClient(
        trust_env=False,
        follow_redirects=False,
        verify=tls.client_context(),
        timeout=httpx.Timeout(REQUEST_S_MAX, connect=CONNECT_S),
        limits=httpx.Limits(max_connections=CONNECTIONS_MAX, keepalive_expiry=KEEP_ALIVE_S),
    )
    for name in ("accept", "accept-encoding", "user-agent", "connection"):
        del client.headers[name]  # an idle round is one request of a few bytes
    client.headers["host"] = HOST
    return client


async def exchange(
    node: Node,
    client: httpx.AsyncClient,
    peer: Peer,
    tally: Exchange | None = None,
    steps: Callable[[Node, Exchange], Steps] = exchange_steps,
) -> Exchange:
    """A whole round. httpx.TransportError, PeerError or Malformed end it; `tally` keeps what was done."""
    tally = tally if tally is not None else Exchange()
    await play(node, client, peer, steps(node, tally))
    tally.machine_id = auth.machine_of(peer.audience)
    return tally


async def play(node: Node, client: httpx.AsyncClient, peer: Peer, steps: Steps) -> None:
    """Carry the steps of a round to the peer, its answers back.

    Steps run in a thread, they use the disk. The first only looks where this node stands: a thread takes longer.
    """
    loop, meanwhile = asyncio.get_running_loop(), list[asyncio.Future[object]]()
    ask = _next(steps, None)
    try:
        while ask is not None:
            if ask.meanwhile is not None:
                meanwhile.append(loop.run_in_executor(None, ask.meanwhile))  # begins before the request is made
            answer = await _asked(node, client, peer, ask)
            meanwhile = [task for task in meanwhile if not task.done() or task.exception()]
            ask = await asyncio.to_thread(_next, steps, answer)
    finally:
        await asyncio.gather(*meanwhile)  # what has come is kept, also when nothing more comes


def _next(steps: Steps, answer: Answer | None) -> Ask | None:
    try:
        return steps.send(answer)  # type: ignore[arg-type]  # the first send is None
    except StopIteration:
        return None


async def wait_for_change(node: Node, client: httpx.AsyncClient, peer: Peer, etag: str) -> bool:
    """True when the peer holds something else than `etag` stands for; it answers late if that is later."""
    answer = await _asked(node, client, peer, Ask("GET", "/api/sync/state", (("wait", str(WAIT_S)),), etag=etag))
    return answer.status != 304


@tenacity.retry(
    retry=tenacity.retry_if_exception_type((httpx.NetworkError, httpx.RemoteProtocolError, Failing)),
    stop=tenacity.stop_after_attempt(TRIES_MAX),
    wait=tenacity.wait_random_exponential(multiplier=0.2, max=RETRY_WAIT_S_MAX),
    reraise=True,
)
async def _asked(node: Node, client: httpx.AsyncClient, peer: Peer, ask: Ask) -> Answer:
    """One request, signed; once more if the peer goes by another audience (it restarted, or is new)."""
    answer, audience = await _send(node, client, peer, ask)
    if answer.status == 401 and audience and audience != peer.audience:
        await asyncio.to_thread(_meet, node, peer, audience)
        answer, _ = await _send(node, client, peer, ask)
    if answer.status == 401 and await _introduce(node, client, peer):
        answer, _ = await _send(node, client, peer, ask)
    if answer.status == 403:
        await asyncio.to_thread(introduction.hear_refusal, node, answer)
    return answer


async def _introduce(node: Node, client: httpx.AsyncClient, peer: Peer) -> bool:
    """Show the peer who admitted us; True if there was something to show."""
    admissions = await asyncio.to_thread(introduction.of, node)
    if not admissions:
        return False
    request = await _request(client, peer, "POST", introduction.PATH, admissions, {"content-type": NDJSON})
    await _read(client, request)
    return True


def _meet(node: Node, peer: Peer, audience: str) -> None:
    """Take up an audience if its machine is one we exchange with."""
    machine_id = auth.machine_of(audience)
    if auth.is_own(audience, node.machine_id, node.boot):
        peer.is_here = True
        raise PeerError("this address is this node itself")
    if peer.machine_id and machine_id != peer.machine_id:
        raise PeerError(f"another node ({machine_id[:8]}) answers at {peer.url}")
    with node.reading() as db:
        if machine_id not in members.keys(db) or machine_id in members.revoked(db):
            raise PeerError(f"the node at {peer.url} ({machine_id[:8]}) is not a member of this fleet", 403)
        if machine_id in members.suspended(db, node.machine_id):
            raise PeerError(f"{machine_id[:8]} revoked this node; exchange waits for your decision", 403)
    peer.machine_id, peer.audience = machine_id, audience


async def _send(node: Node, client: httpx.AsyncClient, peer: Peer, ask: Ask) -> tuple[Answer, str]:
    """(answer, audience the peer names in a refusal)."""
    nonce = auth.new_nonce(node.entropy(auth.NONCE_BYTES))
    target = f"{ask.path}?{urlencode(ask.query)}" if ask.query else ask.path
    signed = auth.Request(ask.method, target)
    headers = {"authorization": auth.sign(node.identity, signed, ask.body, peer.audience, node.now_ms(), nonce)}
    if ask.body:
        headers["content-type"] = NDJSON if ask.path == EVENTS_PATH else JSON
    if ask.method == "GET" and ask.path == EVENTS_PATH:
        headers["accept-encoding"] = pack.ENCODING
    if ask.etag:
        headers["if-none-match"] = f'"{ask.etag}"'
    request = await _request(client, peer, ask.method, target, ask.body, headers)
    answer, given = await _read(client, request)
    if answer.status in (200, 304):
        told = ask.etag.encode() if answer.status == 304 else answer.body
        signature = given.get(auth.SIGNATURE_HEADER, "")
        await asyncio.to_thread(_check, node, peer, nonce, Answer(answer.status, told), signature)
    if answer.status == 200 and given.get("content-encoding") == pack.ENCODING:
        answer = Answer(200, await asyncio.to_thread(pack.unpack, answer.body))
    return answer, given.get(auth.AUDIENCE_HEADER, "")


async def _request(
    client: httpx.AsyncClient, peer: Peer, method: str, target: str, body: bytes, headers: dict[str, str]
) -> httpx.Request:
    """A request to the peer's address; over TLS, if that is called for, with nobody but the expected machine."""
    origin = await dialled(peer.url)
    extensions = {}
    if origin.startswith("https:"):
        extensions["sni_hostname"] = peer.machine_id or tls.ANYBODY
        if not peer.machine_id:
            if body:
                raise PeerError(f"it is not known yet who answers at {peer.url}")
            headers = {**headers, "connection": "close"}  # not to be used again for one we know
    return client.build_request(method, origin + target, headers=headers, content=body or None, extensions=extensions)


async def dialled(url: str) -> str:
    """The URL with the IP address its name stands for now, and https unless that is loopback or tailnet."""
    wanted = urlsplit(url)
    assert wanted.hostname is not None and wanted.port is not None  # `discovery.url_of` and `url_for` name both
    address = wanted.hostname if is_address(wanted.hostname) else await _resolved(wanted.hostname)
    scheme = "https" if wanted.scheme == "https" or tls.needed_at(address) else "http"
    return url_for(address, wanted.port, scheme)


async def _resolved(name: str) -> str:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpx.ConnectError(f"{name}: {error.strerror}") from None
    return str(found[0][4][0])


def _check(node: Node, peer: Peer, nonce: str, answer: Answer, signature: str) -> None:
    """PeerError unless this is the answer of the member we asked, to this request."""
    with node.reading() as db:
        key = members.keys(db).get(auth.machine_of(peer.audience))
    if key is None or not auth.answer_is_signed(key, nonce, answer.status, answer.body, signature):
        raise PeerError(f"whoever answers at {peer.url} does not sign as a member")


async def _read(client: httpx.AsyncClient, request: httpx.Request) -> tuple[Answer, Mapping[str, str]]:
    """The answer, bounded in time and size. Busy and Failing where the peer says so."""
    async with asyncio.timeout(REQUEST_S_MAX + WAIT_S):
        response = await client.send(request, stream=True)
        try:
            body = bytearray()
            async for block in response.aiter_raw():
                body += block
                if len(body) > wire.BATCH_BYTES_MAX:
                    raise wire.Malformed(f"answer larger than {wire.BATCH_BYTES_MAX} bytes")
        finally:
            await response.aclose()
    answer = Answer(response.status_code, bytes(body))
    if response.status_code in (429, 503):
        raise Busy(_words(answer), response.status_code, retry_after_s(response.headers.get("retry-after", "")))
    if response.status_code >= 500:
        raise Failing(_words(answer), response.status_code)
    return answer, response.headers


def retry_after_s(text: str) -> float:
    """Seconds of a Retry-After header, bounded; a date or nonsense counts as a short pause."""
    return min(float(text), RETRY_AFTER_S_MAX) if text.isdecimal() and len(text) < 7 else RETRY_WAIT_S_MAX


def _words(answer: Answer) -> str:
    try:
        expect(answer)
    except PeerError as error:
        return error.message
    return ""


async def join(node: Node, client: httpx.AsyncClient, line: pairing.Invite, name: str) -> Peer:
    """Pair with the node that made the invite, at whichever of its addresses answers."""
    refused: PeerError | httpx.TransportError | None = None
    for url in line.addresses:
        try:
            return await _join_at(node, client, line, name, url)
        except (PeerError, httpx.TransportError) as error:
            refused = error if not isinstance(refused, PeerError) else refused
    assert refused is not None
    raise refused


async def _join_at(node: Node, client: httpx.AsyncClient, line: pairing.Invite, name: str, url: str) -> Peer:
    sent, peer = pairing.ask(node, line, name, node.entropy(16).hex()), Peer(url, line.machine_id)
    request = await _request(client, peer, "POST", pairing.PAIR_PATH, encode(sent), {"content-type": JSON})
    answer, _ = await _read(client, request)
    welcome = wire.decode(pairing.welcomes, expect(answer))
    await asyncio.to_thread(pairing.accept, node, line, sent, welcome)
    return peer


def pull_from_peer(url: str, since_hlc: str = "", *, node: Node | None = None) -> Exchange:
    """Fetch every event above one stamp ("" = all) from the peer at `url` and take it in.

    The seed's form of a pull, for people and scripts: it misses what arrives there late with an older stamp,
    which `exchange` does not. `node` is this user's own unless given.
    """
    return _one_way(url, node, lambda own, tally: pull_since_steps(own, since_hlc, tally))


def push_to_peer(url: str, since_hlc: str = "", *, node: Node | None = None) -> Exchange:
    """Send every event above one stamp ("" = all) to the peer at `url`; the seed's form of a push."""
    return _one_way(url, node, lambda own, tally: push_since_steps(own, since_hlc, tally))


def _one_way(url: str, node: Node | None, steps: Callable[[Node, Exchange], Steps]) -> Exchange:
    async def run(own: Node) -> Exchange:
        tally, peer = Exchange(), Peer(url_of(url))
        async with open_client() as client:
            await play(own, client, peer, steps(own, tally))
        tally.machine_id = auth.machine_of(peer.audience)
        return tally

    if node is not None:
        return asyncio.run(run(node))
    with Node(Home.from_env(os.environ)) as own:
        return asyncio.run(run(own))
