"""Passes over a real tmux with the fake in it, recorded in a real node."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from claire.fleet import processes, spool
from claire.fleet.observer import Known, Observer, spool_path, triage_folder
from claire.fleet.rclaude import Found, Listing
from claire.fleet.state import State
from claire.node import assignments, projects, sessions, tasks
from claire.node.event import Event
from claire.node.node import Node
from claire.node.rows import Row
from tests.conftest import befriend
from tests.fleet.kit import FakeHost, wait_for


@pytest.fixture
def node(make_node: Callable[..., Node]) -> Node:
    return make_node("alpha", lambda: time.time_ns() // 1_000_000)


def listed(node: Node, gone: bool = False) -> list[Row]:
    with node.reading() as db:
        return sessions.list_sessions(db, gone=gone)


def events(node: Node) -> int:
    with node.reading() as db:
        return int(db.execute("SELECT count(*) FROM events").fetchone()[0])


def test_seen_once_and_then_silence(node: Node, host: FakeHost) -> None:
    pane = host.start_idle("-n", "my name", name="work")
    observer = Observer(node, host.env)
    assert observer.observe().recorded == 1
    [row] = listed(node)
    assert (row["id"], row["tmux_name"], row["name"]) == (pane.session_id, "work", "my name")
    assert (row["host"], row["cwd"], row["pane"]) == ("alpha", str(host.project), f"kit:{pane.id}")
    assert (row["state"], row["source"], row["confidence"]) == ("idle", "registry", "high")
    before = events(node)
    for again in (observer, Observer(node, host.env)):
        assert again.observe().recorded == 0
    assert events(node) == before


def test_years_of_sessions_that_are_gone_are_not_read_each_time(node: Node) -> None:
    lives, gone = (f"{digit * 8}-2222-3333-4444-555555555555" for digit in "19")
    one = sessions.Observation(session_uuid=lives, host="alpha")
    sessions.observe(node, [one, msgspec.structs.replace(one, session_uuid=gone, gone=True)])
    known = Known(node, {row["id"]: row for row in listed(node)})
    assert list(known) == [lives]
    assert known[gone]["gone"] and known.get("none") is None


STATES = {
    "working": ("SLOW x", "busy", None, "esc to interrupt"),
    "permission": ("RUNBASH", "waiting", "permission prompt", "Tab to amend"),
    "question": ("ASKME", "waiting", "input needed", "Enter to select"),
    "dialog": ("/model", "waiting", "dialog open", "Enter to save"),
    "shell": ("BGSHELL", "shell", None, "1 shell"),
}


@pytest.mark.parametrize("knobs", [{}, {"FAKE_NO_REGISTRY": "1"}], ids=["registry", "without registry"])
@pytest.mark.parametrize("state", STATES)
def test_states(node: Node, host: FakeHost, state: str, knobs: dict[str, str]) -> None:
    uuid = "11111111-2222-3333-4444-555555555555"
    pane = host.start("--session-id", uuid, cwd=None, FAKE_SLOW_SECONDS="600", FAKE_SHELL_SECONDS="600", **knobs)
    pane.wait_screen("manual mode on")
    observer = Observer(node, host.env)
    observer.observe()
    assert [row["state"] for row in listed(node)] == ["idle"]
    text, status, waiting_for, shows = STATES[state]
    pane.submit(text)
    pane.wait_screen(shows)
    if not knobs:
        pane.wait_status(status, waiting_for)
    assert observer.observe().recorded == 1
    [row] = listed(node)
    assert (row["state"], row["waiting_for"]) == (state, waiting_for or "" if not knobs else "")
    assert row["source"] == "registry" if not knobs else row["source"] in ("screen", "transcript")


@pytest.mark.parametrize("knobs", [{}, {"FAKE_NO_REGISTRY": "1"}], ids=["registry", "without registry"])
def test_turns_that_end_badly(node: Node, host: FakeHost, knobs: dict[str, str]) -> None:
    uuid = "11111111-2222-3333-4444-555555555555"
    pane = host.start("--session-id", uuid, cwd=None, **knobs)
    pane.wait_screen("manual mode on")
    observer = Observer(node, host.env)
    pane.submit("RATELIMIT")
    pane.wait_screen("● API Error")
    pane.wait_screen("for shortcuts")
    observer.observe()
    assert [(row["state"], row["source"]) for row in listed(node)] == [("rate-limited", "transcript")]
    pane.submit("RUNBASH")
    pane.wait_screen("Tab to amend")
    pane.keys("Escape")
    pane.wait_screen("for shortcuts")
    observer.observe()
    assert [(row["state"], row["source"]) for row in listed(node)] == [("interrupted", "transcript")]


def test_gone_and_crashed(node: Node, host: FakeHost) -> None:
    leaves, dies = host.start_idle(name="leaves"), host.start_idle(name="dies")
    ids = (leaves.session_id, dies.session_id)
    observer = Observer(node, host.env)
    observer.observe()
    pid = dies.pid
    os.kill(pid, signal.SIGKILL)
    leaves.submit("/exit")
    wait_for(lambda: not (sight := observer.host.look()).seats + sight.unnamed, "the end of both")
    assert observer.observe().recorded == 2
    states = {row["id"]: (row["state"], row["gone"]) for row in listed(node, gone=True)}
    assert states == {ids[0]: ("gone", True), ids[1]: ("crashed", False)}
    assert observer.observe().recorded == 0
    (host.config / "sessions" / f"{pid}.json").unlink()
    observer.observe()
    assert listed(node) == []


def test_whatever_the_registry_says_can_be_recorded(node: Node, host: FakeHost) -> None:
    pane = host.start_idle()
    entry = {**pane.registry(), "cwd": "/\ud800/" + "x" * 30_000, "name": "\udfff" * 2_000, "version": 3}
    (host.config / "sessions" / f"{pane.pid}.json").write_text(json.dumps(entry))
    assert Observer(node, host.env).observe().recorded == 1
    [row] = listed(node)
    assert row["cwd"].startswith("/?/xxx") and row["version"] == ""


def test_files_of_long_ago_are_not_news(node: Node, host: FakeHost) -> None:
    entry = {"pid": 1, "sessionId": "11111111-2222-3333-4444-555555555555", "procStart": "1", "status": "idle"}
    (host.config / "sessions").mkdir()
    (host.config / "sessions" / "1.json").write_text(json.dumps(entry))
    assert Observer(node, host.env).observe().recorded == 0


def test_a_silent_tmux_server_makes_nobody_an_orphan(
    node: Node, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.start_idle()
    observer = Observer(node, host.env)
    observer.observe()
    server = int(host.tmux("display-message", "-p", "#{pid}"))
    monkeypatch.setattr("claire.fleet.tmux.TIMEOUT_S", 0.3)
    os.kill(server, signal.SIGSTOP)
    try:
        assert observer.observe().problems
    finally:
        os.kill(server, signal.SIGCONT)
    assert [row["state"] for row in listed(node)] == ["idle"]


def test_orphaned(node: Node, host: FakeHost) -> None:
    """Its pane is gone, it lives: here because it ignores the hangup."""
    script = "import signal; signal.signal(1, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
    pane = host.run(sys.executable, "-c", script)
    pane.wait_screen("ready")
    process = wait_for(lambda: (now := processes.find(pane.pid)) and now.tty and now)
    assert process
    uuid = "11111111-2222-3333-4444-555555555555"
    entry = {"pid": process.pid, "sessionId": uuid, "procStart": process.start, "status": "idle", "entrypoint": "cli"}
    (host.config / "sessions").mkdir()
    (host.config / "sessions" / f"{process.pid}.json").write_text(json.dumps(entry))
    observer = Observer(node, host.env)
    observer.observe()
    assert [row["state"] for row in listed(node)] == ["idle"]
    try:
        host.end("kit")
        wait_for(lambda: (now := processes.find(process.pid)) and now.tty == 0, "the hangup")
        observer.observe()
        assert [row["state"] for row in listed(node)] == ["orphaned"]
    finally:
        os.kill(process.pid, signal.SIGKILL)


def test_an_agent_in_the_background_is_shown_with_what_it_waits_for(node: Node, host: FakeHost) -> None:
    """As `claude --bg -n asker` writes it: a session with a status, on no terminal of ours."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as agent:
        process = wait_for(lambda: processes.find(agent.pid))
        assert process
        entry = {
            "pid": agent.pid, "sessionId": "11111111-2222-3333-4444-555555555555", "procStart": process.start,
            "kind": "bg", "entrypoint": "cli", "jobId": "9d088b46", "name": "asker", "nameSource": "peer",
            "status": "waiting", "waitingFor": "input needed",
        }  # fmt: skip
        path = host.config / "sessions" / f"{agent.pid}.json"
        path.parent.mkdir()
        path.write_text(json.dumps(entry))
        Observer(node, host.env).observe()
        agent.kill()
    [row] = listed(node)
    assert (row["state"], row["waiting_for"], row["name"]) == ("question", "input needed", "asker")
    assert (row["pane"], row["tmux_name"]) == ("background 9d088b46", "")


