"""The commands and queries of the nouns, as the command line and the pages use them."""

from collections.abc import Callable
from typing import Any

import pytest

from claire.node import (
    assignments,
    broadcasts,
    decisions,
    groups,
    history,
    overview,
    projects,
    sessions,
    tasks,
    updates,
)
from claire.node.errors import Ambiguous, NotFound, Refused, UsageError
from claire.node.node import Node
from claire.node.rows import Row
from tests.conftest import Clock, befriend
from tests.node.test_admit import everything

SESSION = "5e551011-0000-4000-8000-000000000001"
CLEARED = "c1ea4000-0000-4000-8000-000000000002"


def saw(uuid: str = SESSION, **fields: object) -> sessions.Observation:
    return sessions.Observation(
        **{"session_uuid": uuid, "host": "alpha", "tmux_name": uuid[:4], "state": "idle", **fields}
    )


def read(node: Node, query: Callable[..., Any], *args: object, **kwargs: object) -> Any:
    with node.reading() as db:
        return query(db, *args, **kwargs)


def test_a_project_is_found_by_name_prefix_and_id(node: Node) -> None:
    project = projects.create(node, "api", goal="ship", owner="ann")
    for ref in ("api", project["id"], project["id"][:8], project["id"][:4].upper()):
        assert read(node, projects.find, ref) == project
    with pytest.raises(NotFound) as caught:
        read(node, projects.find, "nope")
    assert "claire project list" in caught.value.hint
    with pytest.raises(Refused):
        projects.create(node, "api")
    with pytest.raises(UsageError):
        projects.edit(node, "api", status="dead")


def test_an_ambiguous_prefix_lists_the_candidates(node: Node) -> None:
    ids = iter(["abcdef00-0000-4000-8000-000000000001", "abcdef00-0000-4000-8000-000000000002"])
    with node.writing() as tx:
        for id_ in ids:
            tx.record(tasks.TaskCreated(id_, "p", f"title {id_[-1]}"))
    with pytest.raises(Ambiguous) as caught:
        read(node, tasks.find, "abcd")
    assert len(caught.value.candidates) == 2 and "title 1" in caught.value.candidates[0]


def test_two_hosts_create_the_same_name_offline(make_node: Callable[..., Node], clock: Clock) -> None:
    a, b = make_node("a"), make_node("b")
    befriend(a, b)
    first = projects.create(a, "api")
    clock.now_ms += 5000
    second = projects.create(b, "api")
    for one, other in ((a, b), (b, a)):
        one.receive(everything(other))
    for node in (a, b):
        listed = read(node, projects.list_projects)
        assert {row["display"] for row in listed} == {"api", f"api~{second['id'][:4]}"}
        assert read(node, projects.find, "api")["id"] == first["id"]
    task = tasks.add(b, second["id"], "mine")
    projects.merge(b, f"api~{second['id'][:4]}", first["id"])
    a.receive(everything(b))
    assert [t["id"] for t in read(a, tasks.list_tasks, first["id"])] == [task["id"]]
    assert read(a, projects.find, second["id"])["id"] == first["id"]
    (only,) = read(a, projects.list_projects)
    assert only["tasks"] == {"todo": 1}


def test_projects_merged_into_each_other_still_have_one_end(make_node: Callable[..., Node]) -> None:
    a, b = make_node("a"), make_node("b")
    befriend(a, b)
    one, other = projects.create(a, "one"), projects.create(a, "other")
    b.receive(everything(a))
    projects.merge(a, "one", "other")
    projects.merge(b, "other", "one")
    a.receive(everything(b))
    b.receive(everything(a))
    for node in (a, b):
        with node.reading() as db:
            roots = {root for (root,) in db.execute("SELECT root_id FROM projects")}
        assert roots == {min(one["id"], other["id"])}


@pytest.fixture
def task(node: Node) -> Row:
    return tasks.add(node, projects.create(node, "api")["id"], "write it", priority=1)


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


def test_observe_records_only_what_changed(node: Node) -> None:
    assert sessions.observe(node, [saw(), saw(CLEARED)]) == 2
    assert sessions.observe(node, [saw(), saw(CLEARED)]) == 0
    assert sessions.observe(node, [saw(last_seen_ms=sessions.STALE_MS)]) == 0
    assert sessions.observe(node, [saw(last_seen_ms=sessions.STALE_MS + 1)]) == 1
    assert sessions.observe(node, [saw(state="permission")]) == 1
    assert read(node, sessions.find, "alpha:5e55")["state"] == "permission"
    sessions.observe(node, [saw(gone=True)])
    assert [s["id"] for s in read(node, sessions.list_sessions)] == [CLEARED]


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


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("cwd:/srv", True),
        ("host:alpha", True),
        ("session:5e", True),
        ("alph", True),
        ("cwd:alpha", False),
        ("x", False),
    ],
)
def test_a_group_matches_by_cwd_host_and_session(node: Node, pattern: str, expected: bool) -> None:
    sessions.observe(node, [saw(cwd="/srv/api")])
    groups.define(node, "web", pattern)
    assert bool(read(node, groups.members, "web")) is expected
    groups.remove(node, "web")
    with pytest.raises(NotFound):
        read(node, groups.find, "web")


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


def test_the_overview_leads_with_who_waits_longest(node: Node, task: Row) -> None:
    sessions.observe(node, [saw(state="permission", since_ms=5), saw(CLEARED, state="question", since_ms=2)])
    assignments.assign(node, task["id"], SESSION)
    seen = read(node, overview.overview, node.machine_id)
    assert [s["id"] for s in seen["needs_you"]] == [CLEARED, SESSION]
    assert seen["needs_you"][1]["task"]["title"] == "write it"
    assert [h["own"] for h in seen["hosts"]] == [True]
