"""A fleet one could meet: five hosts, one of them asleep, a few projects, sessions that wait, work and idle."""

from collections.abc import Callable, Sequence
from uuid import UUID

from claire.node import (
    assignments,
    broadcasts,
    decisions,
    groups,
    log,
    projects,
    sessions,
    tasks,
    updates,
)
from claire.node.node import Node
from claire.node.rows import Row
from claire.node.sessions import Observation
from tests.conftest import Clock, befriend

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

PLAN = {
    ("api-gateway", "One front door for every service, with rate limits that hold", "ana"): [
        ("Move auth to the edge", "done", 1),
        ("Token bucket per key", "done", 1), ("Shadow traffic for a week", "done", 2),
        ("Rate limits survive a restart", "in_progress", 0), ("Explain 429 in the body", "in_progress", 2),
        ("Drop the v1 routes", "blocked", 2),
        ("Load test at 5k req/s", "todo", 1), ("Dashboards for on-call", "todo", 3),
    ],
    ("billing", "Invoices that add up, in every currency", "ben"): [
        ("Rounding in JPY and KWD", "done", 0),
        ("Credit notes", "in_progress", 1), ("Proration on plan change", "todo", 2),
        ("Export to the tax office", "blocked", 1),
    ],
    ("docs-site", "Every page answers one question", ""): [
        ("Search without a server", "done", 2),
        ("Diagrams in dark mode", "done", 3), ("A tutorial that is tested", "in_progress", 2),
    ],
    ("mobile", "The app opens in under a second", "chen"): [
        ("Profile cold start", "todo", 1), ("Lazy-load the map", "todo", 2), ("Bundle fonts", "todo", 4),
    ],
    ("search", "Find the right thing on the first try", "ana"): [
        ("Synonyms from click logs", "in_progress", 2),
        ("Reindex without downtime", "todo", 1), ("Typos in Vietnamese", "todo", 3),
    ],
}  # fmt: skip

# host, session name, folder, state, waiting for, minutes in that state, task held
SEATS = [
    ("apricot", "gateway-limits", "/home/ana/gateway",
     "permission", "Bash: cargo test", 14, "Rate limits survive a restart"),
    ("apricot", "gateway-429", "/home/ana/gateway", "working", "", 3, "Explain 429 in the body"),
    ("plum", "credit-notes", "/srv/billing", "question", "Which rounding rule?", 47, "Credit notes"),
    ("plum", "billing-scratch", "/srv/billing", "idle", "", 190, ""),
    ("quince", "tutorial", "/home/ana/docs", "working", "", 1, "A tutorial that is tested"),
    ("quince", "docs-review", "/home/ana/docs", "idle", "", 25, "A tutorial that is tested"),
    ("quince", "spike", "/tmp/spike", "rate-limited", "", 6, ""),
    ("medlar", "synonyms", "/data/search", "working", "", 300, "Synonyms from click logs"),
    ("medlar", "reindex", "/data/search", "idle", "", 420, ""),
]  # fmt: skip


def exchange(*nodes: Node) -> None:
    """Every node gets what the others have, without a network."""
    for _ in range(2):
        for one in nodes:
            for other in nodes:
                with other.reading() as db, one.reading() as own:
                    have = log.index(own)
                    after = {m: have[m].newest if m in have else "" for m in log.index(db)}
                    events = log.after(db, after, 10_000)
                one.receive(events)


def fleet(make_node: Callable[..., Node], clock: Clock) -> dict[str, Node]:
    """The nodes by name; `apricot` is the one whose pages are looked at, `medlar` went to sleep hours ago."""
    end_ms = clock.now_ms
    clock.now_ms -= 15 * DAY_MS
    nodes = {name: make_node(name) for name in ("apricot", "plum", "quince", "medlar", "fig")}
    befriend(*nodes.values())
    apricot, everyone = nodes["apricot"], list(nodes.values())
    made = {task["title"]: task for task in plan(apricot, clock, end_ms)}
    exchange(*everyone)
    clock.now_ms = end_ms - 5 * HOUR_MS
    seat([n for n in SEATS if n[0] == "medlar"], nodes, made, end_ms)
    exchange(*everyone)
    awake = [node for name, node in nodes.items() if name != "medlar"]
    clock.now_ms = end_ms - 3 * MINUTE_MS
    seat([n for n in SEATS if n[0] != "medlar"], nodes, made, end_ms)
    exchange(*awake)
    quarrel(apricot, nodes["plum"], made["Load test at 5k req/s"])
    talk(apricot, made)
    clock.now_ms = end_ms
    exchange(*awake)
    remember_peers(apricot, nodes, clock)
    return nodes


