"""Progress, decisions, and the history of both."""

import pytest

from claire.node import assignments, decisions, history, projects, sessions, updates
from claire.node.errors import NotFound
from claire.node.node import Node
from claire.node.rows import Row
from tests.node.doing import SESSION, read, saw


def test_notes_decisions_and_history(node: Node, task: Row) -> None:
    sessions.observe(node, [saw()])
    assignments.assign(node, task["id"], SESSION)
    note = updates.note(node, task["id"], "half way")
    assert note["session_uuid"] == SESSION and note["assignment_id"]
    updates.add(node, SESSION, "triage", "asks about the schema")
    decisions.decide(node, "api", "use SQLite")
    decisions.decide(node, task["id"][:8], "one table")
    project = read(node, projects.find, "api")["id"]
    assert len(read(node, decisions.list_decisions, project_id=project)) == 2
    assert len(read(node, updates.list_updates, task_id=task["id"])) == 2
    about = read(node, history.list_events, about=task["id"])
    assert [row["event_type"] for row in about][-1] == "task_created"
    with pytest.raises(NotFound):
        decisions.decide(node, "nothing", "x")
