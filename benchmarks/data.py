"""Signed events as a working fleet writes them: projects, tasks, edits, observations, notes."""

from __future__ import annotations

import random
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec

from claire.config import Home
from claire.node import hlc, members, setup
from claire.node.event import Body, Event, signing_text, write_payload
from claire.node.node import SEAL_EVENTS, Node, time_ordered_uuid, utc_text
from claire.node.projects import ProjectCreated
from claire.node.seals import EventsSealed, hashed, seal_hash
from claire.node.sessions import Observation, SessionObserved
from claire.node.tasks import TaskChanged, TaskCreated, TaskFields
from claire.node.updates import UpdateAdded

START_MS = 1_764_000_000_000
STEP_MS = 40
TASKS_PER_PROJECT = 100
STATUSES = ("in_progress", "blocked", "done")


class Author:
    """Writes events in the name of a node, faster than the node would: no transaction for each."""

    def __init__(self, node: Node, start_ms: int = START_MS, seed: int = 1) -> None:
        self.node = node
        self.now_ms = start_ms
        self.rng = random.Random(seed)
        self.unsealed: list[Event] = []
        self.projects: list[str] = []
        self.tasks: list[tuple[str, str]] = []  # id, uuid of the event that set its status
        self.sessions = [self.new_id() for _ in range(50)]

    def new_id(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def event(self, body: Body) -> Event:
        self.now_ms += STEP_MS
        stamp = hlc.encode(self.now_ms, 0, self.node.machine_id)
        name = time_ordered_uuid(self.now_ms, self.rng.randbytes(10))
        created_at, payload = utc_text(self.now_ms), write_payload(body)
        signature = self.node.identity.sign_text(signing_text(name, stamp, body.wire_name, created_at, payload))
        event = Event(name, stamp, self.node.machine_id, body.wire_name, payload, created_at, signature)
        self.unsealed.append(event)
        return event

    def events(self, count: int) -> Iterator[Event]:
        for _ in range(count):
            yield self.next()

    def next(self) -> Event:
        """One event of the mix (of 100: 30 new tasks, 45 edits, 15 observations, 10 notes), or a seal where due."""
        if len(self.unsealed) == SEAL_EVENTS - 1:
            first, last = self.unsealed[0].hlc, self.unsealed[-1].hlc
            seal = self.event(EventsSealed(first, last, len(self.unsealed), seal_hash(hashed(self.unsealed))))
            self.unsealed.clear()
            return seal
        if len(self.tasks) >= len(self.projects) * TASKS_PER_PROJECT:
            self.projects.append(self.new_id())
            name = f"project-{self.node.machine_id[:4]}-{len(self.projects)}"
            return self.event(ProjectCreated(self.projects[-1], name, goal="Ship it without a pager going off"))
        kind = self.rng.random()
        if kind < 0.30 or not self.tasks:
            return self.new_task()
        if kind < 0.75:
            return self.edit()
        if kind < 0.90:
            return self.observation()
        task, _ = self.rng.choice(self.tasks)
        text = f"{self.rng.randint(1, 99)} of 99 tests pass, the rest waits for the fixture"
        return self.event(UpdateAdded("note", text, task))

    def new_task(self) -> Event:
        number = len(self.tasks)
        body = TaskCreated(
            self.new_id(),
            self.projects[-1],
            f"Make step {number} of the migration idempotent",
            priority=number % 5,
        )
        event = self.event(body)
        self.tasks.append((body.task_id, event.uuid))
        return event

    def edit(self) -> Event:
        at = self.rng.randrange(max(0, len(self.tasks) - 1_000), len(self.tasks))
        task, seen = self.tasks[at]
        body = TaskChanged(task, TaskFields(status=self.rng.choice(STATUSES)), {"status": [seen]})
        event = self.event(body)
        self.tasks[at] = (task, event.uuid)
        return event

    def observation(self) -> Event:
        session = self.rng.choice(self.sessions)
        seen = Observation(
            session_uuid=session,
            host="alpha",
            cwd="/srv/api",
            state=self.rng.choice(("working", "idle")),
            source="registry",
            confidence="high",
            last_seen_ms=self.now_ms,
        )
        return self.event(SessionObserved(seen))


def home(folder: Path) -> Home:
    return Home.from_env({"CLAIRE_HOME": str(folder)})


def new_node(folder: Path) -> Node:
    """A fresh node, alone in its fleet."""
    shutil.rmtree(folder, ignore_errors=True)
    setup.init(home(folder), folder.name).close()
    return Node(home(folder))


def receiver(folder: Path, author: Node) -> Node:
    """A fresh node that takes in what `author` writes."""
    node = new_node(folder)
    with node.writing() as tx:
        members.admit(tx, author.identity.public_key.hex(), "author")
    return node


def row(event: Event) -> tuple[str, ...]:
    return tuple(msgspec.structs.astuple(event))
