"""Real daemons, each its own process, database and key: what they promise each other under kill -9 and worse."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from claire.sync.gossip import PULL_INTERVAL_S, PULL_JITTER
from tests.integration.nodes import STOP_S, ProcessNode, equal, pair, until

Make = Callable[[str], ProcessNode]
SOON_S = PULL_INTERVAL_S * (1 - PULL_JITTER)  # so it was not the ordinary pull


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[ProcessNode] = []

    def make_node(name: str) -> ProcessNode:
        made.append(ProcessNode(tmp_path, name))
        return made[-1]

    yield make_node
    for node in made:
        node.kill()


def line(make: Make, *names: str) -> list[ProcessNode]:
    """Running nodes of which each was invited by the one before, and talks to its neighbours only."""
    nodes = [make(name) for name in names]
    for at, node in enumerate(nodes):
        for other in [*nodes[: max(0, at - 1)], *nodes[at + 2 :]]:
            node.never_dial(other)
    for node in nodes:
        node.start()
    for left, right in pairwise(nodes):
        pair(left, right)
    for node in nodes:
        node.sync_url()
    return nodes


def test_two_commands_pair_and_a_commit_arrives_at_once(make: Make) -> None:
    a, b, c = line(make, "a", "b", "c")
    until(lambda: equal(a, b, c))
    a.claire("project", "new", "api", "--goal", "Ship it")
    until(lambda: equal(a, b, c), SOON_S)
    assert a.projects() == b.projects() == c.projects() == {"api"}
    assert [row["state"] for row in b.json("sync")] == ["in sync", "in sync"]


def test_the_middle_of_a_line_is_killed_mid_exchange_again_and_again(make: Make) -> None:
    a, b, c = line(make, "a", "b", "c")
    until(lambda: equal(a, b, c))
    for number in range(20):
        write_some(a, f"a{number}")
        write_some(c, f"c{number}")
        if number % 3:  # else it is killed while it starts
            b.sync_url()
        b.kill()
        b.start()
    until(lambda: equal(a, b, c), why=lambda: b.log.read_text()[-3000:])
    wanted = {f"{name}{number}" for name in "ac" for number in range(20)}
    assert a.projects() == b.projects() == c.projects() == wanted


def write_some(node: ProcessNode, name: str) -> None:
    node.claire("project", "new", name)


def test_sigterm_ends_it_in_time_and_a_second_daemon_says_so(make: Make) -> None:
    a, b = line(make, "a", "b")
    done = subprocess.run([sys.executable, "-m", "claire", "node", "--port", "0"], env=a.env, capture_output=True)
    assert done.returncode == 5 and b"runs already" in done.stderr
    assert a.stop() < STOP_S
    a.start()
    until(lambda: equal(a, b))
    assert a.stop() < STOP_S and b.stop() < STOP_S


def test_alone_nothing_listens_for_peers(make: Make) -> None:
    a = make("a")
    a.start()
    assert a.urls()["sync"] == []
    a.claire("peer", "invite")
    assert a.urls()["sync"]


def test_a_restored_backup_heals_without_a_person(make: Make, tmp_path: Path) -> None:
    a, b = line(make, "a", "b")
    until(lambda: equal(a, b))
    write_some(a, "before")
    a.stop()
    shutil.copytree(tmp_path / "a", tmp_path / "backup")
    a.start()
    write_some(a, "after")
    until(lambda: "after" in b.projects())
    a.stop()
    shutil.rmtree(tmp_path / "a")
    shutil.copytree(tmp_path / "backup", tmp_path / "a")
    write_some(a, "restored")
    a.start()
    until(lambda: equal(a, b), why=a.log.read_text)
    assert a.projects() == b.projects() == {"before", "after", "restored"}


def test_a_copied_home_heals_without_a_person(make: Make, tmp_path: Path) -> None:
    a, b = line(make, "a", "b")
    until(lambda: equal(a, b))
    a.stop()
    shutil.copytree(tmp_path / "a", tmp_path / "clone")
    clone = make("clone")
    a.sync_port = 0
    a.start()
    clone.start()
    for number in range(5):
        write_some(a, f"a{number}")
        write_some(clone, f"clone{number}")
    until(lambda: equal(a, b, clone), why=b.log.read_text)
    assert len(b.projects()) == 10


def test_a_copied_home_heals_where_nobody_else_is_up(make: Make, tmp_path: Path) -> None:
    a, b = line(make, "a", "b")
    until(lambda: equal(a, b))
    a.stop()
    b.stop()
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    copy = make("copy")
    a.sync_port = 0
    a.start()
    Path(copy.home.peers_file).write_text(f'[[peer]]\nurl = "{a.sync_url()}"\n')
    copy.start()
    for number in range(3):
        write_some(a, f"a{number}")
        write_some(copy, f"c{number}")
    until(lambda: equal(a, copy), 30, lambda: copy.log.read_text())
    assert len(a.projects()) == 6
    for node in (a, copy):
        (said,) = [check for check in node.json("doctor") if check["id"] == "alarm clone"]
        assert "claire identity rotate --copy" in said["fix"]
    copy.stop()
    copy.claire("identity", "rotate", "--copy")
    copy.start()
    for node in (a, copy):
        write_some(node, f"{node.name} goes on")
    until(lambda: equal(a, copy), 30, lambda: copy.log.read_text() + a.log.read_text())
    assert len(a.projects()) == 8


def test_a_peer_that_was_frozen_catches_up(make: Make) -> None:
    a, b = line(make, "a", "b")
    until(lambda: equal(a, b))
    assert b.process is not None
    os.kill(b.process.pid, signal.SIGSTOP)
    write_some(a, "meanwhile")
    os.kill(b.process.pid, signal.SIGCONT)
    until(lambda: equal(a, b))


def test_a_removed_peer_is_left_alone_until_it_is_wanted_again(make: Make) -> None:
    a, b = make("a"), make("b")
    a.start()
    b.start()
    pair(a, b)
    until(lambda: equal(a, b))
    assert [row["name"] for row in a.json("sync")] == ["b"]
    a.claire("peer", "remove", "b")
    assert a.json("sync") == []
    assert [row["name"] for row in a.json("sync", "b")] == ["b"]  # who is named is asked
    a.claire("peer", "remove", "b", "--undo")
    assert [row["name"] for row in a.json("sync")] == ["b"]
    a.claire("peer", "remove", "a", code=5)
