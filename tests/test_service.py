"""The unit and the agent as files, and the service manager as a double: neither runs on a test machine."""

from __future__ import annotations

import plistlib
from pathlib import Path

import pytest

from claire import service
from claire.node.errors import ClaireError, NotFound

UNIT = """\
[Unit]
Description=Claire node: what the Claude Code sessions of this host work on

[Service]
ExecStart="/opt/my apps/claire" "node"
Environment="CLAIRE_HOME=/home/ada/100%% \\"mine\\" $$x"
Environment="PATH=/usr/bin"
Restart=on-failure
RestartSec=5
TimeoutStopSec=10
UMask=0077

[Install]
WantedBy=default.target
"""


def test_the_unit_file(tmp_path: Path) -> None:
    env = {"PATH": "/usr/bin", "CLAIRE_HOME": '/home/ada/100% "mine" $x'}
    unit = service.systemd(tmp_path, ("/opt/my apps/claire", "node"), env)
    assert unit.content.decode() == UNIT
    assert unit.path == tmp_path / "systemd" / "user" / "claire.service"


def test_the_agent_file(tmp_path: Path) -> None:
    agent = service.launchd(tmp_path, ("/opt/claire", "node"), {"PATH": "/usr/bin"}, tmp_path / "state", 501)
    assert agent.path == tmp_path / "Library" / "LaunchAgents" / "dev.claire.node.plist"
    assert plistlib.loads(agent.content) == {
        "Label": "dev.claire.node",
        "ProgramArguments": ["/opt/claire", "node"],
        "EnvironmentVariables": {"PATH": "/usr/bin"},
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 5,
        "ExitTimeOut": 10,
        "ProcessType": "Background",
        "StandardOutPath": str(tmp_path / "state" / "node.log"),
        "StandardErrorPath": str(tmp_path / "state" / "node.log"),
        "Umask": 0o077,
    }
    assert agent.start == (("launchctl", "bootstrap", "gui/501", str(agent.path)),)


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `systemctl` that writes down what it is asked, and fails where a file says so."""
    double = tmp_path / "bin" / "systemctl"
    double.parent.mkdir()
    fails = f"if [ -e {tmp_path}/down ]; then echo no bus >&2; exit 1; fi"
    double.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{fails}\n')
    double.chmod(0o755)
    monkeypatch.setenv("PATH", str(double.parent), prepend=":")
    return tmp_path / "calls"


def test_install_status_uninstall(tmp_path: Path, calls: Path) -> None:
    unit = service.systemd(tmp_path, ("/opt/claire", "node"), {})
    assert service.status(unit)["installed"] is False
    service.install(unit)
    service.install(unit)
    assert unit.path.read_bytes() == unit.content
    shown = service.status(unit)
    assert (shown["installed"], shown["running"], shown["current"]) == (True, True, True)
    service.uninstall(unit)
    assert not unit.path.exists()
    started = ["show --property=Version", "daemon-reload", "enable claire.service", "restart claire.service"]
    asked = [*started, *started, "is-active claire.service", "disable --now claire.service"]
    assert calls.read_text().splitlines() == [f"--user {words}" for words in asked]
    with pytest.raises(NotFound):
        service.uninstall(unit)


def test_no_bus_is_said_in_one_line(tmp_path: Path, calls: Path) -> None:
    (tmp_path / "down").touch()
    unit = service.systemd(tmp_path, ("/opt/claire", "node"), {})
    with pytest.raises(ClaireError, match=r"no service manager of this user answers here: no bus"):
        service.install(unit)
    assert not unit.path.exists()  # nothing is left that `claire service status` would call installed
