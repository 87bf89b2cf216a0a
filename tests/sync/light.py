"""The light mode: the same gossip, rounds and messages for a thousand nodes that are no more than a set of events."""

import math
from bisect import bisect_right, insort
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

from claire.node import admit, hlc, log
from claire.node.event import Event, event_hash
from claire.sync import answers, round
from claire.sync.gossip import Gossip
from claire.sync.messages import Answer, Ask
from claire.sync.round import Exchange, exchange_steps

NODES_KNOWN = 8  # addresses a node of a large fleet has
LATENCY_S = 0.02
GIVE_UP_S = 600.0


@dataclass
class LightNode:
    """What round and answers need of a node: an index and events, in memory, all of them believed."""

    machine_id: str
    machines: list[str]
    events: dict[str, list[tuple[str, str, Event]]] = field(default_factory=dict)
    digests: dict[str, int] = field(default_factory=dict)

    def now_ms(self) -> int:
        return 0

    @contextmanager
    def reading(self) -> Iterator["LightNode"]:
        yield self

    def receive(self, events: list[Event]) -> Any:
        accepted = 0
        for event in events:
            row, key = self.events.setdefault(event.machine_id, []), (event.hlc, event.uuid, event)
            if any(known[1] == event.uuid for known in row):
                continue
            insort(row, key, key=lambda known: known[:2])
            self.digests[event.machine_id] = self.digests.get(event.machine_id, 0) ^ event_hash(event)
            accepted += 1
        return SimpleNamespace(accepted=accepted, duplicate=len(events) - accepted, refused=[], blocked_machines=set())


class LightLog:
    """The questions of `claire.node.log` that a round asks, of a LightNode."""

    etag_of = staticmethod(log.etag_of)

    @staticmethod
    def index(node: LightNode) -> dict[str, log.IndexRow]:
        empty = log.EMPTY_DIGEST
        return {
            machine: log.IndexRow(rows[-1][0], len(rows), f"{node.digests[machine]:032x}")
            if (rows := node.events.get(machine))
            else log.IndexRow(hlc.start(machine), 0, empty)
            for machine in node.machines
        }

    @classmethod
    def etag(cls, node: LightNode) -> str:
        return cls.etag_of(cls.index(node))

    @staticmethod
    def after(node: LightNode, positions: Mapping[str, str], limit: int) -> list[Event]:
        found = []
        for machine, stamp in positions.items():
            rows = node.events.get(machine, [])
            found += [event for *_, event in rows[bisect_right([row[0] for row in rows], stamp) :]]
        return found[:limit]


class LightAdmit:
    """The door of `claire.node.admit`, wide open."""

    FORGED, turn = admit.FORGED, admit.turn

    @staticmethod
    def check(_node: LightNode, events: list[Event]) -> list[Event]:
        return events

    @staticmethod
    def take(node: LightNode, events: list[Event], _blocked: object) -> Any:
        return node.receive(events)

    @staticmethod
    def recheck(_node: LightNode, uuids: list[str]) -> None:
        assert not uuids


class Report(NamedTuple):
    nodes: int
    hops: int  # the longest way an event went, node to node
    seconds: float
    requests: int
    bytes: int
    limit: int  # log2(N) + 6

    def __str__(self) -> str:
        return (
            f"{self.nodes} nodes: all hold one write after {self.hops} rounds (goal {self.limit}), "
            f"{self.seconds:.2f} s, {self.requests} requests, {self.bytes / self.nodes:.0f} bytes a node"
        )


def report(nodes: int, seed: int = 0) -> Report:
    """One write in a settled fleet of this size, until everybody holds it."""
    logs = patch.object(round, "log", LightLog), patch.object(answers, "log", LightLog)
    with logs[0], logs[1], patch.object(round, "admit", LightAdmit):
        return _Spread(nodes, Random(seed)).run()


class _Spread:
    def __init__(self, size: int, rng: Random) -> None:
        self.rng = rng
        machines = [f"{number:08x}-0000-8000-8000-000000000000" for number in range(size)]
        self.nodes = [LightNode(machine, machines[:1]) for machine in machines]
        self.gossips = [Gossip(rng, 0.0) for _ in range(size)]
        for number, gossip in enumerate(self.gossips):
            others = [n for n in range(size) if n != number]
            for peer in others if size <= NODES_KNOWN else rng.sample(others, NODES_KNOWN):
                gossip.found(str(peer), 0.0)
            for name in gossip.due(0.0):
                gossip.heard(name, 0.0)
            gossip.pull_at = rng.uniform(0, 30)
        self.hops = [math.inf] * size
        self.requests = self.bytes = 0

    def run(self) -> Report:
        first = self.nodes[0]
        first.receive([_event(first.machine_id)])
        self.hops[0] = 0
        self.gossips[0].changed(0.0)
        now = 0.0
        while math.inf in self.hops and now < GIVE_UP_S:
            contacts = [(number, peer) for number, gossip in enumerate(self.gossips) for peer in gossip.due(now)]
            self.rng.shuffle(contacts)
            for number, peer in contacts:
                self._exchange(number, int(peer), now)
                self.gossips[number].heard(peer, now)
            soon = min(gossip.next_at(now) for gossip in self.gossips)
            wanted = any(peer.wanted for gossip in self.gossips for peer in gossip.peers.values())
            now = now + LATENCY_S if wanted else max(soon, now + LATENCY_S)
        assert math.inf not in self.hops, "the fleet does not come to agree"
        size = len(self.nodes)
        return Report(size, int(max(self.hops)), now, self.requests, self.bytes, round_limit(size))

    def _exchange(self, number: int, peer: int, now: float) -> None:
        node, other = self.nodes[number], self.nodes[peer]
        before = (len(node.events), len(other.events))
        steps = exchange_steps(node, Exchange())  # type: ignore[arg-type]
        given: Answer | None = None
        while True:
            try:
                ask: Ask = steps.send(given)  # type: ignore[arg-type]
            except StopIteration:
                break
            given = answers.answer(other, ask)  # type: ignore[arg-type]
            self.requests += 1
            self.bytes += len(ask.body) + len(given.body)
        for had, holder, source in ((before[0], number, peer), (before[1], peer, number)):
            if not had and self.nodes[holder].events:
                self.hops[holder] = self.hops[source] + 1
                self.gossips[holder].changed(now)


def round_limit(nodes: int) -> int:
    return int(math.log2(nodes)) + 6


def _event(machine: str) -> Event:
    stamp = hlc.encode(1_790_000_000_000, 0, machine)
    uuid, created_at = "00000000-0000-7000-8000-000000000000", "2026-09-21T00:00:00.000Z"
    return Event(uuid, stamp, machine, "x", '{"a":1}', created_at, "A" * 86)
