"""The loop of the daemon over a real tmux: what happens there is in the log soon, and silence costs nothing."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from claire.fleet import runner, spool
from claire.fleet.observer import Observer, Pass, spool_path
from claire.node import broadcasts, sessions
from claire.node.node import Node
from tests.fleet.kit import FakeHost, host

__all__ = ["host"]

WAIT_S = 180.0


@pytest.fixture
def node(make_node: Callable[..., Node]) -> Node:
    return make_node("alpha", lambda: time.time_ns() // 1_000_000)


@asynccontextmanager
async def fleet(node: Node, host: FakeHost, **settings: float) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(runner.run(node, host.env, stop, **settings))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, WAIT_S)


async def until(node: Node, states: list[str]) -> None:
    """Until the log says so."""
    began = time.monotonic()
    while True:
        with node.reading() as db:
            now = [row["state"] for row in sessions.list_sessions(db)]
        if now == states:
            return
        assert time.monotonic() - began < WAIT_S, now
        await asyncio.sleep(0.02)


async def test_changes_are_in_the_log_long_before_the_next_pass(node: Node, host: FakeHost) -> None:
    pane = await asyncio.to_thread(host.start_idle, FAKE_SLOW_SECONDS="600")
    async with fleet(node, host, pass_s=3600.0):
        await until(node, ["idle"])
        await asyncio.to_thread(pane.submit, "SLOW RUNBASH")
        await asyncio.to_thread(pane.wait_status, "busy")
        await until(node, ["working"])
        pane.keys("Escape")
        await until(node, ["interrupted"])


async def test_an_idle_fleet_writes_nothing(node: Node, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten passes of three sessions; `dev.py idle` does ten minutes of fifty, and counts what they cost."""
    passes = watched(monkeypatch)
    for number in range(3):
        await asyncio.to_thread(host.start_idle, name=f"s{number}")
    async with fleet(node, host, pass_s=0.1):
        await until(node, ["idle"] * 3)
        with node.reading() as db:
            before = db.execute("SELECT count(*) FROM events").fetchone()
        await done(passes, len(passes) + 10)
        with node.reading() as db:
            assert db.execute("SELECT count(*) FROM events").fetchone() == before


def watched(monkeypatch: pytest.MonkeyPatch) -> list[Pass]:
    """Every pass there will be, as it ends."""
    passes, observe = [], Observer.observe

    def observed(self: Observer) -> Pass:
        passes.append(observe(self))
        return passes[-1]

    monkeypatch.setattr(Observer, "observe", observed)
    return passes


async def done(passes: list[Pass], count: int) -> None:
    began = time.monotonic()
    while len(passes) < count:
        assert time.monotonic() - began < 2 * WAIT_S, f"{len(passes)} passes"
        await asyncio.sleep(0.02)


async def test_a_hook_report_wakes_the_daemon(node: Node, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next pass is an hour away, and the registry says nothing new: the report alone is what moves."""
    passes = watched(monkeypatch)
    pane = await asyncio.to_thread(host.start_idle)
    async with fleet(node, host, pass_s=3600.0):
        await until(node, ["idle"])
        await done(passes, 2)
        payload = {"hook_event_name": "StopFailure", "error": "rate_limit", "session_id": pane.session_id}
        handler = [sys.executable, "-I", "-S", spool.__file__, spool_path(node.home)]
        await asyncio.to_thread(subprocess.run, handler, input=json.dumps(payload), text=True, check=True)
        await until(node, ["rate-limited"])


async def test_an_rclaude_that_hangs_delays_nobody_here(node: Node, host: FakeHost) -> None:
    program = host.root / "bin" / "rclaude"
    program.write_text("#!/bin/sh\nsleep 600\n")
    program.chmod(0o755)
    Path(node.home.settings_file).write_text("[fleet.rclaude]\ntimeout_s = {list = 600}\n")
    pane = await asyncio.to_thread(host.start_idle, FAKE_SLOW_SECONDS="600")
    async with fleet(node, host, pass_s=3600.0):
        await until(node, ["idle"])
        await asyncio.to_thread(pane.submit, "SLOW x")
        await until(node, ["working"])


async def test_a_broadcast_is_typed_when_its_session_is_idle(node: Node, host: FakeHost) -> None:
    pane = await asyncio.to_thread(host.start_idle, FAKE_SLOW_SECONDS="600")
    async with fleet(node, host, pass_s=3600.0):
        await until(node, ["idle"])
        await asyncio.to_thread(pane.submit, "SLOW x")
        await until(node, ["working"])
        sent = broadcasts.send(node, pane.session_id, "hello")
        pane.keys("Escape")
        began = time.monotonic()
        while not (outcome := outcome_of(node, sent["id"])):
            assert time.monotonic() - began < WAIT_S
            await asyncio.sleep(0.02)
    assert outcome == "delivered"
    assert [line["display"] for line in host.history()] == ["SLOW x", f"[claire:{sent['id'][:8]}] hello"]


def outcome_of(node: Node, broadcast_id: str) -> str | None:
    with node.reading() as db:
        outcome: str | None = broadcasts.find(db, broadcast_id)["targets"][0]["outcome"]
        return outcome


async def test_triage_when_switched_on(node: Node, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("claire.fleet.triager.SETTLED_MS", 0)
    monkeypatch.setattr(runner, "TRIAGE_S", 0.2)
    Path(node.home.settings_file).write_text("[fleet.triage]\nenabled = true\n")
    answer = {"needs": "review", "priority": 2, "summary": "is done"}
    host.env["FAKE_STRUCTURED_OUTPUT"] = json.dumps(answer)
    pane = await asyncio.to_thread(host.start_idle)
    await asyncio.to_thread(pane.submit, "hello")
    async with fleet(node, host, pass_s=0.2):
        began, said = time.monotonic(), ""
        while not said:
            assert time.monotonic() - began < WAIT_S
            await asyncio.sleep(0.05)
            with node.reading() as db:
                said = "".join(row["last_triage"] for row in sessions.list_sessions(db))
    assert said == "is done (needs review, priority 2)"
    with node.reading() as db:
        assert len(sessions.list_sessions(db)) == 1


async def test_it_stops_at_once(node: Node, host: FakeHost) -> None:
    async with fleet(node, host, pass_s=3600.0):
        await until(node, [])
