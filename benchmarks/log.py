"""What the node itself costs: record, receive, late events, replay, index, without any network."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from benchmarks import baselines
from benchmarks.data import START_MS, Author, home, new_node, receiver, row
from benchmarks.timing import Bench, Result, Runs, against
from claire.node.event import Event
from claire.node.fold import replay_events
from claire.node.node import Node
from claire.node.updates import UpdateAdded

BATCH_EVENTS = 10_000
LATE_EVENTS = 10_000
RECORDED_EVENTS = 1_000
YEAR_MS = 365 * 24 * 3600 * 1000


def run(bench: Bench, folder: Path) -> Iterator[Result]:
    yield record(bench, folder)
    for size in bench.sizes:
        yield from receive_and_replay(bench, folder, size)
    yield late(bench, folder, max(bench.sizes))


def record(bench: Bench, folder: Path) -> Result:
    """In turns with the bare insert: what a sync of the disk costs changes by the second."""
    ours, raw = [], []
    with (
        new_node(folder / "record") as node,
        closing(baselines.database(folder / "raw.db")) as db,
        bench.profiled("record, one event a transaction"),
    ):
        for number in range(RECORDED_EVENTS):
            started = time.perf_counter()
            with node.writing() as tx:
                event = tx.record(UpdateAdded("note", f"{number} of the tests pass"))
            recorded = time.perf_counter()
            baselines.durable_insert(db, row(event))
            ours.append(recorded - started)
            raw.append(time.perf_counter() - recorded)
    return against("record one event durably", 1, Runs(tuple(ours)), "durable insert", Runs(tuple(raw)), 3)


def receive_and_replay(bench: Bench, folder: Path, size: int) -> Iterator[Result]:
    with new_node(folder / "author") as author:
        events = list(Author(author).events(size))
    rows = [row(event) for event in events]
    repeats = bench.repeats if size < 50_000 else 3
    base = Runs(tuple(baselines.raw_insert(folder / "raw.db", rows) for _ in range(repeats)))
    yield against("receive: verify, store, fold", size, receive(bench, folder, events, repeats), "raw insert", base)
    with Node(home(folder / "receiver")) as node:
        plain = Runs(tuple(baselines.plain_loop(Path(node.home.database)) for _ in range(repeats)))

        def replay() -> None:
            with node.writing() as tx:
                replay_events(tx.db)

        with bench.profiled(f"replay of {size:,}"):
            replay()
        ours = bench.time(replay, repeats)
        yield against("replay of all projections", size, ours, "plain loop", plain, 4)


def receive(bench: Bench, folder: Path, events: Sequence[Event], repeats: int) -> Runs:
    values = []
    for _ in range(repeats):
        with fresh_receiver(folder) as node, bench.profiled(f"receive of {len(events):,}"):
            started = time.perf_counter()
            for start in range(0, len(events), BATCH_EVENTS):
                receipt = node.receive(events[start : start + BATCH_EVENTS])
                assert not receipt.refused, receipt.refused[0]
            values.append(time.perf_counter() - started)
    return Runs(tuple(values))


def late(bench: Bench, folder: Path, size: int) -> Result:
    """Events older than everything there cost what the same events cost in order."""
    values: dict[str, list[float]] = {"in order": [], "late": []}
    with new_node(folder / "author") as author:
        old = list(Author(author, START_MS - YEAR_MS, seed=2).events(LATE_EVENTS))
        log = list(Author(author).events(size))
        young = list(Author(author, START_MS + YEAR_MS, seed=2).events(LATE_EVENTS))
    for kind, events in (("in order", young), ("late", old)):
        with fresh_receiver(folder) as node:
            for start in range(0, size, BATCH_EVENTS):
                node.receive(log[start : start + BATCH_EVENTS])
            started = time.perf_counter()
            assert node.receive(events).accepted == LATE_EVENTS
            values[kind].append(time.perf_counter() - started)
    ours, base = (Runs(tuple(values[kind])) for kind in ("late", "in order"))
    return against(f"{LATE_EVENTS:,} late events into a log", size, ours, "the same in order", base, 2)


def fresh_receiver(folder: Path) -> Node:
    with Node(home(folder / "author")) as author:
        return receiver(folder / "receiver", author)