def test_headless_and_triage_runs_are_not_sessions(node: Node, host: FakeHost) -> None:
    host.start(FAKE_ENTRYPOINT="sdk-cli").wait_idle()
    folder = Path(triage_folder(node.home))
    folder.mkdir(parents=True)
    host.start(name="triage", cwd=folder).wait_idle()
    assert Observer(node, host.env).observe().sessions == 0


def test_claude_at_its_trust_dialog_is_pointed_out(node: Node, host: FakeHost) -> None:
    pane = host.start(FAKE_TRUST="1")
    pane.wait_screen("Esc to cancel")
    done = Observer(node, host.env).observe()
    assert done.sessions == 0
    assert [note.split()[0] for note in done.notes] == [f"kit:{pane.id}"] and "trust" in done.notes[0]


def test_one_session_in_two_processes(node: Node, host: FakeHost) -> None:
    uuid = "11111111-2222-3333-4444-555555555555"
    for name in ("one", "two"):
        host.start("--resume", uuid, name=name).wait_idle()
    observer = Observer(node, host.env)
    assert observer.observe().recorded == 1
    [row] = listed(node)
    assert (row["state"], row["source"], row["confidence"]) == ("idle", "registry (open in 2 processes)", "low")
    assert observer.observe().recorded == 0


def bound_task(node: Node, session: str) -> str:
    project = projects.create(node, "api")
    task = tasks.add(node, project["id"], "fix it")
    assignments.assign(node, task["id"], session)
    return str(task["id"])


