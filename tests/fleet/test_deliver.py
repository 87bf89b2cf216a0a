"""Delivery: what may be typed, at most once, and an outcome for every target. K1 to K8 of the reliability checks."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from claire.config import Home
from claire.fleet import keystrokes, runner, spool, tmux
from claire.fleet.deliver import Deliverer, Here, Send, decide
from claire.fleet.host import Host
from claire.fleet.keystrokes import Typist
from claire.fleet.observer import Observer, spool_path
from claire.fleet.obstacles import Outcome, Result
from claire.node import assignments, broadcasts, groups, projects, sessions, tasks, updates
from claire.node.broadcasts import BroadcastSent, Target
from claire.node.errors import NotFound
from claire.node.event import Event
from claire.node.fold import replay_events
from claire.node.node import Node
from claire.node.rows import Row
from claire.node.sessions import Observation
from tests.conftest import befriend
from tests.fleet.kit import FakeHost, FakePane, host, wait_for
from tests.node.test_admit import everything

__all__ = ["host"]

UUID = "11111111-2222-3333-4444-555555555555"
ME, OTHER = "aaaaaaaa-1111-8111-8111-111111111111", "bbbbbbbb-1111-8111-8111-111111111111"


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def node(make_node: Callable[..., Node]) -> Node:
    return make_node("alpha", wall_ms)


def deliverer(node: Node, host: FakeHost, **more: Any) -> Deliverer:
    return Deliverer(node, Typist(Host(host.env), **more))


def outcomes(node: Node) -> list[tuple[str, str]]:
    with node.reading() as db:
        return [
            (target["outcome"], target["why"])
            for row in broadcasts.list_broadcasts(db)
            for target in row["targets"]
            if target["outcome"]
        ]


def typed(host: FakeHost) -> list[str]:
    return [line["display"] for line in host.history()]


def observed(node: Node, host: FakeHost, *panes: FakePane) -> list[str]:
    Observer(node, host.env).observe()
    return [pane.session_id for pane in panes]


# deciding, without a pane


ROW: Row = {
    "id": "0123456789", "author": ME, "hlc": f"1790000000000.000000.{ME}", "expires_ms": 1_790_000_600_000,
    "target": "session:s", "assignment_id": None, "assignment_active": False, "held_by": ME, "text": "hello",
    "raw": 0, "current_session": "s", "session_uuid": "s", "pane": "%1",
}  # fmt: skip
HERE = Here(ME, 1_790_000_000_000, names={OTHER: "apricot"})


@pytest.mark.parametrize(
    ("row", "here", "decision"),
    [
        ({}, {}, Send("s", "[claire:01234567] hello")),
        ({}, {"now_ms": 1_790_000_600_001}, Result(Outcome.EXPIRED)),
        ({"expires_ms": 9_999_999_999_999}, {"now_ms": 1_790_090_000_000}, Result(Outcome.EXPIRED)),
        (
            {"author": OTHER},
            {},
            Result(Outcome.REFUSED, "this host takes no messages from apricot: claire peer allow-send apricot"),
        ),
        (
            {"author": OTHER},
            {"allowed": frozenset({OTHER})},
            Send("s", "[claire:01234567 from apricot] hello"),
        ),
        (
            {"pane": "background 9d088b46"},
            {},
            Result(Outcome.REFUSED, "it runs in the background: claude attach 9d088b46"),
        ),
        ({"held_by": OTHER}, {}, Result(Outcome.REFUSED, "the session is on apricot now")),
        ({"held_by": None}, {}, Send("s", "[claire:01234567] hello")),
        (
            {"target": "project:p", "assignment_id": "a"},
            {},
            Result(Outcome.REFUSED, "the session no longer works on this project"),
        ),
        ({"current_session": "after-clear"}, {}, Send("after-clear", "[claire:01234567] hello")),
        ({"text": "/clear", "raw": 1}, {}, Send("s", "/clear")),
    ],
)
def test_decisions(row: Row, here: dict[str, Any], decision: Send | Result) -> None:
    assert decide({**ROW, **row}, replace(HERE, **here)) == decision


def test_a_command_without_raw_is_refused_here_too() -> None:
    refused = decide({**ROW, "text": "!rm -r /"}, HERE)
    assert isinstance(refused, Result) and refused.outcome is Outcome.REFUSED


# the whole way, in a real tmux


def test_delivered_and_recorded(node: Node, host: FakeHost) -> None:
    pane = host.start_idle()
    [session] = observed(node, host, pane)
    sent = broadcasts.send(node, session, "hello")
    [row] = deliverer(node, host).deliver()
    assert (row["session_uuid"], row["outcome"]) == (session, "delivered")
    assert outcomes(node) == [("delivered", "")]
    assert typed(host) == [f"[claire:{sent['id'][:8]}] hello"]
    assert deliverer(node, host).deliver() == []


def test_k3_another_host_cannot_lead_a_text_into_another_session(
    node: Node, host: FakeHost, make_node: Callable[..., Node]
) -> None:
    """A member says that the session the text is for goes on as its neighbour."""
    meant, neighbour = observed(node, host, host.start_idle(name="one"), host.start_idle(name="two"))
    member = make_node("member", wall_ms)
    befriend(node, member)
    broadcasts.send(node, meant, "yes, drop the table")
    sessions.succeed(member, meant, neighbour, "/clear")
    assert node.receive(everything(member)).refused == []
    [row] = deliverer(node, host).deliver()
    assert (row["session_uuid"], row["outcome"]) == (meant, "delivered")
    assert [line["sessionId"] for line in host.history()] == [meant]


def test_sessions_of_another_config_home_and_of_old_versions_after_clear(node: Node, host: FakeHost) -> None:
    """What watching has learned, delivering knows: homes, and what hooks told where the registry is behind."""
    hook = f"{sys.executable} -I -S {spool.__file__} {spool_path(node.home)}"
    pane = host.start_idle(FAKE_OLD="1", FAKE_HOOK=hook)
    watch = Observer(node, host.env)
    watch.observe()
    old = pane.session_id
    pane.submit("/clear")
    wait_for(lambda: "clear" in [how for _, how in watch.spool.read().current.values()], "the hook")
    watch.observe()
    broadcasts.send(node, old, "hello")
    env = {**host.env, "CLAUDE_CONFIG_DIR": ""}
    assert [row["outcome"] for row in runner.deliver(node, env)] == ["delivered"]
    with node.reading() as db:
        [session] = [row["id"] for row in sessions.list_sessions(db)]
    assert [line["sessionId"] for line in host.history() if "hello" in line["display"]] == [session]


def test_it_waits_until_the_session_is_idle(node: Node, host: FakeHost) -> None:
    pane = host.start_idle(FAKE_SLOW_SECONDS="600")
    [session] = observed(node, host, pane)
    broadcasts.send(node, session, "hello")
    pane.submit("SLOW x")
    pane.wait_status("busy")
    sender = deliverer(node, host)
    assert sender.deliver() == []
    pane.keys("Escape")
    pane.wait_idle()
    pane.wait_screen("for shortcuts")
    assert [row["outcome"] for row in sender.deliver()] == ["delivered"]


def test_an_expiry_says_what_it_waited_for(make_node: Callable[..., Node], host: FakeHost) -> None:
    now = [wall_ms()]
    node = make_node("alpha", lambda: now[0])
    pane = host.start_idle()
    [session] = observed(node, host, pane)
    broadcasts.send(node, session, "hello")
    pane.paste("a draft")
    pane.wait_screen("a draft")
    sender = deliverer(node, host)
    assert sender.deliver() == []
    now[0] += broadcasts.EXPIRY_MS + 1
    assert [(row["outcome"], row["why"]) for row in sender.deliver()] == [("expired", "a draft stands in the composer")]
    assert typed(host) == []


def test_it_follows_the_session_through_clear(node: Node, host: FakeHost) -> None:
    pane = host.start_idle()
    [session] = observed(node, host, pane)
    broadcasts.send(node, session, "hello")
    pane.submit("/clear")
    wait_for(lambda: pane.session_id != session, "a new session")
    pane.wait_idle()
    observed(node, host)
    assert [row["outcome"] for row in deliverer(node, host).deliver()] == ["delivered"]
    assert host.history()[-1]["sessionId"] == pane.session_id


def test_what_a_session_was_told_is_on_its_task(node: Node, host: FakeHost) -> None:
    pane = host.start_idle()
    [session] = observed(node, host, pane)
    task = tasks.add(node, projects.create(node, "api")["id"], "fix it")
    assignments.assign(node, task["id"], session)
    broadcasts.send(node, "api", "use the new schema")
    deliverer(node, host).deliver()
    with node.reading() as db:
        [update] = updates.list_updates(db, task_id=task["id"])
    assert (update["source"], update["payload"]) == ("message", "use the new schema")


def test_a_task_that_moved_on_is_not_briefed(node: Node, host: FakeHost) -> None:
    pane = host.start_idle()
    [session] = observed(node, host, pane)
    project = projects.create(node, "api")
    task = tasks.add(node, project["id"], "fix it")
    assignments.assign(node, task["id"], session)
    broadcasts.send(node, "api", "hello")
    assignments.unassign(node, task["id"])
    assert [row["why"] for row in deliverer(node, host).deliver()] == ["the session no longer works on this project"]
    assert typed(host) == []


def foreign(node: Node, count: int, target: str, machine_id: str, **fields: Any) -> None:
    """Broadcasts that another node recorded."""
    with node.writing() as tx:
        for _ in range(count):
            sent = {"text": "hello", "expires_ms": node.now_ms() + 600_000, **fields}
            tx.record(BroadcastSent(node.new_id(), f"session:{target}", targets=[Target(target, machine_id)], **sent))


def pass_on(sender: Node, receiver: Node) -> None:
    with sender.reading() as db:
        rows = db.execute("SELECT * FROM events ORDER BY rowid").fetchall()
    receiver.receive([Event(*row[1:]) for row in rows])


def no_subprocess(*_args: object, **_more: object) -> None:
    pytest.fail("a subprocess was started")


def test_k1_what_is_synced_or_replayed_types_nothing(
    make_node: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = make_node("one", wall_ms), make_node("two", wall_ms)
    befriend(one, two)
    sessions.observe(two, [Observation(session_uuid=UUID, host="two", state="idle")])
    foreign(one, 9_000, UUID, two.machine_id)
    project = projects.create(one, "api")
    for number in range(1_000):
        tasks.add(one, project["id"], f"!rm {number}")
    monkeypatch.setattr(subprocess, "Popen", no_subprocess)
    monkeypatch.setattr(os, "system", no_subprocess)
    monkeypatch.setattr(os, "posix_spawn", no_subprocess)
    pass_on(one, two)
    with two.writing() as tx:
        replay_events(tx.db)
    sender = Deliverer(two, Typist(Host({})))
    for _ in range(3):
        assert {row["outcome"] for row in sender.deliver()} == {"refused"}


DRIVER = """
import os, signal, sys
from claire.config import Home
from claire.fleet import keystrokes, runner, spool, tmux
from claire.fleet.deliver import Deliverer
from claire.fleet.host import Host
from claire.fleet.keystrokes import Typist
from claire.node.node import Node

