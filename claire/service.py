"""The node as a service of the user: a systemd user unit on Linux, a launchd agent on macOS; no root."""

from __future__ import annotations

import os
import plistlib
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from claire.config import Home
from claire.node.errors import ClaireError, NotFound

UNIT = "claire.service"
LABEL = "dev.claire.node"
RESTART_S = 5
STOP_S_MAX = 10
COMMAND_S_MAX = 30
INSTEAD = "without a service: claire node"
UNREACHED = f"log in as this user, not by su, and repeat; {INSTEAD}"
KEPT = (  # of the environment of who installs it; the service manager's own has none of them
    "CLAIRE_HOME",
    "CLAIRE_LOG",
    "CLAUDE_CONFIG_DIR",
    "PATH",
    "TMUX_TMPDIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
)

Argv = tuple[str, ...]


class Service(msgspec.Struct, frozen=True):
    """One file, and the commands that make the service manager act on it."""

    path: Path
    content: bytes
    ask: Argv  # fails where no service manager of this user answers
    start: tuple[Argv, ...]
    stop: tuple[Argv, ...]
    status: Argv
    logs: str
    note: str = ""


def of_this_host(home: Home, env: Mapping[str, str]) -> Service:
    user_home = Path(env.get("HOME") or Path.home())
    kept = {name: env[name] for name in KEPT if name in env}
    if sys.platform == "darwin":
        return launchd(user_home, program(), kept, Path(home.state), os.getuid())
    config = Path(env.get("XDG_CONFIG_HOME") or user_home / ".config")
    return systemd(config, program(), kept)


def program() -> Argv:
    """What starts this Claire again: its script, or where there is none the interpreter and the module."""
    script = Path(sys.executable).with_name("claire")
    return (str(script), "node") if script.exists() else (sys.executable, "-m", "claire", "node")


def systemd(config: Path, argv: Argv, env: Mapping[str, str]) -> Service:
    lines = [
        "[Unit]",
        "Description=Claire node: what the Claude Code sessions of this host work on",
        "",
        "[Service]",
        "ExecStart=" + " ".join(map(_quoted, argv)),
        *(f"Environment={_quoted(f'{name}={value}')}" for name, value in sorted(env.items())),
        "Restart=on-failure",
        f"RestartSec={RESTART_S}",
        f"TimeoutStopSec={STOP_S_MAX}",
        "UMask=0077",
        "",
        "[Install]",
        "WantedBy=default.target",
    ]
    user = ("systemctl", "--user")
    return Service(
        path=config / "systemd" / "user" / UNIT,
        content="\n".join([*lines, ""]).encode(),
        ask=(*user, "show", "--property=Version"),
        start=((*user, "daemon-reload"), (*user, "enable", UNIT), (*user, "restart", UNIT)),
        stop=((*user, "disable", "--now", UNIT),),
        status=(*user, "is-active", UNIT),
        logs=f"journalctl --user -u {UNIT}",
        note="to keep it running while you are logged out: loginctl enable-linger",
    )


def _quoted(word: str) -> str:
    """One word of a unit file: quoted, with systemd's own specifiers and variables made plain text."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def launchd(user_home: Path, argv: Argv, env: Mapping[str, str], state: Path, uid: int) -> Service:
    log = str(state / "node.log")
    agent = {
        "Label": LABEL,
        "ProgramArguments": list(argv),
        "EnvironmentVariables": dict(sorted(env.items())),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": RESTART_S,
        "ExitTimeOut": STOP_S_MAX,
        "ProcessType": "Background",
        "StandardOutPath": log,
        "StandardErrorPath": log,
        "Umask": 0o077,
    }
    domain = f"gui/{uid}"
    path = user_home / "Library" / "LaunchAgents" / f"{LABEL}.plist"
    return Service(
        path=path,
        content=plistlib.dumps(agent),
        ask=("launchctl", "print", domain),
        start=(("launchctl", "bootstrap", domain, str(path)),),
        stop=(("launchctl", "bootout", f"{domain}/{LABEL}"),),
        status=("launchctl", "print", f"{domain}/{LABEL}"),
        logs=f"tail {log}",
    )


def install(service: Service) -> None:
    """Write the file and start the service; safe to repeat, a changed file restarts it."""
    _must(service.ask, "no service manager of this user answers here", UNREACHED)  # in a container, or after su
    service.path.parent.mkdir(parents=True, exist_ok=True)
    if sys.platform == "darwin" and service.path.exists():
        for argv in service.stop:  # launchd refuses to bootstrap what it already knows
            _run(argv)
    service.path.write_bytes(service.content)
    for argv in service.start:
        _must(argv)


def uninstall(service: Service) -> None:
    if not service.path.exists():
        raise NotFound(f"no service is installed at {service.path}")
    for argv in service.stop:
        _must(argv)
    service.path.unlink()


def status(service: Service) -> dict[str, object]:
    installed = service.path.exists()
    running = installed and _run(service.status).returncode == 0
    return {
        "id": service.path.name,
        "installed": installed,
        "running": running,
        "current": installed and service.path.read_bytes() == service.content,
        "path": str(service.path),
        "logs": service.logs,
    }


def _run(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_S_MAX, check=False)
    except FileNotFoundError:
        raise ClaireError(f"{argv[0]} is not installed: no service manager to ask", INSTEAD) from None
    except subprocess.TimeoutExpired:
        raise ClaireError(f"`{' '.join(argv)}` took more than {COMMAND_S_MAX} s", INSTEAD) from None


def _must(argv: Argv, what_failed: str = "", hint: str = INSTEAD) -> None:
    done = _run(argv)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise ClaireError(f"{what_failed or f'`{shlex.join(argv)}` failed'}: {said or done.returncode}", hint)
