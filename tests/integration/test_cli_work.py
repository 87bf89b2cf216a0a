"""A day's work on the command line, as a person and as a script see it: real processes, a real database."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from claire.config import Home
from claire.node import sessions
from claire.node.node import Node
from tests.integration.nodes import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
SESSION = "9d0c41aa-0000-4000-8000-000000000001"
SECOND = "9d0c41bb-0000-4000-8000-000000000002"


class Claire:
    """`claire(...)` runs a command in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.env = {"PATH": os.environ["PATH"], "CLAIRE_HOME": str(home)}

    def __call__(self, *argv: str, code: int = 0, stdin: str = "", **env: str) -> str:
        """What it prints; where it is to fail, what it complains."""
        done = self.run(argv, stdin, env)
        assert done.returncode == code, done.stderr
        if code:
            assert done.stdout == "" and done.stderr.startswith("error: ")
        return done.stderr if code else done.stdout

    def run(self, argv: Sequence[str], stdin: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "claire", *argv],
            cwd=ROOT, env=self.env | env, input=stdin, capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done

    def data(self, *argv: str, code: int = 0, **env: str) -> Any:
        end = argv.index("--") if "--" in argv else len(argv)
        done = self.run((*argv[:end], "--json", *argv[end:]), "", env)
        assert done.returncode == code, done.stderr
        envelope = json.loads(done.stdout)
        assert envelope["schema_version"] == 1
        return envelope["data"]

    def observe(self, **fields: Any) -> None:
        with Node(Home.from_env(self.env)) as node:
            fields = {"host": "here", "state": "working", "last_seen_ms": node.now_ms()} | fields
            sessions.observe(node, [sessions.Observation(**fields)])


@pytest.fixture
def empty(tmp_path: Path) -> Claire:
    return Claire(tmp_path / "home")


@pytest.fixture
def claire(empty: Claire) -> Claire:
    empty("init")
    empty("project", "new", "api", "--goal", "v2 is live", "--owner", "ann")
    return empty


def test_init_is_idempotent_and_private(empty: Claire) -> None:
    first = empty.data("init")
    assert empty.data("init") == first
    home = Path(empty.env["CLAIRE_HOME"])
    assert {path.stat().st_mode & 0o777 for path in home.iterdir()} == {0o700}
    assert (home / "config" / "node.key").stat().st_mode & 0o777 == 0o600
    assert empty.data("id")["id"] == first["id"]


def test_a_project_from_start_to_end(claire: Claire) -> None:
    (project,) = claire.data("project", "list")
    assert next(iter(project)) == "id" and project["goal"] == "v2 is live" and project["status"] == "active"
    claire("project", "edit", "api", "--status", "paused", "--name", "backend")
    assert claire.data("project", "list", "--status", "active") == []
    shown = claire.data("project", "show", "backend", "--history")
    assert [event["event_type"] for event in shown["history"]] == ["project_created", "project_changed"]
    claire("project", "new", "frontend")
    claire("task", "add", "frontend", "a task that moves")
    claire("project", "merge", "frontend", "backend")
    assert [task["title"] for task in claire.data("project", "show", "backend")["tasks"]] == ["a task that moves"]
    claire("project", "rm", "backend")
    assert claire.data("project", "list") == []
    assert [row["name"] for row in claire.data("project", "list", "--deleted")] == ["backend"]
    claire("project", "restore", project["id"])
    assert [row["name"] for row in claire.data("project", "list")] == ["backend"]


def test_a_task_from_start_to_end(claire: Claire) -> None:
    task = claire.data("task", "add", "api", "fix", "the", "login", "--prio", "1")
    assert (task["title"], task["priority"], task["status"]) == ("fix the login", 1, "todo")
    short = task["id"][:8]
    for verb, status in (("start", "in_progress"), ("done", "done"), ("reopen", "todo"), ("block", "blocked")):
        assert claire.data("task", verb, short)["status"] == status
        assert claire.data("task", "list", "--status", status)[0]["id"] == task["id"]
    other = claire.data("task", "add", "api", "second")["id"]
    assert claire.data("task", "link", short, other)["blocked_by"] == [other]
    assert claire.data("task", "unlink", short, other)["blocked_by"] == []
    claire("task", "edit", short, "--desc", "-", stdin="line one\nline two\n")
    assert claire.data("task", "show", short)["description"] == "line one\nline two"
    claire("task", "rm", short)
    assert [row["id"] for row in claire.data("task", "list")] == [other]
    claire("task", "restore", short)
    assert len(claire.data("task", "list")) == 2
    assert [row["id"] for row in claire.data("task", "list", "-n", "1")] == [task["id"]]