keystrokes.LANDED_S = keystrokes.ACKNOWLEDGED_S = tmux.TIMEOUT_S = 120

def reached(step):
    if step == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

with Node(Home.from_env({"CLAIRE_HOME": sys.argv[1]})) as node:
    if sys.argv[2] == "settled":
        settle = Deliverer._settle
        Deliverer._settle = lambda self, rows: rows and os.kill(os.getpid(), signal.SIGKILL)
    Deliverer(node, Typist(Host(dict(os.environ)), reached=reached)).deliver()
"""
STEPS = ("checked", "claimed", "pasted", "landed", "entered", "acknowledged", "settled")


def home_of(node: Node) -> str:
    return str(Path(node.home.data).parent)


def drive(node: Node, host: FakeHost, step: str, kill_after_s: float | None = None) -> int:
    """A delivery in a process of its own that dies at `step`, or after a while."""
    child = subprocess.Popen([sys.executable, "-c", DRIVER, home_of(node), step], env={**os.environ, **host.env})
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        child.kill()
    return child.wait(timeout=180)


@pytest.mark.parametrize("step", STEPS)
def test_k2_killed_at_every_step(node: Node, host: FakeHost, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pane = host.start_idle()
    [session] = observed(node, host, pane)
    broadcasts.send(node, session, "hello")
    assert drive(node, host, step) == -signal.SIGKILL
    pane.wait_idle()
    expected = {
        "checked": "delivered",
        "claimed": "unverified",
        "pasted": "unverified",
        "landed": "unverified",
        "entered": "delivered",
        "acknowledged": "delivered",
        "settled": "delivered",
    }
    if expected[step] == "unverified":
        monkeypatch.setattr(keystrokes, "ACKNOWLEDGED_S", 0.5)
    for _ in range(2):
        deliverer(node, host).deliver()
    assert [outcome for outcome, _ in outcomes(node)] == [expected[step]]
    assert len(typed(host)) == (1 if expected[step] == "delivered" else 0)


KILLS = int(os.environ.get("CLAIRE_KILLS", "12"))


def test_k2_killed_at_any_moment(node: Node, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """`CLAIRE_KILLS=200` for the whole measure. At most one typing each, and one outcome each."""
    monkeypatch.setattr(keystrokes, "ACKNOWLEDGED_S", 0.5)
    pane = host.start_idle()
    [session] = observed(node, host, pane)
    chance = random.Random(0)
    for number in range(KILLS):
        sent = broadcasts.send(node, session, f"message {number}")["id"]
        drive(node, host, "", kill_after_s=chance.uniform(0.15, 1.1))
        pane.wait_status("idle")
        deliver_until_settled(node, host, sent)
        pane.keys("C-u")  # a draft that was left behind
        wait_for(lambda: "message" not in composer(pane), "an empty composer")
        times = sum(sent[:8] in line for line in typed(host))
        assert times <= 1
        assert times == 1 or outcome_of(node, sent) != "delivered"


def deliver_until_settled(node: Node, host: FakeHost, broadcast_id: str) -> None:
    wait_for(lambda: deliverer(node, host).deliver() or outcome_of(node, broadcast_id), "an outcome")


def composer(pane: FakePane) -> str:
    return pane.screen().rsplit("─" * 20, 2)[-2]


def outcome_of(node: Node, broadcast_id: str) -> str:
    with node.reading() as db:
        [target] = broadcasts.find(db, broadcast_id)["targets"]
        return str(target["outcome"] or "")


def test_k3_the_session_is_gone(node: Node, host: FakeHost) -> None:
    pane, sibling = host.start_idle(name="api"), host.start_idle(name="api-2")
    [session, _] = observed(node, host, pane, sibling)
    broadcasts.send(node, session, "hello")
    host.end("api")
    wait_for(lambda: len(Host(host.env).look().seats) == 1, "the end of api")
    assert [row["outcome"] for row in deliverer(node, host).deliver()] == ["refused"]
    assert typed(host) == [] and "hello" not in sibling.screen()


def test_k4_a_shell_where_claude_was(node: Node, host: FakeHost) -> None:
    pane = host.run("sh", "-c", "claude --permission-mode default; exec sh")
    pane.wait_screen("manual mode on")
    [seat] = Host(host.env).look().seats
    observed(node, host)
    broadcasts.send(node, seat.entry.session_id, "touch victim-of-the-shell")
    pane.submit("/exit")
    wait_for(lambda: not (now := Host(host.env).look()).seats + now.unnamed, "the end of claude")
    [row] = deliverer(node, host).deliver()
    assert (row["outcome"], row["why"]) == ("refused", "no live Claude process holds this session")
    assert "victim-of-the-shell" not in pane.screen()


def test_k5_text_that_means_something(node: Node, host: FakeHost) -> None:
    pane = host.start_idle()
    [session] = observed(node, host, pane)
    foreign(node, 1, session, node.machine_id, text="!touch victim-of-bang")  # recorded past the checks of `send`
    broadcasts.send(node, session, "x\x1b[201~\rRUNBASH\r")
    results = deliverer(node, host).deliver()
    assert [row["outcome"] for row in results] == ["refused", "delivered"]
    assert typed(host)[0].endswith("x[201~RUNBASH")
    assert not (host.project / "victim-of-bang").exists()


def test_k6_what_a_stolen_key_wrote_elsewhere_is_not_typed(
    make_node: Callable[..., Node], host: FakeHost, tmp_path: Path
) -> None:
    """It bears this node's own name and signature, and yet nobody here wrote it."""
    one, two = make_node("one", wall_ms), make_node("two", wall_ms)
    befriend(one, two)
    pane = host.start_idle()
    [session] = observed(one, host, pane)
    pass_on(one, two)
    shutil.copytree(tmp_path / "one", tmp_path / "stolen")
    with Node(Home.from_env({"CLAIRE_HOME": str(tmp_path / "stolen")})) as stolen:
        broadcasts.send(stolen, session, "rm -rf")
        pass_on(stolen, two)
    pass_on(two, one)
    [row] = deliverer(one, host).deliver()
    assert row["outcome"] == "refused" and "not here" in row["why"]
    assert typed(host) == []
    broadcasts.send(one, session, "mine")
    assert [row["outcome"] for row in deliverer(one, host).deliver()] == ["delivered"]


