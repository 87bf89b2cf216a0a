"""Slow, many and idle: a node under connections that want nothing goes on answering, and recovers."""

import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from claire.crowd import CONNECTIONS_MAX, Crowd
from tests.integration.nodes import PATIENCE_S, ProcessNode, until

IDLE = 1_000
DESCRIPTORS = 3 * IDLE


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ProcessNode]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = most if 0 <= most < DESCRIPTORS else DESCRIPTORS
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))  # a shell often gives 1,024
    made = ProcessNode(tmp_path, "a")
    yield made
    made.kill()


def port(node: ProcessNode, which: str) -> int:
    said = node.urls()[which]
    return int((said if which == "ui" else said[0]).rpartition(":")[2])


def status(to: int, path: str) -> int:
    """What a well-behaved client is answered, on a connection of its own."""
    with socket.create_connection(("127.0.0.1", to), timeout=PATIENCE_S) as wire:
        wire.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{to}\r\nConnection: close\r\n\r\n".encode())
        line = wire.makefile("rb").readline()
    return int(line.split()[1])


def opened(held: list[socket.socket], to: int, count: int, saying: bytes = b"") -> None:
    for _ in range(count):
        held.append(socket.create_connection(("127.0.0.1", to), timeout=PATIENCE_S))
        with suppress(ConnectionError):  # it may be told to go at once
            held[-1].sendall(saying)


def both_answer(node: ProcessNode) -> None:
    assert status(port(node, "ui"), "/login") == 200
    assert status(port(node, "sync"), "/api/sync/state") == 401


HALF_HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: "
HALF_BODY = b"""POST /api/sync/pair HTTP/1.1\r
Host: peer.invalid\r
Content-Type: application/json\r
Content-Length: 999\r
\r
{"""


@pytest.mark.parametrize("saying", [b"", HALF_HEAD, HALF_BODY], ids=["nothing", "half a head", "half a body"])
def test_n3_a_thousand_connections_that_say_little(node: ProcessNode, saying: bytes) -> None:
    node.start()
    node.claire("peer", "invite")
    node.sync_url()
    held: list[socket.socket] = []
    try:
        for which in ("ui", "sync"):
            opened(held, port(node, which), IDLE, saying)
        if saying == HALF_BODY:  # each is read for a while; then its room is free again
            until(lambda: _answers(node))
        both_answer(node)
    finally:
        for wire in held:
            wire.close()
    both_answer(node)
    assert len(node.log.read_text().splitlines()) < 100


def _answers(node: ProcessNode) -> bool:
    try:
        both_answer(node)
    except (OSError, IndexError, AssertionError):
        return False
    return True


MANY_PIECES = (
    b"""POST %s HTTP/1.1\r
Host: peer.invalid\r
Content-Type: application/x-ndjson\r
Transfer-Encoding: chunked\r
\r
"""
    + 50 * b"1\r\nx\r\n"
)  # and no end


@pytest.mark.parametrize(("which", "path"), [("ui", b"/projects"), ("sync", b"/api/sync/events")])
def test_n3_a_refused_body_in_many_pieces_holds_no_connection(node: ProcessNode, which: str, path: bytes) -> None:
    node.start()
    node.claire("peer", "invite")
    node.sync_url()
    with socket.create_connection(("127.0.0.1", port(node, which)), timeout=PATIENCE_S) as wire:
        wire.sendall(MANY_PIECES % path)
        assert wire.recv(12) in (b"HTTP/1.1 401", b"HTTP/1.1 421")
        with suppress(ConnectionResetError):  # it is not read to its end
            while wire.recv(4096):
                pass


def test_n3_with_few_descriptors(node: ProcessNode) -> None:
    """64 descriptors in all: the listeners leave some for the database, and it works on while they are full."""
    node.python = ["prlimit", "--nofile=64:64", sys.executable]
    node.start()
    node.claire("peer", "invite")
    node.sync_url()
    held: list[socket.socket] = []
    try:
        for which in ("ui", "sync"):
            opened(held, port(node, which), 100)
        both_answer(node)
        node.python = [sys.executable]
        node.claire("project", "new", "meanwhile")
    finally:
        for wire in held:
            wire.close()
    both_answer(node)
    assert len(node.log.read_text().splitlines()) < 100
    assert node.stop() < 5


def test_the_longest_idle_one_goes_and_who_is_answered_stays() -> None:
    crowd = Crowd(3)
    pairs = [socket.socketpair() for _ in range(5)]
    try:
        for number in range(3):
            assert crowd.has_room()
            crowd.enter(pairs[number][0], ("c", number))
        crowd.answering(("c", 0))
        crowd.answering(("c", 1))
        crowd.answered(("c", 1))  # and so it is the latest idle one
        for going in (2, 1):
            assert not crowd.has_room()
            assert [number for number, pair in enumerate(pairs) if _is_ended(pair[1])] == [going]
            pairs[going][1].close()
            assert not crowd.has_room(), "not before it is closed"
            pairs[going][0].close()
            assert crowd.has_room()
            crowd.enter(pairs[5 - going][0], ("c", 5 - going))
            crowd.answering(("c", 5 - going))
        assert crowd.has_room(), "all are at work"
        newcomer, theirs = socket.socketpair()
        crowd.enter(newcomer, ("c", 9))
        assert _is_ended(theirs)
        newcomer.close(), theirs.close()
    finally:
        for pair in pairs:
            for end in pair:
                end.close()
    assert CONNECTIONS_MAX > 100


def _is_ended(theirs: socket.socket) -> bool:
    if theirs.fileno() == -1:
        return False
    theirs.setblocking(False)
    try:
        return theirs.recv(1) == b""
    except BlockingIOError:
        return False
