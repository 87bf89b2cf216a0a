"""Three nodes under load, kills, freezes and partitions: `python -m tests.integration.soak --for 2h --seed 1`.

It ends well if all logs are equal, replay gives the same tables, and the node that was never killed holds no more
memory and file descriptors than when it had warmed up.
"""

import argparse
import contextlib
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from claire.node import log, projects, sessions, tasks, updates
from claire.node.node import Node
from tests.integration.nodes import STOP_S, ProcessNode, equal, pair, until
from tests.node import events as made

UNITS = {"s": 1, "m": 60, "h": 3600}
EVENTS_A_SECOND = 20
TROUBLE_S = (3.0, 15.0)  # from one trouble to the next
TROUBLE_LASTS_S = (1.0, 8.0)
SAMPLE_S = 1.0
CALM_S_MAX = 120.0
RSS_GROWTH_BYTES_MAX = 24 * 1024**2
FDS_GROWTH_MAX = 8


def seconds(text: str) -> float:
    return float(text[:-1]) * UNITS[text[-1]] if text[-1] in UNITS else float(text)


class Load:
    """Writes on all three hosts, as people, agents and observers do."""

    def __init__(self, nodes: list[ProcessNode], rng: random.Random, stack: contextlib.ExitStack) -> None:
        self.nodes = [stack.enter_context(Node(node.home)) for node in nodes]
        self.rng = rng
        self.project = projects.create(self.nodes[0], "soak")["id"]
        self.tasks: list[str] = []
        self.sessions = {node: [node.new_id() for _ in range(5)] for node in self.nodes}
        self.written = 0

    def write(self, frozen: str) -> None:
        """Not on a frozen host: its daemon may hold the lock of the writer."""
        node = self.rng.choice([node for node in self.nodes if node.home.data != frozen])
        with node.reading() as db:
            here = bool(projects.list_projects(db))
        kind = self.rng.random()
        if kind < 0.5 or not here:
            state = self.rng.choice(("working", "idle", "permission"))
            session = self.rng.choice(self.sessions[node])
            seen = sessions.Observation(session_uuid=session, host="h", state=state, since_ms=node.now_ms())
            self.written += sessions.observe(node, [seen])
            return
        with node.reading() as db:
            known = [row["id"] for row in tasks.list_tasks(db)][-50:]
        if kind < 0.65 or not known:
            tasks.add(node, self.project, f"task {self.written}")
        elif kind < 0.85:
            tasks.set_status(node, self.rng.choice(known), self.rng.choice(("todo", "in_progress", "blocked", "done")))
        else:
            updates.note(node, self.rng.choice(known), "so far")
        self.written += 1


class Troubles:
    """What goes wrong, one thing at a time; the first node is never killed, so that its memory can be followed."""

    def __init__(self, nodes: list[ProcessNode], rng: random.Random) -> None:
        self.nodes, self.rng = nodes, rng
        self.count = {"kill": 0, "freeze": 0, "partition": 0}
        self.begins = time.monotonic() + rng.uniform(*TROUBLE_S)
        self.running: Iterator[None] | None = None
        self.frozen = ""

    def step(self) -> None:
        now = time.monotonic()
        if now < self.begins:
            return
        if self.running is None:
            kind = self.rng.choice(list(self.count))
            self.count[kind] += 1
            self.running = getattr(self, kind)(self.rng.choice(self.nodes[1:]))
            next(self.running)
            self.begins = now + self.rng.uniform(*TROUBLE_LASTS_S)
        else:
            self.end()
            self.begins = now + self.rng.uniform(*TROUBLE_S)

    def end(self) -> None:
        if self.running is not None:
            next(self.running, None)
        self.running = None

    def kill(self, node: ProcessNode) -> Iterator[None]:
        node.kill()
        yield
        node.start()

    def freeze(self, node: ProcessNode) -> Iterator[None]:
        assert node.process is not None
        os.kill(node.process.pid, signal.SIGSTOP)
        self.frozen = node.home.data
        yield
        os.kill(node.process.pid, signal.SIGCONT)
        self.frozen = ""

    def partition(self, node: ProcessNode) -> Iterator[None]:
        self._cut(node, 1)
        yield
        self._cut(node, 0)

    def _cut(self, node: ProcessNode, cut: int) -> None:
        """Nobody dials that node, and it dials nobody."""
        with Node(node.home) as one:
            machine = one.machine_id
        for other in self.nodes:
            where = "machine_id != ?" if other is node else "machine_id = ?"
            with Node(other.home) as here, here.writing() as tx:
                tx.db.execute(f"UPDATE peers SET ignored = {cut} WHERE {where}", (machine,))


