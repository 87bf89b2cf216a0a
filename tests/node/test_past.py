"""What was known at a moment comes back, and what came after does not."""

from __future__ import annotations

from collections.abc import Callable

from claire.node import overview, past, projects, tasks
from claire.node.node import Node
from tests.conftest import Clock


def test_the_past_is_the_log_up_to_then(make_node: Callable[..., Node], clock: Clock) -> None:
    node = make_node("alpha")
    projects.create(node, "api")
    task = tasks.add(node, "api", "fix it")
    then = clock.now_ms
    clock.now_ms += 60_000
    tasks.set_status(node, task["id"], "done")
    projects.create(node, "web")
    with past.as_of(node, then) as db:
        assert tasks.find(db, task["id"])["status"] == "todo"
        assert [row["name"] for row in projects.list_projects(db)] == ["api"]
        assert [host["name"] for host in overview.hosts(db, node.machine_id)] == ["alpha"]
    with past.as_of(node, clock.now_ms) as db, node.reading() as live:
        assert overview.overview(db, node.machine_id) == overview.overview(live, node.machine_id)


def test_before_anything_there_is_nothing(node: Node, clock: Clock) -> None:
    with past.as_of(node, clock.now_ms - 1) as db:
        assert projects.list_projects(db) == []
        assert [host["newest"] for host in overview.hosts(db, node.machine_id)] == [None]
