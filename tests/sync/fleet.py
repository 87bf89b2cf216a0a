"""The nodes of a simulated fleet: real homes in memory, copied from templates made once a process."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import NamedTuple

from claire.config import Home
from claire.node import log, members, setup
from claire.node.node import Node
from tests.sync.talk import converse

START_MS = 1_790_000_000_000
SIZES = (1, 2, 2, 3, 3, 3, 4, 4, 5, 6)  # one: it is cloned, and the two are alone
LARGE_SIZES = (8, 12, 20, 50)
LARGE_SHARE = 0.01
YEAR_MS = 365 * 24 * 3_600_000
SKEWS_MS = (0, 0, 0, 0, 200, -5_000, 50_000, -YEAR_MS, YEAR_MS)

_folder: Path | None = None
_made: dict[int, "Template"] = {}


class Template(NamedTuple):
    homes: list[Path]
    base: dict[str, int]  # how many events of each machine there are before a story begins


@contextmanager
def templates() -> Iterator[None]:
    """Keep template homes in memory while this runs."""
    global _folder
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="claire-fleet-", dir=memory) as folder:
        _folder = Path(folder)
        try:
            yield
        finally:
            _folder = None
            _made.clear()


def template(size: int) -> Template:
    """Homes of a fleet whose nodes all know each other, and one that nobody has admitted yet (the last)."""
    assert _folder is not None, "inside templates()"
    if size not in _made:
        entropy = Random(size).randbytes
        homes = [_folder / f"template-{size}-{number}" for number in range(size + 1)]
        nodes = [
            setup.init(home_at(path), f"n{number}", now_ms=lambda: START_MS, entropy=entropy)
            for number, path in enumerate(homes)
        ]
        for left, right in pairwise(nodes[:-1]):
            befriend(left, right)
            converse(left, right)
        for _ in range(2):
            for left, right in [*pairwise(nodes[:-1])][::-1]:
                converse(left, right)
        for node in nodes[1:-1]:
            converse(nodes[0], node)
        base: dict[str, int] = {}
        for node in (nodes[0], nodes[-1]):
            with node.reading() as db:
                base |= {machine: row.count for machine, row in log.index(db).items() if row.count}
        for node in nodes:
            node.close()
        _made[size] = Template(homes, base)
    return _made[size]


def home_at(path: Path) -> Home:
    return Home.from_env({"CLAIRE_HOME": str(path)})


def befriend(one: Node, other: Node) -> None:
    """What pairing does, without a network."""
    for left, right in ((one, other), (other, one)):
        with left.writing() as tx:
            members.admit(tx, right.identity.public_key.hex(), right.machine_id[:8])


class Fleet:
    """The homes of one seed's fleet; they are gone when it ends."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.size = rng.choice(LARGE_SIZES if rng.random() < LARGE_SHARE else SIZES)
        self.sources, self.base = template(self.size)
        self.homes: list[Path] = []
        self._open: list[Node] = []

    def __enter__(self) -> "Fleet":
        assert _folder is not None, "inside templates()"
        self.folder = _folder / "fleet"
        for number, source in enumerate(self.sources):
            self.homes.append(self.copy(source, f"n{number}"))
        return self

    def __exit__(self, *_: object) -> None:
        for node in self._open:
            node.close()
        shutil.rmtree(self.folder)

    def copy(self, source: Path, name: str) -> Path:
        """A copy of a home, as `cp -r` makes it."""
        return Path(shutil.copytree(source, self.folder / name))

    def replace(self, home: Path, backup: Path) -> None:
        """Put a backup where a home was."""
        shutil.rmtree(home)
        shutil.copytree(backup, home)

    def open(self, home: Path, now_ms: Callable[[], int]) -> Node:
        node = Node(home_at(home), now_ms=now_ms, entropy=self.rng.randbytes)
        self._open.append(node)
        return node

    def close(self, node: Node) -> None:
        self._open.remove(node)
        node.close()