def resident(pid: int) -> tuple[int, int]:
    """(bytes of memory, open file descriptors) of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(f"/proc/{pid}/fd"))


def run(root: Path, for_s: float, seed: int) -> bool:
    rng = random.Random(seed)
    nodes = [ProcessNode(root, name) for name in "abc"]
    with contextlib.ExitStack() as stack:
        for node in nodes:
            node.start()
            stack.callback(node.kill)
        pair(nodes[0], nodes[1])
        pair(nodes[1], nodes[2])
        until(lambda: equal(*nodes), CALM_S_MAX)
        load, troubles = Load(nodes, rng, stack), Troubles(nodes, rng)
        assert nodes[0].process is not None
        samples = [resident(nodes[0].process.pid)]
        start = sampled = said = time.monotonic()
        while (now := time.monotonic()) - start < for_s:
            troubles.step()
            if load.written < (now - start) * EVENTS_A_SECOND:
                load.write(troubles.frozen)
            else:
                time.sleep(0.005)
            if now - sampled > SAMPLE_S:
                samples.append(resident(nodes[0].process.pid))
                sampled = now
            if now - said > max(10.0, for_s / 60):
                said = now
                memory = f"{samples[-1][0] / 1024**2:.0f} MiB"
                print(f"{now - start:7.0f} s  {load.written} events  {memory}  {troubles.count}", flush=True)
        troubles.end()
        until(lambda: equal(*nodes), CALM_S_MAX, lambda: "\n".join(node.log.read_text()[-2000:] for node in nodes))
        calm_s = time.monotonic() - start - for_s
        flat = report(samples, load.written, troubles.count, calm_s)
        differing = [f"{node.name}: {why}" for node in nodes for why in differs(Node(node.home))]
        slow = [f"{node.name} took {took:.1f} s to stop" for node in nodes if (took := node.stop()) > STOP_S]
        print("\n".join([*differing, *slow]))
        return flat and not differing and not slow


def report(samples: list[tuple[int, int]], written: int, troubles: dict[str, int], calm_s: float) -> bool:
    """Whether memory and descriptors in the last fifth are those of the second."""
    fifth = max(1, len(samples) // 5)
    warm, late = samples[fifth : 2 * fifth] or samples, samples[-fifth:]
    rss = [statistics.median(memory for memory, _ in some) for some in (warm, late)]
    fds = [max(count for _, count in some) for some in (warm, late)]
    print(f"{written} events, {troubles}; equal {calm_s:.1f} s after the last trouble")
    print(f"memory {rss[0] / 1024**2:.1f} -> {rss[1] / 1024**2:.1f} MiB, file descriptors {fds[0]} -> {fds[1]}")
    return rss[1] - rss[0] < RSS_GROWTH_BYTES_MAX and fds[1] - fds[0] <= FDS_GROWTH_MAX


def differs(node: Node) -> list[str]:
    """Tables that say something else than the log replayed, and the index if it does."""
    with node, node.writing() as tx:
        counted = {machine: row for machine, row in log.index(tx.db).items() if row.count}
        found = [] if log.recount(tx.db) == counted else ["the index is not that of the events"]
        before = made.tables(tx.db)
        after = made.replayed(tx.db)
        return found + [
            f"{table} replays otherwise, as in {sorted(set(map(repr, before[table])) ^ set(map(repr, rows)))[:4]}"
            for table, rows in after.items()
            if rows != before[table]
        ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--for", dest="for_s", type=seconds, default=seconds("2h"), help="60s, 10m, 2h")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    print(f"soak for {asked.for_s:.0f} s, seed {asked.seed}")
    with tempfile.TemporaryDirectory() as folder:
        well = run(Path(folder), asked.for_s, asked.seed)
    print("ended well" if well else "FAILED")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
