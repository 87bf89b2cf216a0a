"""Installing hooks: others' entries untouched, nothing done twice, everything undone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from claire.config import Home
from claire.fleet import hooks, processes
from claire.fleet.reports import Spool
from claire.node.errors import Refused
from tests.fleet.kit import FakeHost, wait_for

OTHERS = """{
    "model": "opus",
    "env": {"A": "1", "B": "\\u00e9"},
    "hooks": {
        "Stop": [
            {"matcher": "", "hooks": [{"type": "command", "command": "say done"}]}
        ],
        "PreToolUse": [{"hooks": [{"type": "command", "command": "/other/tool", "args": ["x"]}]}]
    },
    "permissions": {"allow": ["Bash(ls)"], "deny": []}
}
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.from_env({"CLAIRE_HOME": str(tmp_path / "claire node")})


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "config").mkdir()
    return {"HOME": str(tmp_path), "CLAUDE_CONFIG_DIR": str(tmp_path / "config")}


def settings(env: dict[str, str]) -> Path:
    return Path(env["CLAUDE_CONFIG_DIR"]) / "settings.json"


def install(env: dict[str, str], home: Home) -> list[hooks.Change]:
    return hooks.apply(hooks.changes(env, home, install=True))


def uninstall(env: dict[str, str], home: Home) -> list[hooks.Change]:
    return hooks.apply(hooks.changes(env, home, install=False))


def without_ours(value: Any, home: Home) -> Any:
    if isinstance(value, dict):
        return {key: without_ours(inner, home) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_ours(inner, home) for inner in value if not _is_our_group(inner, home)]
    return value


def _is_our_group(value: Any, home: Home) -> bool:
    return isinstance(value, dict) and any(hooks.is_ours(one, home) for one in value.get("hooks", []))


def test_into_an_empty_home_and_out_again(env: dict[str, str], home: Home) -> None:
    [change] = install(env, home)
    assert change.before == ""
    assert settings(env).stat().st_mode & 0o777 == 0o600
    assert set(json.loads(settings(env).read_text())["hooks"]) == set(hooks.EVENTS)
    assert hooks.status(env, home)[0]["state"] == "installed"
    uninstall(env, home)
    assert json.loads(settings(env).read_text()) == {}
    assert hooks.status(env, home)[0]["state"] == "not installed"


@pytest.mark.parametrize("text", [OTHERS, OTHERS.replace("\n", "\r\n"), json.dumps(json.loads(OTHERS)), '{"hooks":{}}'])
def test_others_stay_to_the_byte(env: dict[str, str], home: Home, text: str) -> None:
    settings(env).write_bytes(text.encode())
    settings(env).chmod(0o644)
    install(env, home)
    value = json.loads(settings(env).read_bytes())
    before = json.loads(text)
    assert {**without_ours(value, home), "hooks": None} == {**before, "hooks": None}
    for event, groups in before["hooks"].items():
        assert without_ours(value["hooks"][event], home) == groups
    assert settings(env).stat().st_mode & 0o777 == 0o644
    uninstall(env, home)
    if before["hooks"]:
        assert settings(env).read_bytes() == text.encode()


def test_line_ends_are_those_of_the_file(env: dict[str, str], home: Home) -> None:
    settings(env).write_bytes(OTHERS.replace("\n", "\r\n").encode())
    install(env, home)
    assert settings(env).read_bytes().replace(b"\r\n", b"").count(b"\n") == 0


def test_twice_is_once(env: dict[str, str], home: Home) -> None:
    settings(env).write_text(OTHERS)
    install(env, home)
    text = settings(env).read_bytes()
    assert install(env, home) == []
    assert settings(env).read_bytes() == text


def test_a_dry_run_shows_and_writes_nothing(env: dict[str, str], home: Home) -> None:
    settings(env).write_text(OTHERS)
    [change] = hooks.changes(env, home, install=True)
    assert settings(env).read_text() == OTHERS
    assert "+" in change.diff and "claire/fleet/spool.py" in change.diff


def test_an_older_installation_is_replaced(env: dict[str, str], home: Home) -> None:
    install(env, home)
    text = settings(env).read_text()
    words = hooks.command(home).split(" ")
    settings(env).write_text(text.replace(words[0], "/old/venv/bin/python"))
    assert hooks.status(env, home)[0]["state"] == "incomplete"
    install(env, home)
    assert json.loads(settings(env).read_text()) == json.loads(text)


