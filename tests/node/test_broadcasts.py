"""A broadcast is a record, with targets and outcomes."""

from collections.abc import Callable

import pytest

from claire.node import assignments, broadcasts, decisions, projects, sessions, tasks
from claire.node.errors import Ambiguous, NotFound, UsageError
from claire.node.node import Node
from claire.node.rows import Row
from tests.conftest import Clock, befriend
from tests.node.doing import CLEARED, SESSION, read, saw
from tests.node.test_admit import everything


def test_a_broadcast_is_a_record(node: Node, task: Row, clock: Clock) -> None:
    sessions.observe(node, [saw(), saw(CLEARED)])
    assignments.assign(node, task["id"], SESSION)
    sent = broadcasts.send(node, "api", "please commit")
    assert [target["session_uuid"] for target in sent["targets"]] == [SESSION]
    (pending,) = read(node, broadcasts.undelivered, node.machine_id)
    assert pending["expires_ms"] == clock.now_ms + broadcasts.EXPIRY_MS
    with node.writing() as tx:
        tx.record(broadcasts.BroadcastDelivered(sent["id"], SESSION, "delivered"))
    assert read(node, broadcasts.undelivered, node.machine_id) == []
    assert read(node, broadcasts.find, sent["id"])["targets"][0]["outcome"] == "delivered"
    with pytest.raises(UsageError, match="command"):
        broadcasts.send(node, "api", "/clear")
    with pytest.raises(NotFound):
        broadcasts.send(node, "nobody", "x")


def test_k6_only_the_host_that_delivers_says_what_became_of_it(make_node: Callable[..., Node]) -> None:
    """Else a member could have a text neither typed nor missed."""
    here, member = make_node("here"), make_node("member")
    befriend(here, member)
    sessions.observe(here, [saw()])
    sent = broadcasts.send(here, SESSION, "please commit")
    with member.writing() as tx:
        tx.record(broadcasts.BroadcastDelivered(sent["id"], SESSION, "delivered"))
    here.receive(everything(member))
    assert read(here, broadcasts.find, sent["id"])["targets"][0]["outcome"] is None
    assert len(read(here, broadcasts.undelivered, here.machine_id)) == 1


def test_an_ambiguous_project_is_asked_about_and_never_taken_for_something_else(node: Node) -> None:
    sessions.observe(node, [saw("cafe0000-0000-4000-8000-000000000003")])
    with node.writing() as tx:
        for n in (1, 2):
            tx.record(projects.ProjectCreated(f"cafe0000-0000-4000-8000-00000000000{n}", f"p{n}"))
    for command in (broadcasts.send, decisions.decide):
        with pytest.raises(Ambiguous):
            command(node, "cafe", "please commit")


def test_a_task_whose_project_has_not_arrived_holds_nobody_up(node: Node, task: Row) -> None:
    sessions.observe(node, [saw(), saw(CLEARED)])
    assignments.assign(node, task["id"], SESSION)
    with node.writing() as tx:
        orphan = node.new_id()
        tx.record(tasks.TaskCreated(orphan, node.new_id(), "of a project that is still on its way"))
    assignments.assign(node, orphan, CLEARED)
    assert [target["session_uuid"] for target in broadcasts.send(node, "api", "please commit")["targets"]] == [SESSION]
