"""Rows N3-N5: requests that drip in for ever, a first sync cut again and again, signals at any moment."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path

import pytest

from benchmarks.data import Author
from claire.node import log
from claire.node.node import Node
from tests.integration.nodes import PATIENCE_S, STOP_S, ProcessNode, equal, pair, until
from tests.node.test_node import sound, spawn

FIRST_SYNC_EVENTS = int(os.environ.get("CLAIRE_TEST_FIRST_SYNC", "20000"))
FIRST_SYNC_KILLS = 20 if FIRST_SYNC_EVENTS >= 1_000_000 else 4


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str], ProcessNode]]:
    made: list[ProcessNode] = []

    def make_node(name: str) -> ProcessNode:
        made.append(ProcessNode(tmp_path, name))
        made[-1].start()
        return made[-1]

    yield make_node
    for node in made:
        node.kill()


def connect(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


def status(url: str, path: str = "/") -> int:
    """What a stranger is answered, on a connection of its own; 0 for nothing."""
    with suppress(OSError), closing(connect(url)) as wire:
        host = url.removeprefix("http://")
        wire.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = wire.recv(64)
        return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else 0
    return 0


def test_n3_headers_and_bodies_that_drip_end_in_time_and_others_are_served(make: Callable[[str], ProcessNode]) -> None:
    a, b = make("a"), make("b")
    pair(a, b)
    ui, sync = a.urls()["ui"], a.sync_url()
    head = "POST /api/sync/events HTTP/1.1\r\nHost: {}\r\n"
    head += "Content-Type: application/x-ndjson\r\nContent-Length: 9000\r\n"
    with ExitStack() as stack:
        drips = [stack.enter_context(closing(connect(url))) for url in (ui, sync) for _ in range(20)]
        for number, wire in enumerate(drips):
            host = (ui if number < 20 else sync).removeprefix("http://")
            wire.sendall(head.format(host).encode() + (b"\r\n" if number % 2 else b"X: "))
        started = time.monotonic()
        alive = set(drips)
        while alive:
            took = time.monotonic() - started
            assert took < PATIENCE_S, f"{len(alive)} of {len(drips)} still drip"
            assert status(ui) == 401 and status(sync, "/api/sync/state") == 401
            alive = {wire for wire in alive if drips_on(wire)}
            time.sleep(1)
        a.claire("project", "new", "meanwhile")
        until(lambda: equal(a, b))
    assert len(a.log.read_text().splitlines()) <= 100


def drips_on(wire: socket.socket) -> bool:
    """One more byte; False once the server has hung up."""
    try:
        wire.sendall(b"x")
        wire.setblocking(False)
        while answer := wire.recv(4096):
            assert answer
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        wire.settimeout(PATIENCE_S)
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_n5_a_signal_in_the_middle_of_an_exchange_ends_it_in_time_whole(
    number: signal.Signals, make: Callable[[str], ProcessNode]
) -> None:
    a, b = make("a"), make("b")
    pair(a, b)
    project = a.json("project", "new", "api")["id"]
    before = b.count()
    with Node(a.home) as node:
        writer = spawn(node, project, 200)
    until(lambda: b.count() > before + 10)
    assert b.stop(number) < STOP_S, b.log.read_text()
    assert writer.communicate()[1] == "" and writer.returncode == 0
    with Node(b.home) as node:
        sound(node)
    b.start()
    until(lambda: equal(a, b))


def test_n4_a_first_sync_that_is_killed_again_and_again_resumes_in_bounded_memory(
    make: Callable[[str], ProcessNode],
) -> None:
    """A million events of the nightly run take minutes; by default it is enough of them for several pages."""
    a, b = make("a"), make("b")
    pair(a, b)
    until(lambda: equal(a, b))
    b.stop()
    with Node(a.home) as node:
        author = Author(node, node.now_ms())
        for start in range(0, FIRST_SYNC_EVENTS, 10_000):
            node.receive(list(author.events(min(10_000, FIRST_SYNC_EVENTS - start))))
    rss: list[int] = []

    def watched() -> None:
        for one in (a, b):
            if one.process is not None:
                rss.append(int(Path(f"/proc/{one.process.pid}/statm").read_text().split()[1]))

    def has_more_than(held: int) -> bool:
        watched()
        return b.count() > held

    for _ in range(FIRST_SYNC_KILLS):
        if (held := b.count()) >= FIRST_SYNC_EVENTS:
            break
        b.start()
        until(partial(has_more_than, held), why=b.log.read_text)
        b.kill()
        assert b.count() > held
    b.start()
    until(lambda: has_more_than(0) and equal(a, b), 1200, a.log.read_text)
    assert max(rss) * os.sysconf("SC_PAGE_SIZE") < 150 * 1024**2
    with Node(b.home) as node, node.reading() as db:
        assert log.recount(db) == {machine: row for machine, row in log.index(db).items() if row.count}


def test_n5_a_command_that_is_interrupted_leaves_nothing_half_done(tmp_path: Path) -> None:
    a = ProcessNode(tmp_path, "a")
    project = a.json("project", "new", "api")["id"]
    with Node(a.home) as node:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            writer = spawn(node, project, 100_000)
            assert writer.stdout is not None
            writer.stdout.readline()
            writer.send_signal(number)
            writer.communicate(timeout=PATIENCE_S)
            assert writer.returncode != 0
        sound(node)


def test_n5_stopped_by_hand_it_goes_on_when_told(make: Callable[[str], ProcessNode]) -> None:
    a, b = make("a"), make("b")
    pair(a, b)
    assert b.process is not None
    b.process.send_signal(signal.SIGTSTP)
    until(lambda: "T" in Path(f"/proc/{b.process.pid}/stat").read_text().rpartition(")")[2].split()[0])  # type: ignore[union-attr]
    a.claire("project", "new", "meanwhile")
    b.process.send_signal(signal.SIGCONT)
    until(lambda: equal(a, b))
    assert b.stop() < STOP_S
