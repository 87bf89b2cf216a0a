"""Registry files: tolerant parsing, liveness, reading only what changed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from claire.fleet import claude, processes
from tests.fleet.kit import CAPTURES, FakeHost, needs_kit, wait_for

UUID = "11111111-2222-3333-4444-555555555555"


@needs_kit
def test_the_captured_registry() -> None:
    entry = claude.parse_entry((CAPTURES / "registry_2.1.330.json").read_text(), "/home/dev/.claude")
    assert entry and (entry.pid, entry.status, entry.pane_at_start) == (31011, "idle", "%2")
    assert (entry.name, entry.name_by_user, entry.headless) == ("project-e4", False, False)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "42", "null", "{}", '{"pid":1}', f'{{"pid":"1","sessionId":"{UUID}"}}'),
        *('{"pid":1,"sessionId":"../../etc"}', f'{{"pid":true,"sessionId":"{UUID}"}}'),
    ],
)
def test_what_is_no_entry(text: str) -> None:
    assert claude.parse_entry(text) is None


def test_odd_fields_are_empty_not_errors() -> None:
    entry = claude.parse_entry(json.dumps({"pid": 7, "sessionId": UUID, "cwd": 3, "tmux": "a:b.c", "status": []}))
    assert entry == claude.Entry(7, UUID)


def test_headless_runs_are_told_by_their_entrypoint() -> None:
    for entrypoint, kind, headless in [
        ("cli", "interactive", False),
        ("sdk-cli", "interactive", True),
        ("cli", "bg", False),
        ("cli", "bg-spare", True),
    ]:
        row = {"pid": 7, "sessionId": UUID, "entrypoint": entrypoint, "kind": kind}
        entry = claude.parse_entry(json.dumps(row))
        assert entry and entry.headless is headless


def registry_file(home: Path, pid: int, **fields: object) -> Path:
    (home / "sessions").mkdir(parents=True, exist_ok=True)
    path = home / "sessions" / f"{pid}.json"
    path.write_text(json.dumps({"pid": pid, "sessionId": UUID, **fields}))
    return path


def test_reading_again_what_changed(tmp_path: Path) -> None:
    registry = claude.Registry()
    path = registry_file(tmp_path, 7, status="idle")
    (tmp_path / "sessions" / "pid-7.json").write_text("{}")
    (tmp_path / "sessions" / "7.abc.key").write_text("secret")
    assert [entry.status for entry in registry.read([tmp_path])] == ["idle"]
    path.write_text(json.dumps({"pid": 7, "sessionId": UUID, "status": "busy"}))
    assert [entry.status for entry in registry.read([tmp_path])] == ["busy"]
    path.unlink()
    assert registry.read([tmp_path, tmp_path / "absent"]) == []


def test_liveness_is_pid_and_start_time() -> None:
    me = processes.find(os.getpid())
    assert me
    assert claude.alive(claude.Entry(me.pid, UUID, proc_start=me.start), me)
    assert not claude.alive(claude.Entry(me.pid, UUID, proc_start=me.start), None)
    assert not claude.alive(claude.Entry(me.pid, UUID, proc_start="1"), me)
    assert not claude.alive(claude.Entry(me.pid, UUID), me)  # no start time, and this is no claude


@pytest.mark.parametrize(
    ("domain", "here"),
    [
        ("linux:m1:pid:[1]", True),
        ("linux::pid:[1]", True),
        ("linux:m1:pid:[2]", False),
        ("linux:m2:pid:[1]", False),
        ("linux:", False),
        ("", True),
    ],
)
def test_pids_of_containers_and_other_machines(domain: str, here: bool) -> None:
    assert claude.written_here(claude.Entry(1, UUID, pid_domain=domain), "linux:m1:pid:[1]") is here


def test_a_command_name_may_hold_brackets() -> None:
    fields = " ".join(["S", "1", "1", "1", str(136 << 8 | 3), *["0"] * 14, "4711", "0"])
    process = processes.parse_stat(5, f"5 (a) b) {fields}")
    assert process == processes.Process(5, "4711", os.makedev(136, 3), 1)
    assert processes.parse_stat(5, "5 (x") is None


def test_config_homes(tmp_path: Path) -> None:
    for name in (".claude", "work"):
        (tmp_path / name).mkdir()
    env = {"HOME": str(tmp_path), "CLAUDE_CONFIG_DIR": str(tmp_path / "work")}
    more = [str(tmp_path / ".claude"), str(tmp_path / "absent")]
    assert claude.config_homes(env, more) == [tmp_path / "work", tmp_path / ".claude"]


def test_the_fake_lives_and_dies(host: FakeHost) -> None:
    pane = host.start_idle()
    registry = claude.Registry()
    [entry] = registry.read([host.config])
    assert claude.alive(entry, processes.find(entry.pid))
    os.kill(pane.pid, signal.SIGKILL)
    wait_for(lambda: processes.find(entry.pid) is None, "the end of claude")
    [stale] = registry.read([host.config])
    assert not claude.alive(stale, processes.find(stale.pid))


@pytest.mark.parametrize(
    ("argv", "shows"),
    [
        (["claude", "attach", "9d088b46"], True),
        (["/usr/bin/node", "/opt/claude-code/cli.js", "agents"], True),
        (["claude", "-n", "agents"], False),
        (["claude", "--resume", UUID], False),
        (["claude"], False),
    ],
)
def test_windows_onto_other_sessions_are_none(argv: list[str], shows: bool) -> None:
    assert claude.runs_claude(argv) and claude.shows_another(argv) is shows
