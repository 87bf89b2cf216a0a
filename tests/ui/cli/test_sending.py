"""What `claire send` says of sessions whose host says nothing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from claire.node import sessions
from claire.node.node import Node, wall_ms
from claire.ui import text
from claire.ui.cli import sending
from claire.ui.cli.context import Context, Result, View
from tests.conftest import befriend
from tests.node.test_admit import everything

SESSION = "9d0c41aa-0000-4000-8000-000000000000"


@pytest.fixture
def ctx(make_node: Callable[..., Node], monkeypatch: pytest.MonkeyPatch) -> Context:
    """A node that knows of a session on another host, which is asleep."""
    monkeypatch.setattr(sending, "HERE_S_MAX", 0.0)
    here, there = make_node("here", wall_ms), make_node("there", wall_ms)
    befriend(here, there)
    sessions.observe(there, [sessions.Observation(session_uuid=SESSION, host="there", tmux_name="api", state="idle")])
    here.receive(everything(there))
    wiring: Any = SimpleNamespace(deliver=lambda node: [], sync_now=lambda node, peer: [])
    ctx = Context({}, lambda: wiring, json=False)
    monkeypatch.setattr(Context, "node", here)
    return ctx


def told(done: Result) -> str:
    shown = done.show(View(100, False, False, 0)) if callable(done.show) else done.show
    return text.paint(shown, False)


def test_a_message_that_waits_is_no_failure(ctx: Context) -> None:
    done = sending.send(ctx, "api", ["hello"], False, None, wait=False)
    assert done.code == 0 and "… waits" in told(done)
    assert "claire node delivers it there" in "".join(done.notes)


def test_an_outcome_that_was_waited_for_and_never_came_is_one(ctx: Context) -> None:
    done = sending.send(ctx, "api", ["hello"], False, "1s", wait=True)
    assert done.code == sending.EXIT_PARTIAL and "? not heard" in told(done)
    assert "before it expired" in "".join(done.notes)
