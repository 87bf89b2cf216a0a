"""`claire service` against a `systemctl` that only writes down what it is asked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="drives systemctl; tests/test_service.py has launchd")


def claire(tmp_path: Path, *argv: str) -> "subprocess.CompletedProcess[str]":
    double = tmp_path / "bin" / "systemctl"
    double.parent.mkdir(exist_ok=True)
    double.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n[ ! -e {tmp_path}/down ] || exit 1\n')
    double.chmod(0o755)
    env = {name: value for name, value in os.environ.items() if name != "XDG_CONFIG_HOME"}
    env |= {"PATH": f"{double.parent}:/usr/bin:/bin", "HOME": str(tmp_path), "CLAIRE_HOME": str(tmp_path / "n")}
    command = [sys.executable, "-m", "claire", "service", *argv]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_install_status_uninstall(tmp_path: Path) -> None:
    unit = tmp_path / ".config" / "systemd" / "user" / "claire.service"
    assert claire(tmp_path, "status").stdout == "the service is not installed\n"
    done = claire(tmp_path, "install")
    assert (done.returncode, str(unit) in done.stdout, "enable-linger" in done.stderr) == (0, True, True)
    assert f'Environment="CLAIRE_HOME={tmp_path}/n"' in unit.read_text()
    state = json.loads(claire(tmp_path, "status", "--json").stdout)["data"]
    assert (state["installed"], state["running"], state["current"]) == (True, True, True)
    assert claire(tmp_path, "uninstall").returncode == 0
    assert not unit.exists()
    assert claire(tmp_path, "uninstall").returncode == 3


def test_without_a_service_manager_it_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "down").touch()
    done = claire(tmp_path, "install")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "claire node" in done.stderr
