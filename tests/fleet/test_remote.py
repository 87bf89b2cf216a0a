"""What rclaude sees on hosts without a node: recorded, kept while a host is silent, sent to through rclaude."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from claire.fleet import runner
from claire.fleet.observer import Observer
from claire.fleet.rclaude import Found, Listing
from claire.fleet.remote import observations
from claire.fleet.state import State
from claire.node import broadcasts, sessions
from claire.node.node import Node
from claire.node.rows import Row

UUID = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"


def listed(node: Node) -> list[Row]:
    with node.reading() as db:
        return sessions.list_sessions(db)


def observer(node: Node, *answers: Listing) -> Observer:
    left = iter(answers)
    return Observer(node, {"HOME": "/nonexistent", "TMUX_TMPDIR": "/nonexistent"}, lambda: next(left))


def test_seen_kept_and_gone(node: Node) -> None:
    found = Found(UUID, "web1", "/srv", "api", 1_789_999_999.0, State.IDLE)
    there, silent = Listing((found,), frozenset({"web1"})), Listing(problems=("web1: timeout",))
    watch = observer(node, there, there, silent, Listing((), frozenset({"web1"})))
    assert watch.observe().recorded == 1
    assert [(row["host"], row["state"], row["source"]) for row in listed(node)] == [("web1", "idle", "rclaude")]
    assert watch.observe().recorded == 0
    done = watch.observe()
    assert (done.recorded, done.problems) == (0, ("web1: timeout",))
    assert watch.observe().recorded == 1
    assert listed(node) == []


@pytest.mark.parametrize(
    "row",
    [
        {"machine_id": "other", "source": "registry", "gone": False},
        {"machine_id": "other", "source": "rclaude", "gone": False},
        {"machine_id": "me", "source": "registry", "gone": False},
    ],
)
def test_a_node_knows_its_own_sessions_better(row: Row) -> None:
    listing = Listing((Found(UUID, "web1"),), frozenset({"web1"}))
    assert observations(listing, {UUID: {"id": UUID, **row}}, "me", (), 0) == []
    assert observations(listing, {}, "me", {UUID}, 0) == []


def test_what_ended_after_rclaude_was_asked_stays_gone(node: Node) -> None:
    found = Found(UUID, "web1", state=State.IDLE)
    ended = sessions.Observation(session_uuid=UUID, host="web1", state="gone", gone=True, source="registry")
    sessions.observe(node, [ended])
    stale, later = Listing((found,), asked_ms=node.now_ms() - 1), Listing((found,), asked_ms=node.now_ms() + 1)
    watch = observer(node, stale, later)
    assert watch.observe().recorded == 0
    assert watch.observe().recorded == 1
    assert [row["state"] for row in listed(node)] == ["idle"]


def test_milliseconds_are_understood() -> None:
    [one] = observations(Listing((Found(UUID, "web1", mtime=1_790_000_000_000.0),)), {}, "me", (), 0)
    assert (one.last_seen_mtime, one.last_seen_ms) == (1_790_000_000.0, 1_790_000_000_000)


def test_sent_through_rclaude_and_only_once(make_node: Callable[..., Node], tmp_path: Path) -> None:
    node = make_node("alpha")
    said = tmp_path / "said"
    (tmp_path / "bin").mkdir()
    rows = [{"host": "web1", "session_uuid": UUID, "tmux_name": "api", "status": "idle"}]
    script = f"""#!/bin/sh
case $1 in
  list) echo '{json.dumps(rows)}';;
  send) echo "$*" >> {said}; exit ${{RCLAUDE_EXIT:-0}};;
esac
"""
    (tmp_path / "bin" / "rclaude").write_text(script)
    (tmp_path / "bin" / "rclaude").chmod(0o755)
    env = {"HOME": str(tmp_path), "TMUX_TMPDIR": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    assert runner.observe(node, env).recorded == 1
    sent = broadcasts.send(node, "api", "hello")
    [row] = runner.deliver(node, env)
    assert (row["outcome"], row["why"]) == ("delivered", "acknowledged by rclaude")
    assert said.read_text() == f"send --yes web1:api -- [claire:{sent['id'][:8]}] hello\n"
    assert runner.deliver(node, env) == []
    broadcasts.send(node, "api", "hello again")
    assert [row["outcome"] for row in runner.deliver(node, {**env, "RCLAUDE_EXIT": "5"})] == ["unverified"]
    broadcasts.send(node, "api", "and again")
    (tmp_path / "bin" / "rclaude").unlink()
    assert [row["outcome"] for row in runner.deliver(node, env)] == ["refused"]
