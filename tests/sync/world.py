"""A simulated network of real nodes: one clock, one queue of what happens next, and every misfortune there is."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from claire.node import log, members, projects, seals, tasks
from claire.node.errors import ClaireError, NotFound, Refused
from claire.node.event import Body, Event
from claire.node.node import Node
from claire.sync.answers import answer
from claire.sync.gossip import Gossip
from claire.sync.messages import Answer, Ask
from claire.sync.round import Exchange, Steps, news_steps
from tests.sync.checks import Lost
from tests.sync.fleet import SKEWS_MS, START_MS, Fleet, befriend

LATENCY_S = (0.001, 0.2)
SLOW_LATENCY_S = (2.0, 12.0)
TIMEOUT_S = 30.0
FATES = ("drop request", "drop answer", "cut answer", "corrupt", "twice", "crash")


class Later(Body):
    """An event type of a version to come: nobody here can read it."""

    wire_name = "later_invented"
    text: str


@dataclass
class SimNode:
    """A host: its home, its clock, and the daemon that runs there unless it is down."""

    name: str
    home: Path
    skew_ms: int
    node: Node | None = None
    gossip: Gossip | None = None
    boot: int = 0  # what belongs to an earlier run of the daemon is dead
    agreed: dict[tuple[int, str], dict[str, str]] = field(default_factory=dict)  # (boot, peer): as the runner keeps it
    wall_max_ms: int = START_MS  # its home was made by a clock that was right
    slow: bool = False
    backup: Path | None = None
    held: tuple[tuple[int, int], frozenset[str]] = ((0, 0), frozenset())  # as of (boot, rows written): `World.uuids`


@dataclass
class Truth:
    """What an all-knowing observer has seen."""

    stamps: dict[str, list[str]] = field(default_factory=dict)  # each machine's events, as written
    replaced: dict[str, str] = field(default_factory=dict)  # a title its next author saw -> the event that replaced it
    forged: set[str] = field(default_factory=set)  # events that their author signed wrongly
    holes_may_be: bool = False  # a backup was restored or a home was cloned: `newest` may hide a hole


class World:
    def __init__(self, rng: Random, fleet: Fleet, trace: Callable[[str], None] | None = None) -> None:
        self.rng, self.fleet, self.trace = rng, fleet, trace
        self.now = 0.0
        self.truth = Truth()
        self.queue: list[tuple[float, int, Callable[[], None]]] = []
        self.order = 0
        self.faults = True
        self.fault_rate = rng.choice((0.0, 0.02, 0.1, 0.3))
        self.blocked: set[tuple[str, str]] = set()  # one way: requests from the first to the second fail
        self.requests = self.bytes = 0
        self.revoked: set[str] = set()  # names of the nodes of one machine that was cut off
        self.seen = ""  # the title that the operation under way replaces
        self.changes, self.looked_at, self.agreed = 0, -1, False
        self.nodes: dict[str, SimNode] = {}
        for home in fleet.homes[:-1]:
            self._add(home.name, home)
        self.links = set(self._topology())
        self.newcomer: Path | None = fleet.homes[-1]
        for node in self.nodes.values():
            self.boot(node)

    # --- time ---

    def at(self, when: float, action: Callable[[], None]) -> None:
        self.order += 1
        heapq.heappush(self.queue, (when, self.order, action))

    def run(
        self,
        until: float,
        check: Callable[["World", SimNode], None],
        done: Callable[[], bool] = lambda: False,
    ) -> None:
        self.check = check
        while self.queue and self.queue[0][0] <= until and not done():
            self.now, _, action = heapq.heappop(self.queue)
            action()
        self.now = until if not done() else self.now

    def say(self, text: str) -> None:
        if self.trace:
            self.trace(f"{self.now:9.3f} {text}")

    def wall_ms(self, node: SimNode) -> int:
        now_ms = START_MS + int(self.now * 1000) + node.skew_ms
        node.wall_max_ms = max(node.wall_max_ms, now_ms)
        return now_ms

    # --- hosts ---

    def _add(self, name: str, home: Path) -> SimNode:
        node = SimNode(name, home, self.rng.choice(SKEWS_MS))
        self.nodes[name] = node
        return node

    def boot(self, node: SimNode) -> None:
        node.boot += 1
        self.changes += 1
        node.node = self.fleet.open(node.home, lambda: self.wall_ms(node))
        node.gossip = Gossip(self.rng, self.now)
        for name in self.neighbours(node.name):
            node.gossip.found(name, self.now)
        self.wake(node)

    def crash(self, node: SimNode) -> None:
        if node.node is not None:
            self.say(f"{node.name} goes down")
            self.fleet.close(node.node)
            node.node = node.gossip = None

    def up(self) -> list[SimNode]:
        return [node for node in self.nodes.values() if node.node is not None]

    def neighbours(self, name: str) -> list[str]:
        return sorted({b if a == name else a for a, b in self.links if name in (a, b)})

    def _topology(self) -> list[tuple[str, str]]:
        names = list(self.nodes)
        shape = self.rng.choice(("line", "star", "ring", "mesh"))
        self.say(f"{shape} of {len(names)}")
        if shape == "star":
            return [(names[0], name) for name in names[1:]]
        if shape == "mesh":
            return [(a, b) for at, a in enumerate(names) for b in names[:at]]
        ends = [(names[-1], names[0])] if shape == "ring" and len(names) > 2 else []
        return [*pairwise(names), *ends]

    # --- exchanges ---

    def wake(self, node: SimNode) -> None:
        """Let gossip start what is due, and come back when it may have more."""
        if node.gossip is None:
            return
        self._start_due(node)
        boot = node.boot
        when = max(node.gossip.next_at(self.now), self.now + 0.01)
        self.at(when, lambda: self.wake(node) if node.boot == boot else None)

    def changed(self, node: SimNode) -> None:
        assert node.gossip is not None
        self.changes += 1
        self.check(self, node)
        node.gossip.changed(self.now)
        self._soon(node)

    def _soon(self, node: SimNode) -> None:
        boot = node.boot
        self.at(self.now, lambda: self._start_due(node) if node.boot == boot and node.gossip else None)

    def _start_due(self, node: SimNode) -> None:
        assert node.gossip is not None and node.node is not None
        for peer in node.gossip.due(self.now):
            tally, agreed = Exchange(), node.agreed.pop((node.boot, peer), {})
            self._step(node, node.boot, peer, news_steps(node.node, tally, agreed), tally, None)

    def _step(self, node: SimNode, boot: int, peer: str, steps: Steps, tally: Exchange, given: Answer | None) -> None:
        """The next step of a round, on the asking side."""
        if node.boot != boot or node.node is None:
            steps.close()
            return
        received, before = tally.received, self.uuids(node)
        assert node.gossip is not None
        try:
            ask = steps.send(given)  # type: ignore[arg-type]  # the first is None
        except StopIteration:
            node.gossip.heard(peer, self.now)
            if tally.in_sync:
                node.agreed[boot, peer] = tally.agreed
            self._soon(node)
        except ClaireError as error:
            self.say(f"{node.name} -> {peer}: {error.message}")
            node.gossip.failed(peer, self.now)
        else:
            self._send(node, boot, peer, steps, tally, ask)
        if tally.received != received:
            self.say(f"{node.name} <- {peer}: {tally.received - received} events")
        if self.uuids(node) != before:
            self.changed(node)

    def _send(self, node: SimNode, boot: int, peer: str, steps: Steps, tally: Exchange, ask: Ask) -> None:
        if ask.meanwhile is not None:
            ask.meanwhile()
        fate = self.rng.choice(FATES) if self.faults and self.rng.random() < self.fault_rate else ""
        self.requests += 1
        self.bytes += len(ask.body) + len(ask.etag) + sum(len(a) + len(b) + 2 for a, b in ask.query)
        held = self.uuids(node) if ask.etag else frozenset()

        def arrive() -> None:
            other = self.nodes[peer]
            cut_off = self._cut_off(node, other)
            if (node.name, peer) in self.blocked or other.node is None or fate == "drop request" or cut_off:
                self.at(self.now + (0.0 if other.node is None else TIMEOUT_S), fail)
                return
            given = self._answer(other, ask)
            if given.status == 304 and held != self.uuids(other):
                raise Lost(f"{peer} says 304 to {node.name}, and their sets differ")
            if other.gossip is not None:
                other.gossip.contacted_us(node.name, self.now)
            if fate == "twice":
                self.at(self.now + self._latency(node, other), lambda: self._repeat(other, other.boot, ask))
            if fate == "crash":
                self.crash(other)
                self.at(self.now + self.rng.uniform(0, 60), lambda: self.boot(other) if other.node is None else None)
            if fate in ("drop answer", "crash"):
                self.at(self.now + TIMEOUT_S, fail)
                return
            harmed = self._harm(given, fate)
            self.bytes += len(given.body)
            self.at(
                self.now + self._latency(node, other),
                lambda: self._step(node, boot, peer, steps, tally, harmed),
            )

        def fail() -> None:
            steps.close()
            if node.boot == boot and node.gossip is not None:
                node.gossip.failed(peer, self.now)

        self.at(self.now + self._latency(node, self.nodes[peer]), arrive)

    def _answer(self, node: SimNode, ask: Ask) -> Answer:
        assert node.node is not None
        before = self.uuids(node)
        given = answer(node.node, ask)
        if self.uuids(node) != before:
            self.changed(node)
        return given

    def _repeat(self, node: SimNode, boot: int, ask: Ask) -> None:
        if node.boot == boot and node.node is not None:
            before = self.count(node)
            self._answer(node, ask)
            assert self.count(node) == before or ask.method == "POST"

    def _harm(self, given: Answer, fate: str) -> Answer:
        if fate == "cut answer" and given.body:
            return Answer(given.status, given.body[: self.rng.randrange(len(given.body))])
        if fate == "corrupt" and b'"payload":"{' in given.body:
            at = given.body.rindex(b'"payload":"{') if self.rng.random() < 0.3 else given.body.index(b'"payload":"{')
            harmed = given.body[: at + 12] + b" " + given.body[at + 12 :]  # still JSON, no longer what was signed
            return Answer(given.status, harmed)
        return given

    def _latency(self, one: SimNode, other: SimNode) -> float:
        return self.rng.uniform(*(SLOW_LATENCY_S if one.slow or other.slow else LATENCY_S))

    # --- what people do ---

    def operate(self) -> None:
        """One command, somewhere."""
        if not self.up():
            return
        node = self.rng.choice(self.up())
        assert node.node is not None
        own, self.seen = self.newest_own(node), ""
        try:
            self.say(f"{node.name} {self._operation(node.node, self.rng.random())}")
        except (Refused, NotFound) as error:
            self.say(f"{node.name} is told: {error.message}")
        written = self.written(node, own)
        self.truth.stamps.setdefault(node.node.machine_id, []).extend(event.hlc for event in written)
        if self.seen and written:
            self.truth.replaced[self.seen] = written[-1].uuid
        self.changed(node)

    def _operation(self, node: Node, dice: float) -> str:
        fresh = f"t{self.rng.getrandbits(48):012x}"
        with node.reading() as db:
            known = [row["id"] for row in projects.list_projects(db)]
            mine = [(row["id"], row["title"]) for row in tasks.list_tasks(db)]
        if not known or dice < 0.15:
            projects.create(node, self.rng.choice(("api", "web", fresh)))
            return "creates a project"
        if not mine or dice < 0.35:
            tasks.add(node, self.rng.choice(known), fresh)
            return f"adds {fresh}"
        task, title = self.rng.choice(mine)
        if dice < 0.75:
            tasks.edit(node, task, title=fresh)
            self.seen = title
            return f"renames {title} to {fresh}"
        if dice < 0.9:
            tasks.set_status(node, task, self.rng.choice(tasks.STATUSES))
            return "sets a status"
        if dice < 0.95:
            with node.writing() as tx:
                tx.record(Later(fresh))
            return "writes what nobody can read yet"
        tasks.remove(node, task)
        return "removes a task"

    # --- what befalls them ---

    def clone(self) -> None:
        if self.up():
            node = self.rng.choice(self.up())
            self.say(f"{node.name}: {self._clone(node)}")

    def misfortune(self) -> None:
        if not self.up():
            return
        node = self.rng.choice(self.up())
        happens: Callable[[SimNode], str] = self.rng.choice(
            (
                self._restart, self._restart, self._partition, self._partition, self._one_way, self._clock,
                self._slow, self._backup, self._restore, self._clone, self._join, self._revoke, self._seal_badly,
            )
        )  # fmt: skip
        self.say(f"{node.name}: {happens(node)}")

    def _restart(self, node: SimNode) -> str:
        self.crash(node)
        self.at(self.now + self.rng.uniform(0, 200), lambda: self.boot(node) if node.node is None else None)
        return "restart"

    def _partition(self, node: SimNode) -> str:
        cut = {link for link in self.links if node.name in link and self.rng.random() < 0.8}
        both = cut | {(b, a) for a, b in cut}
        return self._block(both, "partition")

    def _one_way(self, node: SimNode) -> str:
        return self._block({(node.name, peer) for peer in self.neighbours(node.name)}, "cannot reach out")

    def _block(self, links: set[tuple[str, str]], what: str) -> str:
        self.blocked |= links
        self.at(self.now + self.rng.uniform(5, 300), lambda: self.blocked.difference_update(links))
        return what

    def _clock(self, node: SimNode) -> str:
        node.skew_ms = self.rng.choice(SKEWS_MS)
        return f"clock is off by {node.skew_ms} ms"

    def _slow(self, node: SimNode) -> str:
        node.slow = not node.slow
        return f"slow: {node.slow}"

    def _backup(self, node: SimNode) -> str:
        self.crash(node)
        if node.backup is None:
            node.backup = self.fleet.copy(node.home, f"{node.name}-backup")
        self.boot(node)
        return "backup"

    def _restore(self, node: SimNode) -> str:
        if node.backup is None:
            return self._backup(node)
        self.crash(node)
        self.fleet.replace(node.home, node.backup)
        self.truth.holes_may_be = True
        self.boot(node)
        return "restored from backup"

    def _clone(self, node: SimNode) -> str:
        name = f"{node.name}c"
        if name in self.nodes:
            return self._restart(node)
        self.crash(node)
        clone = self._add(name, self.fleet.copy(node.home, name))
        self.truth.holes_may_be = True
        if node.name in self.revoked:
            self.revoked.add(name)
        alone = len(self.nodes) <= 3 or self.rng.random() < 0.5  # else only others can bring them together
        self.links |= {(name, peer) for peer in self.neighbours(node.name)} | ({(name, node.name)} if alone else set())
        self.boot(node)
        self.boot(clone)
        self._introduce(name)
        return "is cloned, both run"

    def _join(self, node: SimNode) -> str:
        if self.newcomer is None or node.name in self.revoked:
            return self._restart(node)
        newcomer = self._add(self.newcomer.name, self.newcomer)
        self.newcomer = None
        self.links.add((newcomer.name, node.name))
        self.boot(newcomer)
        assert newcomer.node is not None and node.node is not None
        before = {side.name: self.newest_own(side) for side in (node, newcomer)}
        befriend(newcomer.node, node.node)
        for side in (node, newcomer):
            assert side.node is not None
            stamps = [event.hlc for event in self.written(side, before[side.name])]
            self.truth.stamps.setdefault(side.node.machine_id, []).extend(stamps)
            self.changed(side)
        self._introduce(newcomer.name)
        return f"admits {newcomer.name}"

    def _revoke(self, node: SimNode) -> str:
        """Cut another machine off, if the rest stays connected without it."""
        assert node.node is not None
        others = [other for other in self.up() if other.node and other.node.machine_id != node.node.machine_id]
        if len(others) < 2 or self.revoked:
            return self._restart(node)
        victim = self.rng.choice(others)
        assert victim.node is not None
        machine = victim.node.machine_id
        known = self._ask(node, members.keys)
        cut = {other.name for other in self.up() if other.node and other.node.machine_id == machine}
        strangers = {other.node.machine_id for other in self.up() if other.node} - known.keys()
        if strangers or len(self.up()) < len(self.nodes) or not self._connected(cut):
            return self._restart(node)  # whom only the revoked one admitted, the others will never know
        before = self.newest_own(node)
        members.revoke(node.node, machine)
        stamps = [event.hlc for event in self.written(node, before)]
        self.truth.stamps.setdefault(node.node.machine_id, []).extend(stamps)
        self.revoked = cut
        self.changed(node)
        return f"revokes {victim.name}"

    def _seal_badly(self, node: SimNode) -> str:
        """It signs an event wrongly, and seals it later: who sees the seal takes it, who does not refuses it."""
        assert node.node is not None
        texts = ("one", "wrong", "other")
        made = self._record(node, lambda tx: [tx.record(Later(text)).uuid for text in texts])
        node.node._writer.execute(
            "UPDATE events SET sig = (SELECT sig FROM events WHERE uuid = ?) WHERE uuid = ?", made[:2]
        )
        self.truth.forged.add(made[1])
        self.truth.holes_may_be = True
        boot = node.boot
        self.at(self.now + self.rng.uniform(0, 60), lambda: self._seal(node, made) if node.boot == boot else None)
        return "signs wrongly"

    def _seal(self, node: SimNode, uuids: list[str]) -> None:
        if node.node is not None:
            made = seals.hashed(self._ask(node, lambda db: log.get(db, uuids)))
            body = seals.EventsSealed(made[0][0].hlc, made[-1][0].hlc, len(made), seals.seal_hash(made))
            self._record(node, lambda tx: tx.record(body))

    def _record(self, node: SimNode, write: Callable[[Any], Any]) -> Any:
        assert node.node is not None
        before = self.newest_own(node)
        with node.node.writing() as tx:
            done = write(tx)
        stamps = [event.hlc for event in self.written(node, before)]
        self.truth.stamps.setdefault(node.node.machine_id, []).extend(stamps)
        self.changed(node)
        return done

    def _connected(self, without: set[str]) -> bool:
        """The others can all reach each other without these."""
        left = set(self.nodes) - without
        reached = {min(left)}
        while more := {peer for name in reached for peer in self.neighbours(name)} & left - reached:
            reached |= more
        return reached == left

    def _cut_off(self, node: SimNode, other: SimNode) -> bool:
        """What routes and peer decide: no exchange with whom either side has revoked."""
        if not self.revoked or node.node is None or other.node is None:
            return False
        ids = (node.node.machine_id, other.node.machine_id)
        return any(
            machine in self._ask(side, members.revoked)
            or machine in self._ask(side, partial(members.suspended, own=own))
            for side, own, machine in ((node, *ids), (other, *ids[::-1]))
        )

    def survivors(self) -> list[SimNode]:
        return [node for name, node in self.nodes.items() if name not in self.revoked]

    def _introduce(self, name: str) -> None:
        for peer in self.neighbours(name):
            if (gossip := self.nodes[peer].gossip) is not None:
                gossip.found(name, self.now)

    def heal(self) -> set[str]:
        """End every fault but the clocks; the events that must not be lost."""
        self.say("heals")
        self.faults, self.blocked = False, set()
        held: set[str] = set().union(*(self.uuids(node) for node in self.survivors() if node.node))
        for node in self.nodes.values():
            node.slow = False
            if node.node is None:
                self.boot(node)
        return held

    # --- what they hold ---

    def agrees(self) -> bool:
        """All nodes are up and hold the same; looked at anew only when one has changed."""
        if self.looked_at != self.changes:
            self.looked_at = self.changes
            there = [node for node in self.survivors() if node.node]
            etags = {self.etag(node) for node in there}
            self.agreed = len(there) == len(self.survivors()) and len(etags) == 1
        return self.agreed

    def etag(self, node: SimNode) -> str:
        return str(self._ask(node, lambda db: log.etag(db)))

    def count(self, node: SimNode) -> int:
        return int(self._ask(node, lambda db: db.execute("SELECT count(*) FROM events").fetchone()[0]))

    def uuids(self, node: SimNode) -> frozenset[str]:
        """Read anew only when the node has written since."""
        assert node.node is not None
        version = (node.boot, node.node._writer.total_changes)
        if node.held[0] != version:
            found = self._ask(node, lambda db: db.execute("SELECT uuid FROM events").fetchall())
            node.held = version, frozenset(uuid for (uuid,) in found)
        return node.held[1]

    def newest_own(self, node: SimNode) -> str:
        assert node.node is not None
        machine = node.node.machine_id
        return str(self._ask(node, lambda db: log.newest_own(db, machine)) or "")

    def written(self, node: SimNode, since: str) -> list[Event]:
        """Its own events above a stamp."""
        assert node.node is not None
        own = {node.node.machine_id: since}
        return list(self._ask(node, lambda db: log.after(db, own, 1_000)))

    @staticmethod
    def _ask(node: SimNode, question: Callable[[Any], Any]) -> Any:
        assert node.node is not None
        with node.node.reading() as db:
            return question(db)