def current(node: Node, task: str) -> list[str]:
    with node.reading() as db:
        return [row["current_session"] for row in assignments.list_assignments(db, task_id=task)]


@pytest.mark.parametrize("restarted", [False, True], ids=["one daemon", "a new daemon"])
def test_a_task_stays_bound_across_clear(node: Node, host: FakeHost, restarted: bool) -> None:
    pane = host.start_idle()
    old = pane.session_id
    observer = Observer(node, host.env)
    observer.observe()
    task = bound_task(node, old)
    pane.submit("/clear")
    wait_for(lambda: pane.session_id != old, "a new session id")
    (Observer(node, host.env) if restarted else observer).observe()
    assert current(node, task) == [pane.session_id]
    with node.reading() as db:
        [link] = sessions.links(db, old)
    assert (link["old"], link["new"]) == (old, pane.session_id)
    assert "as /clear does" in link["reason"]
    assert [row["id"] for row in listed(node)] == [pane.session_id]


def test_a_task_stays_bound_across_resume_in_another_pane(node: Node, host: FakeHost) -> None:
    pane = host.start_idle()
    uuid = pane.session_id
    observer = Observer(node, host.env)
    observer.observe()
    task = bound_task(node, uuid)
    host.close()
    wait_for(lambda: not observer.host.look().seats, "the end of the server")
    observer.observe()
    assert [row["state"] for row in listed(node, gone=True)] == ["crashed"]  # its file is still there
    host.start("--resume", uuid, name="again").wait_idle()
    Observer(node, host.env).observe()
    assert current(node, task) == [uuid]
    assert [(row["id"], row["tmux_name"]) for row in listed(node)] == [(uuid, "again")]


