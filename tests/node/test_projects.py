"""Projects: names, merges, and what two hosts call alike."""

from collections.abc import Callable

import pytest

from claire.node import projects, tasks
from claire.node.errors import NotFound, Refused, UsageError
from claire.node.node import Node
from tests.conftest import Clock, befriend
from tests.node.doing import read
from tests.node.test_admit import everything


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
    tasks.add(a, "one", "t")
    b.receive(everything(a))
    projects.merge(a, "one", "other")
    projects.merge(b, "other", "one")
    a.receive(everything(b))
    b.receive(everything(a))
    for node in (a, b):
        with node.reading() as db:
            roots = {root for (root,) in db.execute("SELECT root_id FROM projects")}
        assert roots == {min(one["id"], other["id"])}
        end = read(node, projects.find, "one")
        assert end == read(node, projects.find, "other") == read(node, projects.find, one["id"])
        (shown,) = read(node, projects.list_projects)
        assert (shown["id"], shown["tasks"]) == (end["id"], {"todo": 1})


def test_a_merged_project_leads_on_by_name_and_goes_elsewhere_when_merged_again(node: Node) -> None:
    for name in ("old", "api", "web"):
        projects.create(node, name)
    projects.merge(node, "old", "api")
    assert read(node, projects.find, "old")["name"] == "api"
    projects.merge(node, "old", "web")
    assert read(node, projects.find, "old")["name"] == "web"
    assert {row["name"] for row in read(node, projects.list_projects)} == {"api", "web"}


def test_a_removed_project_stands_in_nobodys_way(node: Node) -> None:
    removed = projects.create(node, "api")
    projects.edit(node, "api", deleted=True)
    assert projects.edit(node, "api", deleted=False)["id"] == removed["id"]
    projects.edit(node, "api", deleted=True)
    second = projects.create(node, "api")
    with node.reading() as db:
        assert projects.find(db, "api", deleted=True)["id"] == second["id"]
        assert projects.find(db, removed["id"], deleted=True)["id"] == removed["id"]


def test_a_project_is_not_renamed_to_what_another_is_called(node: Node) -> None:
    projects.create(node, "api")
    projects.create(node, "web")
    with pytest.raises(Refused, match="already"):
        projects.edit(node, "web", name="api")
    assert projects.edit(node, "web", name="web", goal="ship")["goal"] == "ship"
