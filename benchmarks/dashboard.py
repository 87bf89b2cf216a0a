"""What a look at the dashboard of a large fleet costs over HTTP, and what a poll that finds nothing new."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.data import START_MS, Author, new_node
from benchmarks.timing import Bench, Result, Runs, limit
from claire.listeners import listen, serve_until
from claire.node import log
from claire.node.assignments import AssignmentCreated
from claire.node.event import Body, Event
from claire.node.fold import Fold
from claire.node.node import Node
from claire.node.projects import ProjectCreated
from claire.node.sessions import Observation, SessionObserved
from claire.node.tasks import TaskCreated
from claire.node.updates import UpdateAdded
from claire.ui import login
from claire.ui.web import app

HOSTS, SESSIONS, PROJECTS, TASKS = 50, 500, 200, 20_000
STATES = ("working", "idle", "idle", "idle", "permission", "working", "idle", "question", "working", "unknown")
STATUSES = ("done", "done", "todo", "in_progress", "todo", "blocked", "todo", "todo")
PAGE_MS_MAX, NOTHING_NEW_MS_MAX = 100, 5
REPEATS = 20
BATCH_EVENTS = 50_000


def run(bench: Bench, folder: Path) -> Iterator[Result]:
    size = max(bench.sizes)
    with large_fleet(folder / "fleet", size) as node, served(node) as ask:
        project = one(node, "SELECT id FROM projects LIMIT 1")
        named = {
            "dashboard": "/", "projects": "/projects", "one project": f"/projects/{project}",
            "sessions": "/sessions", "log": "/log", "peers": "/peers",
        }  # fmt: skip
        for name, path in named.items():
            ask(path)
            with bench.profiled(f"page {name}"):
                pages = bench.time(lambda path=path: ask(path), REPEATS)  # type: ignore[misc]
            yield page(name, size, pages, PAGE_MS_MAX if name == "dashboard" else None)
        _, tag = ask("/")
        nothing = bench.time(lambda: ask("/", tag), REPEATS * 5)
        assert ask("/", tag)[0] == 304
        yield page("poll that finds nothing new", size, nothing, NOTHING_NEW_MS_MAX)


def page(name: str, size: int, runs: Runs, most: float | None) -> Result:
    what = f"{HOSTS} hosts, {SESSIONS} sessions, {PROJECTS} projects, {TASKS:,} tasks"
    note = f"{what}; p99 {runs.p99 * 1e3:.3g} ms"
    return limit(f"web: {name}", size, runs.median * 1e3, "ms", most, note)


@contextmanager
def large_fleet(folder: Path, size: int) -> Iterator[Node]:
    """A node whose log and projections are as large as asked; how they got there is measured elsewhere."""
    node = new_node(folder)
    author = Author(node, START_MS)
    machines = [author.new_id() for _ in range(HOSTS)]
    with node.writing() as tx:
        tx.db.executemany(
            "INSERT INTO members (id, name, public_key, addresses, version) VALUES (?, ?, '', '[]', '1')",
            [(machine, f"host{n:02d}") for n, machine in enumerate(machines)],
        )
        fold = Fold(tx.db)
        bodies = list(fleet(author, node.now_ms()))
        events: list[Event] = []
        for number in range(size):
            body = bodies[number] if number < len(bodies) else UpdateAdded("note", f"{number} pass", None)
            events.append(unsigned(author, machines[number % HOSTS], body))
            if number < len(bodies):
                fold.apply(events[-1], body)
            if len(events) == BATCH_EVENTS:
                log.append(tx.db, events)
                events.clear()
        log.append(tx.db, events)
        fold.flush()
    try:
        yield node
    finally:
        node.close()


def fleet(author: Author, now_ms: int) -> Iterator[Body]:
    projects = [author.new_id() for _ in range(PROJECTS)]
    tasks = [author.new_id() for _ in range(TASKS)]
    for n, project in enumerate(projects):
        yield ProjectCreated(project, f"project-{n:03d}", "Ship it without a pager going off", "ana")
    for n, task in enumerate(tasks):
        status = STATUSES[n % len(STATUSES)]
        yield TaskCreated(task, projects[n % PROJECTS], f"Make step {n} idempotent", status=status, priority=n % 5)
    for n, session in enumerate(author.new_id() for _ in range(SESSIONS)):
        yield SessionObserved(
            Observation(
                session_uuid=session, host=f"host{n % HOSTS:02d}", cwd=f"/srv/{n % 40}", tmux_name=f"session-{n:03d}",
                state=STATES[n % len(STATES)], source="registry", confidence="high", since_ms=now_ms - n * 1_000,
                last_seen_ms=now_ms,
            )
        )  # fmt: skip
        if n % 5:
            yield AssignmentCreated(author.new_id(), tasks[n * 37], session)
            yield UpdateAdded("note", "The first half passes, the rest waits for the fixture", tasks[n * 37])


def unsigned(author: Author, machine: str, body: Body) -> Event:
    """Reading never verifies: a signature here would only cost the set-up a minute."""
    from claire.node import hlc
    from claire.node.event import write_payload
    from claire.node.node import time_ordered_uuid, utc_text

    author.now_ms += 40
    stamp, uuid = hlc.encode(author.now_ms, 0, machine), time_ordered_uuid(author.now_ms, author.rng.randbytes(10))
    return Event(uuid, stamp, machine, body.wire_name, write_payload(body), utc_text(author.now_ms), "A" * 86)


def one(node: Node, sql: str) -> str:
    with node.reading() as db:
        return str(db.execute(sql).fetchone()[0])


@contextmanager
def served(node: Node) -> Iterator[Callable[..., tuple[int, str]]]:
    """`ask(path, tag)` over one kept connection, signed in, to the listener the daemon opens."""
    sock = listen("127.0.0.1", 0, "--port")
    port = sock.getsockname()[1]
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    serving = serve_until(app(node, port=port), [sock], stop)
    thread = threading.Thread(target=loop.run_until_complete, args=(serving,))
    thread.start()
    cookie = login.redeem(node, login.link(node, "").partition("#")[2])
    wire = http.client.HTTPConnection("127.0.0.1", port)

    def ask(path: str, tag: str = "") -> tuple[int, str]:
        headers = {"Cookie": f"{login.cookie_name(port)}={cookie}", "HX-Request": "true", "If-None-Match": tag}
        wire.request("GET", path, headers=headers)
        answer = wire.getresponse()
        answer.read()
        assert answer.status in (200, 304), (path, answer.status)
        return answer.status, answer.getheader("etag") or ""

    try:
        yield ask
    finally:
        wire.close()
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