def test_going_back_after_clear_takes_the_task_along(node: Node, host: FakeHost) -> None:
    """/clear, then /resume of the conversation from before: what was sent there must find it."""
    pane = host.start_idle()
    first, path = pane.registry(), host.config / "sessions" / f"{pane.pid}.json"
    observer = Observer(node, host.env)
    observer.observe()
    task = bound_task(node, first["sessionId"])
    for session in ("99999999-2222-3333-4444-555555555555", first["sessionId"]) * 2:
        path.write_text(json.dumps({**first, "sessionId": session}))
        observer.observe()
        assert current(node, task) == [session]
        with node.reading() as db:
            assert sessions.seen_by(db, first["sessionId"], node.machine_id)[1] == session


def test_going_back_to_a_known_session_is_no_succession(node: Node, host: FakeHost) -> None:
    one, two = host.start_idle(name="one"), host.start_idle(name="two")
    observer = Observer(node, host.env)
    observer.observe()
    registered = one.registry()
    registered["sessionId"] = two.session_id
    path = host.config / "sessions" / f"{one.pid}.json"
    path.write_text(json.dumps(registered))
    observer.observe()
    with node.reading() as db:
        assert sessions.links(db, two.session_id) == []


def install(host: FakeHost, node: Node) -> dict[str, str]:
    return {"FAKE_HOOK": f"{sys.executable} -I -S {spool.__file__} {spool_path(node.home)}"}


def test_clear_in_an_old_version_is_known_by_its_hooks(node: Node, host: FakeHost) -> None:
    pane = host.start_idle(FAKE_OLD="1", **install(host, node))
    old = pane.session_id
    observer = Observer(node, host.env)
    observer.observe()
    pane.submit("/clear")
    wait_for(lambda: "clear" in [how for _, how in observer.spool.read().current.values()], "the hook")
    assert pane.session_id == old
    observer.observe()
    [row] = listed(node)
    assert row["id"] != old
    with node.reading() as db:
        [link] = sessions.links(db, old)
    assert link["reason"].startswith("/clear in process")


def pass_on(here: Node, there: Node) -> None:
    with here.reading() as db:
        rows = db.execute("SELECT * FROM events ORDER BY rowid").fetchall()
    there.receive([Event(*row[1:]) for row in rows])


def test_its_own_node_takes_over_from_one_that_saw_it_through_rclaude(
    make_node: Callable[..., Node], host: FakeHost
) -> None:
    pane, now_ms = host.start_idle(), time.time_ns() // 1_000_000
    away, own = (make_node(name, lambda: now_ms) for name in ("away", "own"))
    befriend(away, own)
    found = Found(pane.session_id, "own", str(host.project), "kit", state=State.IDLE)
    elsewhere = {**host.env, "CLAUDE_CONFIG_DIR": "/none", "HOME": "/none", "TMUX_TMPDIR": "/none"}
    assert Observer(away, elsewhere, lambda: Listing((found,))).observe().recorded == 1
    pass_on(away, own)
    assert Observer(own, host.env).observe().recorded == 1
    assert [(row["machine_id"], row["source"]) for row in listed(own)] == [(own.machine_id, "registry")]


def test_two_nodes_on_one_host_do_not_argue(make_node: Callable[..., Node], host: FakeHost) -> None:
    pane = host.start_idle(FAKE_SLOW_SECONDS="600")
    now = [1_790_000_000_000]
    one, two = (make_node(name, lambda: now[0]) for name in ("one", "two"))
    befriend(one, two)
    observers = [Observer(node, host.env) for node in (one, two)]

    def both() -> list[int]:
        recorded = []
        for observer, other in zip(observers, (two, one), strict=True):
            recorded.append(observer.observe().recorded)
            pass_on(observer.node, other)
        return recorded

    assert both() == [1, 0]
    pane.submit("SLOW x")
    pane.wait_status("busy")
    assert both() == [1, 0]
    assert both() == [0, 0]
