"""Larger fleets of real daemons: a line of five, a mesh of six, frozen, killed, out of disk; no leaks."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from tests.integration.nodes import ProcessNode, equal, may_mount, pair, until

Make = Callable[[str], ProcessNode]
FROZEN_S = 60.0


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[ProcessNode] = []

    def make_node(name: str) -> ProcessNode:
        made.append(ProcessNode(tmp_path, name))
        return made[-1]

    yield make_node
    for node in made:
        node.kill()


def logs(*nodes: ProcessNode) -> Callable[[], str]:
    return lambda: "\n".join(f"--- {node.name}\n{node.log.read_text()[-2000:]}" for node in nodes)


def chain(make: Make, names: str, *, line: bool) -> list[ProcessNode]:
    """Running nodes, each invited by the one before; in a line each talks to its neighbours only."""
    nodes = [make(name) for name in names]
    if line:
        for one, other in combinations(range(len(nodes)), 2):
            if other - one > 1:
                nodes[one].never_dial(nodes[other])
                nodes[other].never_dial(nodes[one])
    for node in nodes:
        node.start()
    for left, right in pairwise(nodes):
        pair(left, right)
    for node in nodes:
        node.sync_url()
    until(lambda: equal(*nodes), why=logs(*nodes))
    return nodes


def test_a_line_of_five_with_one_frozen_for_a_minute_and_one_killed(make: Make) -> None:
    nodes = chain(make, "abcde", line=True)
    first, _, middle, fourth, last = nodes
    assert middle.process is not None
    os.kill(middle.process.pid, signal.SIGSTOP)
    first.claire("project", "new", "left")
    last.claire("project", "new", "right")
    fourth.kill()
    fourth.start()
    until(lambda: fourth.projects() == {"right"}, why=logs(*nodes))
    with pytest.raises(AssertionError):
        until(lambda: equal(*nodes), FROZEN_S)
    os.kill(middle.process.pid, signal.SIGCONT)
    until(lambda: equal(*nodes), why=logs(*nodes))
    assert all(node.projects() == {"left", "right"} for node in nodes)


def test_a_mesh_of_six_stays_equal_while_all_write_and_some_are_killed(make: Make) -> None:
    nodes = chain(make, "abcdef", line=False)
    for number in range(4):
        for node in nodes:
            node.claire("project", "new", f"{node.name}{number}")
        killed = nodes[number]
        killed.kill()
        killed.start()
    until(lambda: equal(*nodes), why=logs(*nodes))
    wanted = {f"{node.name}{number}" for node in nodes for number in range(4)}
    assert all(node.projects() == wanted for node in nodes)
    for node in nodes:
        assert sockets(node) < 60
        assert node.stop() < 5


def sockets(node: ProcessNode) -> int:
    assert node.process is not None
    return len(os.listdir(f"/proc/{node.process.pid}/fd"))


@pytest.mark.skipif(not may_mount(), reason="mounting a small disk needs root")
def test_d3_a_full_disk_on_one_side_is_told_and_recovers(make: Make, tmp_path: Path) -> None:
    full = tmp_path / "b" / "data"
    full.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k,mode=0700", "tmpfs", str(full)], check=True)
    try:
        a, b = make("a"), make("b")
        for node in (a, b):
            node.start()
        pair(a, b)
        until(lambda: equal(a, b), why=logs(a, b))
        filler = full / "filler"
        with open(filler, "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"x" * 4096)
        a.claire("project", "new", "big", "--goal", "x" * 20_000)
        a.claire("project", "new", "bigger", "--goal", "x" * 20_000)
        until(lambda: "disk is full" in b.log.read_text() or "disk is full" in a.log.read_text(), why=logs(a, b))
        filler.unlink()
        until(lambda: equal(a, b), why=logs(a, b))
        assert b.projects() == {"big", "bigger"}
        a.kill(), b.kill()
    finally:
        subprocess.run(["umount", "-l", str(full)], check=True)