def test_two_nodes_on_one_host(env: dict[str, str], home: Home, tmp_path: Path) -> None:
    other = Home.from_env({"CLAIRE_HOME": str(tmp_path / "other")})
    install(env, home)
    text = settings(env).read_text()
    install(env, other)
    assert hooks.status(env, home)[0]["state"] == hooks.status(env, other)[0]["state"] == "installed"
    uninstall(env, other)
    assert settings(env).read_text() == text


@pytest.mark.parametrize(
    "text",
    ["// mine\n{}", '{"hooks": []}', '{"hooks": {"Stop": {}}}', "[]", '{"a":1,"a":2}', '{"hooks"', "\ufeff{}", "42"],
)
def test_a_bent_file_is_refused_and_left_alone(env: dict[str, str], home: Home, text: str) -> None:
    settings(env).write_text(text)
    with pytest.raises(Refused):
        install(env, home)
    assert settings(env).read_text() == text
    assert [path.name for path in settings(env).parent.iterdir()] == ["settings.json"]


def test_odd_but_legal_groups_are_left_alone(env: dict[str, str], home: Home) -> None:
    odd = {"hooks": {"Stop": [1, "x", None, {"hooks": "?"}, {"hooks": [5, {"command": 3}, {"command": "'"}]}]}}
    settings(env).write_text(json.dumps(odd))
    install(env, home)
    uninstall(env, home)
    assert json.loads(settings(env).read_text()) == odd


def test_one_backup(env: dict[str, str], home: Home) -> None:
    settings(env).write_text(OTHERS)
    install(env, home)
    uninstall(env, home)
    install(env, home)
    backups = list(settings(env).parent.glob(f"*{hooks.BACKUP}*"))
    assert len(backups) == 1 and backups[0].read_text() == OTHERS


def test_a_link_stays_a_link(env: dict[str, str], home: Home, tmp_path: Path) -> None:
    dotfiles = tmp_path / "dotfiles"
    dotfiles.mkdir()
    (dotfiles / "claude.json").write_text(OTHERS)
    settings(env).symlink_to(dotfiles / "claude.json")
    install(env, home)
    assert settings(env).is_symlink()
    assert "spool.py" in (dotfiles / "claude.json").read_text()


def test_two_homes_that_share_their_settings(env: dict[str, str], home: Home, tmp_path: Path) -> None:
    settings(env).write_text(OTHERS)
    second = tmp_path / ".claude"
    second.mkdir()
    (second / "settings.json").symlink_to(settings(env))
    assert len(install({**env, "HOME": str(tmp_path)}, home)) == 1
    assert len(hooks.status({**env, "HOME": str(tmp_path)}, home)) == 1


def test_a_link_to_nowhere(env: dict[str, str], home: Home, tmp_path: Path) -> None:
    settings(env).symlink_to(tmp_path / "none" / "settings.json")
    with pytest.raises(Refused, match="link"):
        install(env, home)


def test_hooks_that_are_switched_off_are_not_said_to_run(env: dict[str, str], home: Home) -> None:
    settings(env).write_text('{"disableAllHooks": true}')
    assert hooks.status(env, home)[0]["state"] == "not installed"
    install(env, home)
    assert hooks.status(env, home)[0]["state"] == "switched off"


def test_a_file_that_changed_meanwhile(env: dict[str, str], home: Home) -> None:
    settings(env).write_text(OTHERS)
    planned = hooks.changes(env, home, install=True)
    settings(env).write_text("{}")
    with pytest.raises(Refused):
        hooks.apply(planned)
    assert settings(env).read_text() == "{}"


def test_the_fake_runs_them(host: FakeHost, home: Home) -> None:
    os.makedirs(home.state)
    install({**host.env, "HOME": str(host.root)}, home)
    pane = host.start_idle()
    watched = Spool(os.path.join(home.state, "hooks.ndjson"))
    process = processes.find(pane.pid)
    assert process
    wait_for(lambda: watched.read().started(process.pid, process.start), "SessionStart")
    pane.submit("RUNBASH")
    pane.wait_screen("Tab to amend")
    wait_for(lambda: watched.read().claims[pane.session_id].state == "permission", "PermissionRequest")
