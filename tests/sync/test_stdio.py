"""Sync without a port: two nodes over pipes, paired over them, and what is said when that cannot be."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from claire.node import log, members, projects
from claire.node.errors import ClaireError, Refused, UsageError
from claire.node.node import Node
from claire.sync import stdio
from claire.sync.round import Exchange
from claire.sync.ssh import pipes

Make = Callable[..., Node]


@pytest.fixture(autouse=True)
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An `ssh` that greets as shells do, and goes to another home instead of another host."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ssh").write_text(
        f'#!/bin/sh\nwhile [ $# -gt 2 ]; do shift; done\necho "Welcome to $1"\n'
        f'CLAIRE_HOME="{tmp_path}/$1" PYTHONPATH="{os.getcwd()}" exec sh -c "$2"\n'
    )
    (folder / "claire").write_text(f'#!/bin/sh\nexec {sys.executable} -m claire "$@"\n')
    for name in ("ssh", "claire"):
        (folder / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))


def exchange(node: Node, host: str, *, admit: bool = False) -> Exchange:
    tally = Exchange()
    with pipes(host) as (coming, going):
        stdio.exchange(node, "a", coming, going, tally, admit=admit)
    return tally


def etag(node: Node) -> str:
    with node.reading() as db:
        return log.etag(db)


def test_pair_over_ssh_then_exchange_both_ways(make_node: Make) -> None:
    a, b = make_node("a"), make_node("b")
    projects.create(a, "api")
    projects.create(b, "web")
    with pytest.raises(Refused, match="no members of one fleet"):
        exchange(a, "b")
    paired = exchange(a, "b", admit=True)
    assert paired.in_sync and paired.sent >= 3 and paired.received >= 3 and etag(a) == etag(b)
    for n in range(30):
        projects.create(b, f"b{n}")
    assert exchange(a, "b").received == 30 and etag(a) == etag(b)


def test_a_node_that_was_cut_off_stays_so(make_node: Make) -> None:
    a, b = make_node("a"), make_node("b")
    exchange(a, "b", admit=True)
    members.revoke(b, a.machine_id)
    with pytest.raises(Refused, match="cut off"):
        exchange(a, "b", admit=True)


def test_nobody_there_and_an_odd_host(make_node: Make) -> None:
    a = make_node("a")
    with pytest.raises(ClaireError, match="no Claire answers"):
        exchange(a, "nowhere")
    with pytest.raises(UsageError):
        exchange(a, "-oProxyCommand=id")


def test_a_connection_cut_anywhere_loses_nothing(make_node: Make, tmp_path: Path) -> None:
    a, b = make_node("a"), make_node("b")
    exchange(a, "b", admit=True)
    for n in range(20):
        projects.create(b, f"b{n}")
    for reads in range(1, 4):
        with pytest.raises(ClaireError, match="cut"), cut_after(reads) as (coming, going):
            stdio.exchange(a, "a", coming, going, Exchange(), admit=False)
    assert exchange(a, "b").in_sync and etag(a) == etag(b)


@contextmanager
def cut_after(reads: int) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Pipes of which the incoming one ends after so many lines of ours."""
    with pipes("b") as (coming, going):
        yield Cut(coming, reads), going  # type: ignore[misc]


class Cut:
    def __init__(self, file: IO[bytes], reads: int) -> None:
        self.file, self.left = file, reads + 1  # and the greeting of the shell

    def readline(self, size: int) -> bytes:
        self.left -= 1
        return self.file.readline(size) if self.left >= 0 else b""

    def read(self, size: int) -> bytes:
        return self.file.read(size)