def test_work_is_assigned_noted_decided_and_shown(claire: Claire) -> None:
    claire.observe(session_uuid=SESSION, tmux_name="api-1", state="permission", waiting_for="Bash", since_ms=1)
    claire.observe(session_uuid=SECOND, tmux_name="api-2", cwd="/srv/api")
    task = claire.data("task", "add", "api", "fix the login")["id"]
    (bound,) = claire.data("assign", task[:8], "api-1")
    assert bound["task_id"] == task and bound["session_uuid"] == SESSION and bound["active"] is True
    claire("note", task, "half of it works")
    claire("decide", "api", "we keep Postgres")
    claire("decide", task, "no retry")
    shown = claire.data("task", "show", task)
    assert shown["status"] == "in_progress"
    assert [update["payload"] for update in shown["updates"]] == ["half of it works"]
    assert [decision["text"] for decision in shown["decisions"]] == ["no retry"]
    status = claire.data("status")
    assert [row["id"] for row in status["needs_you"]] == [SESSION]
    text = claire("status")
    assert text.splitlines()[0] == "1 waiting · 1 working"
    assert text.index("NEEDS YOU") < text.index("fix the login") < text.index("PROJECTS")
    assert claire("status", "-q") == "1 waiting · 1 working\n"
    assert claire.data("session", "show", "api-1")["assignment"]["task_id"] == task
    claire("group", "add", "backend", "cwd:/srv")
    assert claire.data("group", "list")[0]["sessions"] == 1
    claire("assign", task, "--group", "backend")
    assert "is held by 2 sessions" in claire("status")
    assert [row["id"] for row in claire.data("status", "--group", "backend")["sessions"]] == [SECOND]
    assert len(claire.data("unassign", task)) == 2
    claire("group", "rm", "backend")


def test_inside_a_session_nobody_types_ids(claire: Claire) -> None:
    claire.observe(session_uuid=SESSION, tmux_name="api-1", pane="%7")
    task = claire.data("task", "add", "api", "fix the login")["id"]
    inside = {"CLAUDE_CODE_SESSION_ID": SESSION}
    claire("assign", task, **inside)
    claire("note", "half of it works", **inside)
    assert claire.data("task", "show", **inside)["updates"][0]["payload"] == "half of it works"
    assert claire.data("session", "show", TMUX_PANE="%7")["id"] == SESSION
    assert claire.data("session", "show", TMUX_PANE="%7", TMUX="/tmp/tmux-0/default,1,0")["id"] == SESSION
    elsewhere = {"TMUX_PANE": "%7", "TMUX": "/tmp/tmux-0/other,1,0"}
    assert "which session?" in claire("session", "show", code=2, **elsewhere)
    claire.observe(session_uuid=SECOND, tmux_name="api-2", pane="other:%7")
    assert claire.data("session", "show", **elsewhere)["id"] == SECOND
    claire("task", "done", **inside)
    assert claire.data("task", "list")[0]["status"] == "done"
    assert "which task?" in claire("task", "done", code=2)
    assert "is not known yet" in claire("task", "done", code=3, CLAUDE_CODE_SESSION_ID="0" * 36)


def test_broadcast_lists_its_targets_and_tells_what_became_of_each(claire: Claire) -> None:
    claire.observe(session_uuid=SESSION, tmux_name="api-1")
    claire("group", "add", "all", "host:here")
    asked = claire.data("broadcast", "all", "--", "please", "commit")
    assert asked["sent"] is False and [row["id"] for row in asked["targets"]] == [SESSION]
    sent = claire.data("broadcast", "all", "--yes", "--", "please", "--commit", code=5)
    assert sent["sent"] is True and sent["text"] == "please --commit"
    assert [(row["session_uuid"], row["outcome"]) for row in sent["targets"]] == [(SESSION, "refused")]


def test_the_log_tells_what_happened(claire: Claire) -> None:
    claire("task", "add", "api", "fix the login")
    told = [row["told"] for row in claire.data("log")]
    assert told[1:] == ["project api begun: v2 is live", "task fix the login added to api"]
    assert len(claire.data("log", "-n", "1")) == 1
    assert claire.data("log", "--since", "2100-01-01") == []
    assert claire("conflicts") == "" and claire.data("conflicts") == []


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        ("task show 00000000", 3, "there is no task '00000000'. next: see `claire task list`"),
        ("task done nonsense", 3, "there is no task 'nonsense'"),
        ("project show web", 3, "there is no project 'web'"),
        ("session show nobody", 3, "there is no session 'nobody'"),
        ("task add api x --prio 7", 2, "priority 7 is not 0 to 4"),
        ("task add api x --prio -1", 2, "not a whole number"),
        ("task add web x", 3, "there is no project 'web'"),
        ("project new api", 5, "there is a project 'api' already"),
        ("log --since soon", 2, "'soon' is not a time"),
        ("broadcast api -- hello", 3, "no live session belongs to 'api'"),
        ("peer revoke nobody", 3, "there is no node 'nobody'"),
        ("group rm none", 3, "there is no group 'none'"),
        ("project merge api api", 2, "cannot be merged into itself"),
        ("assign 0000 s --group g", 2, "not both"),
        ("frobnicate", 2, "no such command"),
    ],
)
def test_bad_input_is_one_line_and_a_code(argv: str, code: int, said: str, claire: Claire) -> None:
    complaint = claire(*argv.split(), code=code)
    assert said in complaint and complaint.count("\n") == 1
    assert len(claire.data("log")) == 2, "nothing was written"


