"""Tasks: their way, their links, deletion against edits."""

from collections.abc import Callable

import pytest

from claire.node import projects, tasks
from claire.node.errors import NotFound, UsageError
from claire.node.node import Node
from claire.node.rows import Row
from tests.conftest import befriend
from tests.node.doing import read
from tests.node.test_admit import everything


def test_a_task_goes_its_way(node: Node, task: Row) -> None:
    for status in ("in_progress", "blocked", "done", "todo"):
        assert tasks.set_status(node, task["id"], status)["status"] == status
    before = len(everything(node))
    tasks.set_status(node, task["id"], "todo")
    assert len(everything(node)) == before  # nothing changed, nothing recorded
    assert tasks.remove(node, task["id"])["deleted"]
    with pytest.raises(NotFound):
        read(node, tasks.find, task["id"])
    assert not tasks.restore(node, task["id"])["deleted"]
    with pytest.raises(UsageError, match="0 to 4"):
        tasks.edit(node, task["id"], priority=7)
    with pytest.raises(UsageError):
        tasks.add(node, "api", "  ")


def test_an_edit_does_not_revive_a_deleted_task(make_node: Callable[..., Node]) -> None:
    a, b = make_node("a"), make_node("b")
    befriend(a, b)
    task = tasks.add(a, projects.create(a, "api")["id"], "t")
    b.receive(everything(a))
    tasks.remove(a, task["id"])
    tasks.edit(b, task["id"], title="edited meanwhile")
    a.receive(everything(b))
    assert read(a, tasks.list_tasks) == []
    assert tasks.restore(a, task["id"])["title"] == "edited meanwhile"


def test_links(node: Node, task: Row) -> None:
    other, third = tasks.add(node, "api", "other"), tasks.add(node, "api", "third")
    assert tasks.link(node, task["id"], other["id"])["blocked_by"] == [other["id"]]
    tasks.link(node, other["id"], third["id"])
    with pytest.raises(UsageError, match="itself"):
        tasks.link(node, third["id"], task["id"])
    assert tasks.unlink(node, task["id"], other["id"])["blocked_by"] == []
