"""`claire doctor` on a node in order, on one that runs, and where something is in the way."""

import os
import shutil
import stat
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from claire import checks, doctor
from claire.checks import Check
from claire.node import log, members
from claire.node.event import Event
from claire.node.node import Node
from claire.sync import health
from claire.sync.round import Exchange
from tests.conftest import Clock, befriend
from tests.integration.nodes import ProcessNode
from tests.node.test_admit import changed


def found(node: Node, *, fix: bool = False) -> dict[str, Check]:
    said = doctor.examine(node.home, {"CLAIRE_PORT": "0", "HOME": "/nowhere"}, fix=fix)
    assert all(check.fix for check in said if check.level != "ok")
    return {check.id: check for check in said}


def test_a_node_in_order_ends_with_0(tmp_path: Path) -> None:
    node = ProcessNode(tmp_path, "a", CLAIRE_PORT="0", HOME=str(tmp_path))
    rows = node.json("doctor")
    assert not [row for row in rows if row["level"] == "bad"]
    assert {"folders", "settings", "key", "disk", "database", "index", "peers", "alarms", "versions", "daemon", "tmux",
            "claude", "rclaude"} <= {row["id"] for row in rows}  # fmt: skip
    node.start()
    (daemon,) = [row for row in node.json("doctor") if row["id"] == "daemon"]
    assert daemon["level"] == "ok" and node.urls()["ui"] in daemon["said"]
    node.claire("restore", "nothing.db", code=5)
    assert node.stop() < 5
    assert node.claire("doctor", "--recover", code=5) == ""


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    one = ProcessNode(tmp_path, "a")
    one.start()
    port = one.urls()["ui"].rpartition(":")[2]
    other = ProcessNode(tmp_path, "b", CLAIRE_PORT=port)
    (said,) = [row for row in other.json("doctor", code=1) if row["id"] == "port"]
    assert port in said["said"] and "--port" in said["fix"]
    assert one.stop() < 5


def test_modes_are_put_right(node: Node) -> None:
    for path in (node.home.data, node.home.key_file, node.home.database):
        os.chmod(path, 0o755)
    shutil.rmtree(node.home.state)
    said = found(node)
    assert said["folders"].level == said["key"].level == "bad" and "--fix" in said["folders"].fix
    said = found(node, fix=True)
    assert said["folders"].level == said["key"].level == "ok"
    assert stat.S_IMODE(os.stat(node.home.state).st_mode) == 0o700


@pytest.mark.parametrize(("free", "level"), [(50 << 20, "bad"), (500 << 20, "note"), (50 << 30, "ok")])
def test_disk_space(free: int, level: str, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(free))
    assert checks.disk(node.home).level == level


def test_peers_clocks_and_who_cut_us_off(make_node: Callable[..., Node], clock: Clock) -> None:
    node, other, third = make_node("a"), make_node("b"), make_node("c")
    befriend(node, other, third)
    health.remember(node, other.machine_id, "http://b:1", Exchange(skew_ms=400_000, in_sync=True))
    said = {check.id: check for check in doctor.peers(node)}
    names = {row["id"]: row["name"] for row in listed(node)}
    b, c = names[other.machine_id], names[third.machine_id]
    assert said[f"peer {b}"].level == "ok"
    assert said[f"clock {b}"].level == "bad" and "400 s ahead" in said[f"clock {b}"].said
    assert said[f"peer {c}"].level == "note" and "never reached" in said[f"peer {c}"].said
    members.revoke(third, node.machine_id)
    with third.reading() as db:
        node.receive(list(log.in_stamp_order(db)))
    said = {check.id: check for check in doctor.peers(node)}
    assert said["peer c"].level == "bad" and "cut this node off" in said["peer c"].said


def listed(node: Node) -> list[dict[str, str]]:
    with node.reading() as db:
        return members.list_members(db)


def test_a_forger_is_named(make_node: Callable[..., Node]) -> None:
    node, other = make_node("a"), make_node("b")
    befriend(node, other)
    with other.writing() as tx:
        genuine: Event = tx.record(members.NodeRenamed(other.machine_id, "b2"))
    node.receive([changed(genuine, payload=genuine.payload.replace("b2", "b3"))])
    (said,) = doctor.alarms(node)
    assert said.level == "bad" and "does not verify" in said.said and "peer revoke" in said.fix
