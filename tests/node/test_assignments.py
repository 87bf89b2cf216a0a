"""Bindings, and how they follow a session."""

import pytest

from claire.node import assignments, sessions, tasks
from claire.node.errors import NotFound
from claire.node.node import Node
from claire.node.rows import Row
from tests.node.doing import CLEARED, SESSION, read, saw


def test_a_binding_follows_its_session(node: Node, task: Row) -> None:
    sessions.observe(node, [saw(), saw(CLEARED)])
    assignment = assignments.assign(node, task["id"], "5e55")
    assert assignments.assign(node, task["id"], SESSION) == assignment  # again: nothing
    assert read(node, tasks.find, task["id"])["status"] == "in_progress"
    sessions.succeed(node, SESSION, CLEARED, "/clear")
    assert not sessions.succeed(node, SESSION, CLEARED, "/clear")
    assert read(node, assignments.of_session, CLEARED)["id"] == assignment["id"]
    (shown,) = read(node, assignments.list_assignments)
    assert (shown["session_uuid"], shown["current_session"]) == (SESSION, CLEARED)
    assert [link["reason"] for link in read(node, sessions.links, SESSION)] == ["/clear"]
    assert assignments.unassign(node, task["id"])[0]["active"] is False
    with pytest.raises(NotFound):
        assignments.unassign(node, task["id"])


def test_the_newest_assignment_of_a_session_is_its_current_one(node: Node, task: Row) -> None:
    sessions.observe(node, [saw(), saw(CLEARED)])
    other = tasks.add(node, "api", "other")
    assignments.assign(node, task["id"], SESSION)
    assignments.assign(node, other["id"], SESSION)
    assert [a["task_id"] for a in read(node, assignments.list_assignments)] == [other["id"]]
    assignments.assign(node, other["id"], CLEARED)
    (double,) = read(node, assignments.duplicate_work)
    assert (double["id"], double["sessions"]) == (other["id"], 2)
