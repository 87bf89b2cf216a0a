"""Two nodes as they ship, each its own process on loopback: catch-up, idle round, commit to readable elsewhere."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarks import baselines
from benchmarks.commands import claire
from benchmarks.data import Author, row
from benchmarks.timing import Bench, Result, Runs, against, limit
from claire.node import log, members
from claire.node.node import Node
from claire.node.updates import UpdateAdded
from tests.integration.nodes import ProcessNode, pair, until

RECEIVE_EVENTS = 10_000
WRITES = 100
CLI_WRITES = 10
IDLE_ROUNDS = 200
COMMAND_RUNS = 10
CATCH_UP_GOALS = {100_000: 4.0, 1_000_000: 5.0}
LAG_GOALS_MS = {100_000: 50}  # with fewer events the p99 is the slowest of some forty answers
LOOK_PAUSE_S = 0.0001  # between two looks whether it is there: two daemons have two cores, and one is not ours to burn
PROBES = 20  # requests between two looks at whether it has caught up
PROBE_PAUSE_S = 0.005
PAUSE_S = 0.1  # before each write: each is its own push, of a node that had nothing to do


class Rounds(NamedTuple):
    """What a process that made some rounds says of them."""

    seconds: float
    peak_mib: float
    bytes: int


def run(bench: Bench, folder: Path) -> Iterator[Result]:
    for size in bench.sizes:
        yield from catch_up(bench, folder / f"catch-up-{size}", size)
    yield from small_rounds(folder / "pair")


def catch_up(bench: Bench, folder: Path, size: int) -> Iterator[Result]:
    """All events of one node into another that has none, by a daemon that has just started."""
    folder.mkdir()
    author = ProcessNode(folder, "author")
    with Node(author.home) as node:
        events = list(Author(node).events(size))
        for start in range(0, size, RECEIVE_EVENTS):
            assert not node.receive(events[start : start + RECEIVE_EVENTS]).refused
    rows = [row(event) for event in events]
    del events
    receivers = [befriended(folder, f"receiver{n}", author) for n in range(5 if size < 1_000_000 else 1)]
    loaded = befriended(folder, "loaded", author)
    author.start()
    raw, runs = [], []
    try:
        for receiver in receivers:  # in turns: a machine's speed changes by the minute
            raw.append(baselines.raw_insert(folder / "raw.db", rows))
            runs.append(one_catch_up(receiver, author))
        lag = loaded_answers(loaded, author) if size >= 10_000 else None
        assert author.process
        served_mib = peak_mib(author.process.pid)
    finally:
        author.kill()
    base = Runs(tuple(raw))
    ours = Runs(tuple(run.seconds for run in runs))
    yield against("catch-up over HTTP", size, ours, "raw insert", base, CATCH_UP_GOALS.get(size))
    yield limit("bytes on the wire an event", size, runs[0].bytes / size, "B", 200)
    most_mib = 150 if size == 1_000_000 else None
    yield limit("peak memory of the receiver", size, max(run.peak_mib for run in runs), "MiB", most_mib)
    yield limit("peak memory of the sender", size, served_mib, "MiB", most_mib)
    if lag is not None:
        yield limit("answer time of a node that catches up, p99", size, lag.p99 * 1e3, "ms", LAG_GOALS_MS.get(size))


def one_catch_up(receiver: ProcessNode, author: ProcessNode) -> Rounds:
    """One round of a fresh node with everything to fetch."""
    done = exchanged(receiver, author.sync_url())
    assert receiver.etag() == author.etag()
    shutil.rmtree(receiver.home.data)
    return done


def exchanged(node: ProcessNode, url: str, rounds: int = 1) -> Rounds:
    """Rounds in a process of their own."""
    code = f"from benchmarks.network import exchange_here; exchange_here({url!r}, {rounds})"
    done = subprocess.run([sys.executable, "-c", code], env=node.env, stdout=subprocess.PIPE, check=True)
    return Rounds(*json.loads(done.stdout))


def exchange_here(url: str, rounds: int) -> None:
    """What `exchanged` runs."""
    import asyncio
    import gc
    import importlib

    from httpx import Response

    from claire.config import Home
    from claire.sync.peer import Peer, exchange, open_client
    from claire.ui.cli.run import GC_THRESHOLD_OBJECTS

    importlib.import_module("claire.daemon")  # as a running node: the same is loaded, the same set
    gc.set_threshold(GC_THRESHOLD_OBJECTS)
    gc.freeze()
    connections: set[socket.socket] = set()

    async def remember(response: Response) -> None:
        connections.add(response.extensions["network_stream"].get_extra_info("socket"))

    async def play(node: Node) -> tuple[float, int]:
        peer = Peer(url)
        async with open_client() as client:
            client.event_hooks["response"].append(remember)
            started = time.perf_counter()
            for _ in range(rounds):
                assert (await exchange(node, client, peer)).in_sync
            return time.perf_counter() - started, sum(map(moved_bytes, connections))

    with Node(Home.from_env(os.environ)) as node:
        seconds, moved = asyncio.run(play(node))
    print(json.dumps([seconds, peak_mib("self"), moved]))


def moved_bytes(connection: socket.socket) -> int:
    """Both ways, as Linux counts them in struct tcp_info."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    acknowledged, received = struct.unpack_from("QQ", info, 120)
    return int(acknowledged + received)