def test_k6_another_hosts_message(make_node: Callable[..., Node], host: FakeHost) -> None:
    one, two = make_node("one", wall_ms), make_node("two", wall_ms)
    befriend(one, two)
    pane = host.start_idle()
    [session] = observed(two, host, pane)
    pass_on(two, one)
    broadcasts.send(one, session, "not yet allowed")
    pass_on(one, two)
    [row] = deliverer(two, host).deliver()
    assert row["outcome"] == "refused" and "takes no messages from" in row["why"]
    broadcasts.allow(two, one.machine_id)
    pass_on(one, two)  # replayed: already refused, for good
    assert deliverer(two, host).deliver() == []
    foreign(one, 1, session, two.machine_id, text="too old", expires_ms=two.now_ms() - 1)
    foreign(one, 1, session, one.machine_id, text="for another host")
    broadcasts.send(one, session, "welcome")
    pass_on(one, two)
    assert [row["outcome"] for row in deliverer(two, host).deliver()] == ["expired", "delivered"]
    assert [line.partition("] ")[2] for line in typed(host)] == ["welcome"]
    assert " from " in typed(host)[0]
    pass_on(two, one)
    assert sorted(outcome for outcome, _ in outcomes(one)) == ["delivered", "expired", "refused"]
    broadcasts.allow(two, one.machine_id, allowed=False)
    broadcasts.send(one, session, "no longer allowed")
    pass_on(one, two)
    assert [row["outcome"] for row in deliverer(two, host).deliver()] == ["refused"]