def plan(node: Node, clock: Clock, end_ms: int) -> list[Row]:
    """Projects and tasks as they grew over two weeks, day by day."""
    for name, goal, owner in PLAN:
        projects.create(node, name, goal, owner)
    made: list[Row] = []
    for number in range(max(map(len, PLAN.values()))):
        clock.now_ms = end_ms - (14 - number) * DAY_MS
        for (name, _, _), work in PLAN.items():
            if number < len(work):
                title, _, priority = work[number]
                made.append(tasks.add(node, name, title, priority=priority))
    wanted = {title: status for work in PLAN.values() for title, status, _ in work}
    for number, task in enumerate(made):
        clock.now_ms = max(clock.now_ms, end_ms - (6 * DAY_MS - number * 5 * HOUR_MS))
        if wanted[task["title"]] != "todo":
            tasks.set_status(node, task["id"], wanted[task["title"]])
    blocked, blocker = (
        next(t for t in made if t["title"] == title) for title in ("Drop the v1 routes", "Load test at 5k req/s")
    )
    tasks.link(node, blocked["id"], blocker["id"])
    projects.edit(node, "mobile", status="paused")
    return made


def seat(rows: Sequence[tuple[str, ...]], nodes: dict[str, Node], made: dict[str, Row], end_ms: int) -> None:
    for host, name, cwd, state, waiting, minutes, task in rows:
        node = nodes[str(host)]
        uuid = session_id(str(name))
        since_ms = end_ms - int(minutes) * MINUTE_MS
        seen = Observation(
            session_uuid=uuid, host=str(host), cwd=str(cwd), tmux_name=str(name), state=str(state), source="registry",
            confidence="high", waiting_for=str(waiting), since_ms=since_ms, last_seen_ms=node.now_ms(), pane="%3",
            version="2.1.330",
        )  # fmt: skip
        sessions.observe(node, [seen])
        if task:
            assignments.assign(node, made[str(task)]["id"], uuid)


def session_id(name: str) -> str:
    return str(UUID(bytes=name.encode().ljust(16, b".")[:16], version=4))


def quarrel(one: Node, other: Node, task: Row) -> None:
    """Two people change one task on two hosts that do not see each other."""
    tasks.edit(one, task["id"], title="Load test at 5k req/s, mixed keys", priority=0)
    tasks.edit(other, task["id"], title="Load test at 8k req/s", priority=3)


def talk(node: Node, made: dict[str, Row]) -> None:
    updates.note(
        node,
        made["Rate limits survive a restart"]["id"],
        "Counters go to SQLite every second; a crash loses at most one. Running the tests now.",
    )
    updates.note(
        node, made["Credit notes"]["id"], "Half of it works. A credit note over two tax rates needs a rounding rule."
    )
    updates.note(node, made["A tutorial that is tested"]["id"], "Chapters 1 to 3 run in CI.")
    decisions.decide(
        node, "api-gateway", "Limits are kept per node and not shared: 4 % error is cheaper than a round trip."
    )
    groups.define(node, "backend", "cwd:/srv")
    broadcasts.send(
        node, "api-gateway", "Main is frozen until 15:00. Finish what you have, then stop and note where you are."
    )


def remember_peers(node: Node, nodes: dict[str, Node], clock: Clock) -> None:
    """What the sync loop would have written down."""
    with node.reading() as db:
        etag = log.etag(db)
    said = {"plum": (4_000, etag, 0, 120, "closed", None), "quince": (11_000, "", 7, 48_000, "closed", None),
            "medlar": (5 * HOUR_MS, "", 0, None, "open", "connection timed out"),
            "fig": (31_000, etag, 0, -340, "closed", None)}  # fmt: skip
    with node.writing() as tx:
        for name, (ago_ms, seen, behind, skew_ms, breaker, error) in said.items():
            tx.db.execute(
                "INSERT INTO peers (machine_id, url, last_contact_ms, etag, behind, skew_ms, breaker, last_error)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    nodes[name].machine_id,
                    f"http://{name}:8766",
                    clock.now_ms - ago_ms,
                    seen,
                    behind,
                    skew_ms,
                    breaker,
                    error,
                ),
            )