def befriended(folder: Path, name: str, other: ProcessNode) -> ProcessNode:
    """A node that is a member of the other's fleet, without a round between them yet."""
    made = ProcessNode(folder, name)
    with Node(made.home) as one, Node(other.home) as two:
        for here, there in ((one, two), (two, one)):
            with here.writing() as tx:
                members.admit(tx, there.identity.public_key.hex(), there.machine_id[:8])
    return made


def loaded_answers(receiver: ProcessNode, author: ProcessNode) -> Runs:
    """How long a daemon takes for a trivial request while it catches up."""
    with Node(receiver.home) as node, node.writing() as tx:
        others = "INSERT INTO peers (machine_id, url) SELECT id, ? FROM members WHERE id <> ?"
        tx.db.execute(others, (author.sync_url(), node.machine_id))
    receiver.start()
    values = []
    try:
        address = urlsplit(receiver.urls()["ui"])
        assert address.hostname and address.port
        with (
            closing(http.client.HTTPConnection(address.hostname, address.port)) as client,
            Node(receiver.home) as here,
            Node(author.home) as there,
        ):
            client.request("GET", "/login")
            client.getresponse().read()  # unmeasured: the first page of a daemon loads what makes pages
            while etag(here) != etag(there):
                for _ in range(PROBES):
                    started = time.perf_counter()
                    client.request("GET", "/login")
                    client.getresponse().read()
                    values.append(time.perf_counter() - started)
                    time.sleep(PROBE_PAUSE_S)
    finally:
        receiver.kill()
    return Runs(tuple(values))


def etag(node: Node) -> str:
    with node.reading() as db:
        return log.etag(db)