def test_k7_nobody_is_meant(node: Node) -> None:
    groups.define(node, "empty", "cwd:nowhere")
    with pytest.raises(NotFound):
        broadcasts.send(node, "empty", "hello")


MANY = int(os.environ.get("CLAIRE_TARGETS", "6"))


def test_k7_many_targets_one_hangs(node: Node, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """`CLAIRE_TARGETS=50` for the whole measure."""
    monkeypatch.setattr(keystrokes, "LANDED_S", 8.0)  # the one that hangs takes all of it
    # under a shell: tmux wakes its own children when they are stopped
    hanging = host.run("sh", "-c", "claude --permission-mode default; :", name="hangs")
    hanging.wait_screen("manual mode on")
    [stuck] = Host(host.env).look().seats
    panes = [host.start_idle(name=f"s{number}") for number in range(MANY - 1)]
    ids = observed(node, host, *panes)
    groups.define(node, "all", f"cwd:{host.project}")
    broadcasts.send(node, "all", "hello")
    os.kill(stuck.process.pid, signal.SIGSTOP)
    try:
        results = {row["session_uuid"]: row["outcome"] for row in deliverer(node, host).deliver()}
    finally:
        os.kill(stuck.process.pid, signal.SIGCONT)
    assert results == {stuck.entry.session_id: "refused", **dict.fromkeys(ids, "delivered")}
    assert len(typed(host)) == MANY - 1
    assert deliverer(node, host).deliver() == []


def test_k7_one_look_tells_who_has_to_wait(node: Node, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty messages for busy sessions must not cost a look each, every few seconds."""
    panes = [host.start_idle(name=f"s{number}", FAKE_SLOW_SECONDS="60") for number in range(3)]
    ids = observed(node, host, *panes)
    for pane, session in zip(panes, ids, strict=True):
        pane.submit("SLOW x")
        pane.wait_status("busy")
        broadcasts.send(node, session, "hello")
    looks, panes_of = [], tmux.panes

    def counting(socket: str) -> list[tmux.Pane]:
        looks.append(socket)
        return panes_of(socket)

    monkeypatch.setattr(tmux, "panes", counting)
    assert deliverer(node, host).deliver() == []
    assert len(looks) == 1


def test_k7_a_tmux_server_that_hangs_delays_once(node: Node, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    panes = [host.start_idle(name=f"s{number}") for number in range(4)]
    observed(node, host, *panes)
    groups.define(node, "all", f"cwd:{host.project}")
    broadcasts.send(node, "all", "hello")
    asked: list[str] = []

    def silent(socket: str) -> list[tmux.Pane]:
        asked.append(socket)
        raise tmux.TmuxError("did not answer")

    with monkeypatch.context() as patched:
        patched.setattr(tmux, "panes", silent)
        assert deliverer(node, host).deliver() == []
    assert asked == [host.socket]
    assert len(deliverer(node, host).deliver()) == 4


def test_k8_asked_twice_is_one_broadcast_and_one_typing(node: Node, host: FakeHost) -> None:
    pane = host.start_idle()
    [session] = observed(node, host, pane)
    broadcast_id = node.new_id()
    for _ in range(3):
        assert broadcasts.send(node, session, "hello", broadcast_id=broadcast_id)["id"] == broadcast_id
    results: list[Row] = []
    threads = [threading.Thread(target=lambda: results.extend(deliverer(node, host).deliver())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row["outcome"] for row in results] == ["delivered"]
    assert len(typed(host)) == 1


def test_k8_two_processes_claim_once(node: Node, host: FakeHost) -> None:
    pane = host.start_idle()
    [session] = observed(node, host, pane)
    broadcasts.send(node, session, "hello")
    command = [sys.executable, "-c", DRIVER, home_of(node), ""]
    children = [subprocess.Popen(command, env={**os.environ, **host.env}) for _ in range(3)]
    assert [child.wait(timeout=180) for child in children] == [0, 0, 0]
    assert outcomes(node) == [("delivered", "")]
    assert len(typed(host)) == 1


def test_a_claim_is_for_ever(node: Node, host: FakeHost) -> None:
    """Also when the outcome is not in the log, as after a restored backup of the projections."""
    pane = host.start_idle()
    [session] = observed(node, host, pane)
    broadcasts.send(node, session, "hello")
    sender = deliverer(node, host)
    sender.deliver()
    with node.writing() as tx:
        tx.db.execute("DELETE FROM deliveries")
    assert sender.deliver() == []
    assert len(typed(host)) == 1
