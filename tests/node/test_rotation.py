"""A node takes a new key: what it wrote stays, the old key adds nothing, and no crash leaves it without one."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from claire.config import Home
from claire.node import identity, log, members, projects, rotation
from claire.node.errors import Refused
from claire.node.node import Node, time_ordered_uuid
from tests.conftest import Clock, befriend
from tests.node.events import signed
from tests.node.test_admit import etag, everything


@pytest.fixture
def pair(make_node: Callable[..., Node]) -> tuple[Node, Node]:
    one, other = make_node("one"), make_node("other")
    befriend(one, other)
    projects.create(one, "before")
    other.receive(everything(one))
    one.receive(everything(other))
    return one, other


def test_what_it_wrote_stays_and_what_it_writes_is_taken(pair: tuple[Node, Node]) -> None:
    one, other = pair
    old = one.machine_id
    row = rotation.rotate(one)
    assert one.machine_id == row["id"] != old and row["name"] == "one"
    projects.create(one, "after")
    assert other.receive(everything(one)).refused == []
    assert etag(one) == etag(other)
    for node in pair:
        with node.reading() as db:
            assert {p["name"] for p in projects.list_projects(db)} == {"before", "after"}
            assert members.find(db, "one")["id"] == one.machine_id
            assert members.find(db, old)["state"] == "revoked"
            assert members.find(db, old)["name"] == f"one~{old[:4]}"


def test_a_copy_takes_a_new_key_and_the_host_it_was_copied_from_goes_on(
    pair: tuple[Node, Node], tmp_path: Path
) -> None:
    one, other = pair
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    with Node(Home.from_env({"CLAIRE_HOME": str(tmp_path / "copy")}), now_ms=one.now_ms) as copy:
        row = rotation.rotate(copy, is_copy=True)
        assert copy.machine_id == row["id"] != one.machine_id
        for node in (one, copy, other):
            projects.create(node, f"after-{node.machine_id}")
        for node in (one, other, copy):
            for source in (copy, one, other):
                assert node.receive(everything(source)).refused == []
        assert etag(one) == etag(other) == etag(copy)
        with one.reading() as db:
            found = {member["id"]: (member["name"], member["state"]) for member in members.list_members(db)}
        assert found[copy.machine_id] == (f"one~{copy.machine_id[:4]}", "member")
        assert found[one.machine_id] == ("one", "member")


def test_it_opens_again_under_the_new_key(node: Node) -> None:
    rotation.rotate(node)
    projects.create(node, "api")
    with Node(node.home) as again:
        assert again.machine_id == node.machine_id == again.identity.machine_id
        projects.create(again, "web")
    assert sorted(os.listdir(os.path.dirname(node.home.key_file))) == ["node.key"]
    assert os.stat(node.home.key_file).st_mode & 0o777 == 0o600


def test_the_old_key_adds_nothing_any_more(pair: tuple[Node, Node], clock: Clock) -> None:
    one, other = pair
    stolen = Path(one.home.key_file).read_text()
    rotation.rotate(one)
    other.receive(everything(one))
    with one.reading() as db:
        (old,) = {m["id"] for m in members.list_members(db) if m["state"] == "revoked"}
    thief = identity.Identity(bytes.fromhex(stolen.strip()))
    clock.now_ms += 1000
    with other.reading() as db:
        before = log.etag(db)
    body = projects.ProjectCreated("00000000-0000-4000-8000-000000000001", "evil")
    late = signed(thief, body, clock.now_ms, time_ordered_uuid(clock.now_ms, bytes(10)))
    assert late.machine_id == old
    receipt = other.receive([late])
    assert receipt.accepted == 0 and "revoked" in receipt.refused[0].why
    assert etag(other) == before


def test_who_joins_later_through_it_gets_its_whole_past(
    pair: tuple[Node, Node], make_node: Callable[..., Node]
) -> None:
    one, other = pair
    rotation.rotate(one)
    late = make_node("late")
    befriend(one, late)
    assert late.receive(everything(one)).refused == []
    one.receive(everything(late))
    assert etag(late) == etag(one)
    with late.reading() as db:
        assert {p["name"] for p in projects.list_projects(db)} == {"before"}
        assert other.machine_id in members.keys(db)


def test_twice_in_a_row(pair: tuple[Node, Node]) -> None:
    one, other = pair
    rotation.rotate(one)
    rotation.rotate(one)
    assert other.receive(everything(one)).refused == []
    assert etag(one) == etag(other)
    with other.reading() as db:
        assert sorted(m["state"] for m in members.list_members(db)) == ["member", "member", "revoked", "revoked"]


def test_a_crash_after_the_commit_is_mended(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(source: str, target: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rotation.os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        rotation.rotate(node)
    monkeypatch.undo()
    assert os.path.exists(node.home.next_key_file)
    with Node(node.home) as again:
        projects.create(again, "api")
    assert not os.path.exists(node.home.next_key_file)
    with Node(node.home) as again:
        projects.create(again, "web")


def test_a_failure_before_the_commit_changes_nothing(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    old = node.machine_id

    def fail(*_: object) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr(rotation, "NodeJoined", fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        rotation.rotate(node)
    monkeypatch.undo()
    assert node.machine_id == old
    projects.create(node, "api")
    rotation.rotate(node)
    projects.create(node, "web")


def test_another_process_that_was_open_meanwhile_does_not_write_as_the_old_one(node: Node) -> None:
    with Node(node.home) as open_before:
        assert open_before.identity
        rotation.rotate(node)
        with pytest.raises(Refused, match="new key"):
            projects.create(open_before, "api")