def peak_mib(pid: int | str) -> float:
    """Not by getrusage: its peak begins with what the process that started this one held."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def small_rounds(folder: Path) -> Iterator[Result]:
    folder.mkdir()
    with running_pair(folder) as (here, there):
        yield from idle_rounds(here, there)
        yield commit_to_readable(folder, here, there)
        yield command_to_readable(here, there)
        ours, base = baselines.beside_bare_python([*claire(), "sync"], COMMAND_RUNS, here.env)
        yield against("`claire sync` with nothing new", "1 peer", ours, "python -c pass", base, 12)


@contextmanager
def running_pair(folder: Path) -> Iterator[tuple[ProcessNode, ProcessNode]]:
    here, there = ProcessNode(folder, "here"), ProcessNode(folder, "there")
    try:
        here.start()
        pair(here, there)
        there.start()
        until(lambda: bool(there.sync_url()) and here.etag() == there.etag())
        yield here, there
    finally:
        here.kill()
        there.kill()


def idle_rounds(here: ProcessNode, there: ProcessNode) -> Iterator[Result]:
    """A round with nothing new, and a request that the same server only refuses."""
    code = f"from benchmarks.network import time_idle_rounds; time_idle_rounds({there.sync_url()!r})"
    done = subprocess.run([sys.executable, "-c", code], env=here.env, stdout=subprocess.PIPE, check=True)
    ours, base = (Runs(tuple(values)) for values in json.loads(done.stdout))
    yield against("idle round", "2 nodes", ours, "a bare request", base, 3)
    once, more = (exchanged(here, there.sync_url(), rounds).bytes for rounds in (1, 11))
    yield limit("bytes of an idle round, both ways", "2 nodes", (more - once) / 10, "B", 400)


def time_idle_rounds(url: str) -> None:
    """Run in a process of its own: seconds of idle rounds and of bare requests, interleaved."""
    import asyncio

    from claire.config import Home
    from claire.sync.peer import Peer, exchange, open_client

    async def measure(node: Node) -> tuple[list[float], list[float]]:
        ours, bare = [], []
        peer = Peer(url)
        async with open_client() as client:
            assert (await exchange(node, client, peer)).in_sync
            for _ in range(IDLE_ROUNDS):
                started = time.perf_counter()
                await exchange(node, client, peer)
                ours.append(time.perf_counter() - started)
                started = time.perf_counter()
                await client.get(f"{url}/api/sync/state")
                bare.append(time.perf_counter() - started)
        return ours, bare

    with Node(Home.from_env(os.environ)) as node:
        print(json.dumps(asyncio.run(measure(node))))


def commit_to_readable(folder: Path, here: ProcessNode, there: ProcessNode) -> Result:
    """In turns with the minimal node, after the same pauses: what has slept is slower than what was just busy."""
    ours, minimal = [], []
    with (
        Node(here.home) as node,
        closing(sqlite3.connect(there.home.database)) as reader,
        baselines.minimal_node(folder) as deliver,
    ):
        for number in range(WRITES):
            time.sleep(PAUSE_S)
            with node.writing() as tx:
                event = tx.record(UpdateAdded("note", f"{number} of the tests pass"))
            ours.append(seconds_until_readable(reader, event.uuid))
            time.sleep(PAUSE_S)
            minimal.append(deliver(row(event)))
    runs, base = Runs(tuple(ours)), Runs(tuple(minimal))
    note = f"p99 {runs.p99 / base.median:.1f} x, goal ≤ 12 x"
    return against("commit to readable on the peer", "2 daemons", runs, "minimal node", base, 4, note)


def seconds_until_readable(reader: sqlite3.Connection, uuid: str) -> float:
    started = time.perf_counter()
    while not reader.execute("SELECT 1 FROM events WHERE uuid = ?", (uuid,)).fetchone():
        assert time.perf_counter() - started < 30
        time.sleep(LOOK_PAUSE_S)
    return time.perf_counter() - started


def command_to_readable(here: ProcessNode, there: ProcessNode) -> Result:
    """From the end of the command, which is after its commit, to the peer's daemon having it."""
    here.claire("project", "new", "bench")
    values = []
    with closing(sqlite3.connect(there.home.database)) as reader:
        for number in range(CLI_WRITES):
            made = here.json("task", "add", "bench", f"step {number}")
            started = time.perf_counter()
            while not reader.execute("SELECT 1 FROM tasks WHERE id = ?", (made["id"],)).fetchone():
                assert time.perf_counter() - started < 30
            values.append(time.perf_counter() - started)
    runs = Runs(tuple(values))
    return limit("`task add` ended to readable on the peer", "2 daemons", runs.median * 1e3, "ms", 40)
