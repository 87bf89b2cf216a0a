"""Fixtures every test may use: real nodes in temporary folders, and a clock one can turn."""

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from claire.config import Home
from claire.node import members, setup
from claire.node.node import Node
from tests.table import pytest_terminal_summary as pytest_terminal_summary  # prints the score of the table of faults

START_MS = 1_790_000_000_000  # 2026-09-21

# The same examples in every run, however long a busy machine takes; --hypothesis-profile=default looks for others.
settings.register_profile("gate", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gate")

# Whoever runs the tests may have a node, sit in tmux, or be Claude Code: that is not theirs to see.
OURS = ("HOME", "NAME", "HOST", "PORT", "SYNC_HOST", "SYNC_PORT", "LOG", "TRIAGE")
THEIRS = ("CLAUDE", "TMUX", "XDG_", "COLUMNS", "LINES", "NO_COLOR", "CLICOLOR", "LC_")
for found in [name for name in os.environ if name.startswith(THEIRS) or name in {f"CLAIRE_{end}" for end in OURS}]:
    del os.environ[found]

# What a shell runs in the background ignores these; what the tests start, and signal, must not inherit that.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)


class Clock:
    """A wall clock that a test turns: `clock.now_ms += 1000`. Each reading is the same until it is turned."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_node(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Node]]:
    """`make_node("alpha")` opens a real node in its own folder; all are closed at the end."""
    made: list[Node] = []
    numbers = itertools.count()

    def make(name: str = "", now_ms: Callable[[], int] = clock) -> Node:
        name = name or f"node{next(numbers)}"
        node = setup.init(Home.from_env({"CLAIRE_HOME": str(tmp_path / name)}), name, now_ms=now_ms)
        made.append(node)
        return node

    yield make
    for node in made:
        node.close()


@pytest.fixture
def node(make_node: Callable[..., Node]) -> Node:
    return make_node("alpha")


def befriend(*nodes: Node) -> None:
    """Make every node admit every other, without a network."""
    for one in nodes:
        for other in nodes:
            if one is not other:
                with one.writing() as tx:
                    members.admit(tx, other.identity.public_key.hex(), other.machine_id[:8])