def test_an_ambiguous_prefix_lists_the_candidates(claire: Claire) -> None:
    from claire.node.tasks import TaskCreated

    project = claire.data("project", "list")[0]["id"]
    with Node(Home.from_env(claire.env)) as node, node.writing() as tx:
        for n in range(2):
            tx.record(TaskCreated(f"abcd{n}000-0000-4000-8000-000000000000", project, f"task {n}"))
    complaint = claire("task", "show", "abcd", code=3).splitlines()
    assert [line.split()[-1] for line in complaint[1:]] == ["0", "1"]
    assert claire.data("task", "show", "abcd1")["title"] == "task 1"


def _newer(home: Path) -> None:
    import sqlite3

    db = sqlite3.connect(home / "data" / "claire.db")
    db.execute("PRAGMA user_version = 999999")
    db.close()


def _garbage(home: Path) -> None:
    (home / "data" / "claire.db").write_bytes(b"this is no database" * 1000)
    (home / "data" / "claire.db-wal").unlink(missing_ok=True)


def _bad_settings(home: Path) -> None:
    (home / "config" / "claire.toml").write_text("port = 'many'\n")


@pytest.mark.parametrize(
    ("spoil", "argv", "code", "said"),
    [
        (_newer, "task add api x", 1, "written by a newer Claire"),
        (_garbage, "status", 1, "is damaged"),
        (_bad_settings, "init", 2, "claire.toml"),
    ],
)
def test_a_spoilt_home_is_explained(
    spoil: Callable[[Path], None], argv: str, code: int, said: str, claire: Claire
) -> None:
    spoil(Path(claire.env["CLAIRE_HOME"]))
    complaint = claire(*argv.split(), code=code)
    assert said in complaint and complaint.count("\n") == 1


def test_a_newer_database_can_still_be_read(claire: Claire) -> None:
    _newer(Path(claire.env["CLAIRE_HOME"]))
    assert claire.data("project", "list")[0]["name"] == "api"
    assert "written by a newer Claire" in claire.run(("status",), "", {}).stderr


def test_no_database_names_init(empty: Claire) -> None:
    assert empty("status", code=1).endswith("next: run `claire init`\n")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_folder_is_explained(claire: Claire) -> None:
    data = Path(claire.env["CLAIRE_HOME"]) / "data"
    data.chmod(0)
    try:
        assert "error: " in claire("status", code=1)
    finally:
        data.chmod(0o700)


def test_what_changed_since_i_left(claire: Claire) -> None:
    with Node(Home.from_env(claire.env)) as node:
        left_ms = node.now_ms()
    old = claire.data("task", "list")
    assert old == []
    task = claire.data("task", "add", "api", "fix the login")["id"]
    claire("task", "done", task)
    claire("decide", "api", "we keep Postgres")
    claire("project", "new", "web")
    claire("project", "edit", "web", "--status", "paused")
    claire.observe(session_uuid=SESSION, tmux_name="api-1")
    since = f"{max(1, -(-(1000 + _now_ms(claire) - left_ms) // 1000))}s"
    text = claire("diff", "--since", since)
    assert text.startswith("DONE 1\n") and "SESSIONS 1" in text and "we keep Postgres" in text
    assert re.search(r"^[0-9a-f]{8}  web +new, paused$", text, re.MULTILINE)
    assert claire.data("diff", "--since", since, "-p", "api")["tasks"][0]["changes"] == ["new", "done"]
    assert claire("diff", "--since", "2100-01-01") == "nothing changed\n"
    assert claire.data("status", "--at", "1h")["projects"] == []


def _now_ms(claire: Claire) -> int:
    with Node(Home.from_env(claire.env)) as node:
        return node.now_ms()


def test_the_log_is_followed_until_ctrl_c(claire: Claire) -> None:
    following = subprocess.Popen(
        [sys.executable, "-m", "claire", "log", "-f", "-n", "1", "--json"],
        cwd=ROOT, env=claire.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert following.stdout is not None
    assert json.loads(following.stdout.readline())["data"]["event_type"] == "project_created"
    claire("task", "add", "api", "fix the login")
    assert json.loads(following.stdout.readline())["data"]["told"] == "task fix the login added to api"
    following.send_signal(signal.SIGINT)
    _, err = following.communicate(timeout=PATIENCE_S)
    assert (following.returncode, err) == (130, "")
