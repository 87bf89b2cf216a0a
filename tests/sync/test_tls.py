"""Pinned TLS: only the machine that is expected completes the handshake, and nothing is said to any other."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette

from claire.listeners import listen, serve_until, url_of_socket
from claire.node import projects
from claire.node.identity import Identity
from claire.node.node import Node
from claire.sync import pairing, tls
from claire.sync import peer as peer_module
from claire.sync.bell import Bell
from claire.sync.peer import Peer, dialled, exchange, join, open_client
from claire.sync.round import PeerError
from claire.sync.routes import Inbox, routes
from tests.conftest import befriend

MakeNode = Callable[..., Node]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client() as made:
        yield made


@pytest.fixture(autouse=True)
def loopback_counts_as_lan(monkeypatch: pytest.MonkeyPatch) -> None:
    """What decides is tested by itself; a test has no other address than this one."""
    monkeypatch.setattr(tls, "needed_at", lambda address: True)


@asynccontextmanager
async def serving(node: Node, identity: Identity | None = None) -> AsyncIterator[str]:
    """The node's sync listener over TLS; `identity` is whose certificate it shows."""
    sock, stop = listen("127.0.0.1", 0, "--sync-port"), asyncio.Event()
    url = url_of_socket(sock, "https")
    context = tls.server_context(identity or node.identity, node.home.runtime)
    inbox = Inbox(node, Bell(), "served", lambda machine_id: None)
    server = asyncio.create_task(serve_until(Starlette(routes=routes(inbox)), [sock], stop, context))
    try:
        yield url
    finally:
        stop.set()
        await server


@pytest.mark.parametrize(
    ("address", "needed"),
    [
        ("127.0.0.1", False), ("127.9.9.9", False), ("::1", False), ("100.64.0.1", False), ("100.127.255.254", False),
        ("fd7a:115c:a1e0::1", False), ("100.128.0.1", True), ("192.168.1.5", True), ("10.0.0.1", True),
        ("8.8.8.8", True), ("fe80::1%eth0", True), ("fd00::1", True), ("0.0.0.0", True), ("::", True),
        ("::ffff:192.168.1.5", True),
    ],
)  # fmt: skip
def test_where_it_is_switched_on(address: str, needed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert tls.needed_at(address) is needed


async def test_the_scheme_follows_the_address_a_name_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert await dialled("http://localhost:8766") in ("http://127.0.0.1:8766", "http://[::1]:8766")
    assert await dialled("http://192.168.1.5:8766") == "https://192.168.1.5:8766"
    assert await dialled("http://100.64.0.9:8766") == "http://100.64.0.9:8766"
    assert await dialled("https://100.64.0.9:8766") == "https://100.64.0.9:8766"
    assert await dialled("http://[fd7a:115c:a1e0::9]:8766") == "http://[fd7a:115c:a1e0::9]:8766"
    with pytest.raises(httpx.ConnectError):
        await dialled("http://no-such-host.invalid:1")


async def test_a_round_over_tls(make_node: MakeNode, client: httpx.AsyncClient) -> None:
    a, b = make_node("a"), make_node("b")
    befriend(a, b)
    projects.create(a, "api")
    async with serving(b) as url:
        for expected in (b.machine_id, ""):
            done = await exchange(a, client, Peer(url, expected))
            assert done.in_sync and done.machine_id == b.machine_id
    assert not [name for name in os.listdir(b.home.runtime) if "listener" in name], "the key file is gone"


async def test_p14_a_certificate_of_another_key_ends_before_a_byte_is_said(
    make_node: MakeNode, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even one of another member: who is not the machine we want learns nothing."""
    a, b, c = make_node("a"), make_node("b"), make_node("c")
    befriend(a, b, c)
    monkeypatch.setattr(peer_module._asked.retry, "stop", lambda state: True)
    for shown in (Identity(b"x" * 32), c.identity):
        async with serving(b, shown) as url:
            with pytest.raises(httpx.ConnectError, match="another machine"):
                await exchange(a, client, Peer(url, b.machine_id))
            with pytest.raises(httpx.ConnectError, match="another machine"):
                await exchange(a, client, Peer(url))  # who it says it is, is not whose key it shows


def test_p14_a_certificate_of_no_node_is_of_no_machine() -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, Identity(b"k" * 32).machine_id)])
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    dated = builder.serial_number(1).not_valid_before(tls.NOT_BEFORE).not_valid_after(tls.NOT_AFTER)
    foreign = dated.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    assert [tls.machine_of(der) for der in (foreign, b"", b"junk", None)] == [""] * 4
    ours = tls.certificate(Identity(b"k" * 32)).public_bytes(Encoding.DER)
    assert tls.machine_of(ours) == Identity(b"k" * 32).machine_id


async def test_pairing_over_tls_pins_the_machine_of_the_line(make_node: MakeNode, client: httpx.AsyncClient) -> None:
    a, b, thief = make_node("a"), make_node("b"), make_node("thief")
    async with serving(a, thief.identity) as url:
        line = msgspec.structs.replace(pairing.invite(a), addresses=[url])
        with pytest.raises(httpx.ConnectError, match="another machine"):
            await join(b, client, line, "b")
    async with serving(a) as url:
        made = await join(b, client, msgspec.structs.replace(line, addresses=[url]), "b")
        assert made.machine_id == a.machine_id
        assert (await exchange(b, client, made)).in_sync


async def test_nothing_with_a_body_goes_to_who_is_not_known_yet(make_node: MakeNode, client: httpx.AsyncClient) -> None:
    with pytest.raises(PeerError, match="not known yet"):
        await peer_module._request(client, Peer("https://127.0.0.1:1"), "POST", "/x", b"secret", {})


def test_old_protocols_are_off(node: Node) -> None:
    context = tls.server_context(node.identity, node.home.runtime)
    assert context.minimum_version == tls.client_context().minimum_version == ssl.TLSVersion.TLSv1_3
