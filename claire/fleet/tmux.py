"""The only caller of tmux: panes of every server of this user, their screens, a paste, one guarded Enter."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from claire.fleet import foreign
from claire.fleet.processes import terminal
from claire.fleet.screen import PROMPT_GLYPH

TIMEOUT_S = 5.0
SOCKETS_MAX = 64
PANES_MAX = 2_000
BUFFER_BYTES_MAX = 262_144

# Free text comes last: a session name may hold the separator, nothing before it can.
_FIELDS = (
    "pane_id",
    "pane_tty",
    "pane_pid",
    "pane_dead",
    "pane_in_mode",
    "pane_input_off",
    "pane_synchronized",
    "pane_width",
    "pid",
    "window_id",
    "session_name",
)
_FORMAT = "|".join(f"#{{{field}}}" for field in _FIELDS)


class TmuxError(Exception):
    """tmux is missing, its server does not answer, or it refused the command."""


class NoServer(TmuxError):
    """Nobody listens on this socket."""


@dataclass(frozen=True, slots=True)
class Pane:
    """A pane as its server described it; `id` alone means nothing without socket and server."""

    socket: str
    id: str
    tty: str
    device: int
    pid: int
    dead: bool
    in_mode: bool
    input_off: bool
    synchronized: bool
    width: int
    server_pid: int
    window_id: str
    session_name: str


def sockets(env: Mapping[str, str]) -> list[str]:
    """Sockets of this user's tmux servers, the current one first.

    Only where nobody else can put one: a tmux server may have whoever connects to it run a command.
    """
    folder = Path(env.get("TMUX_TMPDIR") or "/tmp") / f"tmux-{os.getuid()}"
    current = env.get("TMUX", "").split(",")[0]
    names = sorted(os.listdir(folder)) if _is_private(folder) else []
    paths = dict.fromkeys([current, *(str(folder / name) for name in names)])
    return [path for path in paths if path and is_our_socket(path)][:SOCKETS_MAX]


def _is_private(folder: Path) -> bool:
    """As tmux asks of it: our folder, closed to all others. In /tmp anybody may have made one of that name."""
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o007


def is_our_socket(path: str) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return False
    return stat.S_ISSOCK(found.st_mode) and found.st_uid == os.getuid()


def run(socket: str, *arguments: str, stdin: str | None = None) -> str:
    """One tmux command. `-u`: without it a C locale turns every other letter into `_`."""
    command = ["tmux", "-u", "-S", socket, *arguments]
    environment = {key: value for key, value in os.environ.items() if key not in ("TMUX", "TMUX_PANE")}
    try:
        result = subprocess.run(
            command,
            env=environment,
            input=(stdin or "").encode("utf-8", "replace"),
            capture_output=True,
            check=False,
            timeout=TIMEOUT_S,
        )
    except FileNotFoundError as error:
        raise TmuxError("tmux is not installed") from error
    except OSError as error:
        raise TmuxError(f"tmux does not start: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise TmuxError(f"tmux server {socket} did not answer in {TIMEOUT_S:g} s") from error
    if result.returncode != 0:
        words = result.stderr.decode("utf-8", "replace").strip()
        gone = words.startswith(("no server running", "error connecting", "server exited", "lost server"))
        raise (NoServer if gone else TmuxError)(words or f"tmux failed on {socket}")
    return result.stdout.decode("utf-8", "replace")


def panes(socket: str) -> list[Pane]:
    """Each pane once, also when several sessions share its window."""
    rows = run(socket, "list-panes", "-a", "-F", _FORMAT).splitlines()[:PANES_MAX]
    found = (parse_pane(socket, row) for row in rows)
    return list({pane.id: pane for pane in found if pane}.values())


def find_pane(socket: str, pane_id: str) -> Pane | None:
    """One pane by its id, asked anew; names are never used, they match by prefix."""
    return next((pane for pane in panes(socket) if pane.id == pane_id), None)


def parse_pane(socket: str, row: str) -> Pane | None:
    fields = row.split("|", len(_FIELDS) - 1)
    if len(fields) != len(_FIELDS) or not re.fullmatch(r"%\d+", fields[0]):
        return None
    pane_id, tty, pid, dead, mode, off, synchronized, width, server_pid, window, name = fields
    return Pane(
        socket=socket,
        id=pane_id,
        tty=tty,
        device=terminal(tty) if tty else 0,
        pid=int(pid or 0),
        dead=dead == "1",
        in_mode=mode not in ("", "0"),
        input_off=off == "1",
        synchronized=synchronized == "1",
        width=int(width or 0),
        server_pid=int(server_pid or 0),
        window_id=window,
        session_name=foreign.text(name),
    )


def capture(pane: Pane) -> str:
    return run(pane.socket, "capture-pane", "-p", "-t", pane.id)


def paste(pane: Pane, text: str) -> None:
    """As one bracketed paste, line feeds kept; the text travels on stdin, never in argv."""
    assert len(text.encode("utf-8", "replace")) <= BUFFER_BYTES_MAX
    buffer = f"claire-{uuid.uuid4().hex}"
    run(pane.socket, "load-buffer", "-b", buffer, "-", stdin=text)
    run(pane.socket, "paste-buffer", "-p", "-r", "-d", "-b", buffer, "-t", pane.id)


def press_enter(pane: Pane, wanted: str) -> bool:
    """Enter, if the server itself finds `wanted` in the composer and no dialog; once, or not at all.

    Test and key press are one step inside the server: nothing can come between them but a
    redraw of the program that has not happened yet.
    """
    conditions = [
        f"#{{==:#{{pid}},{pane.server_pid}}}",
        f"#{{==:#{{pane_pid}},{pane.pid}}}",
        "#{==:#{pane_dead},0}",
        "#{==:#{pane_in_mode},0}",
        "#{==:#{pane_input_off},0}",
        "#{==:#{pane_synchronized},0}",
        f"#{{C/r:^({PROMPT_GLYPH}|>|!)..?{_pattern(wanted)}}}",
        "#{==:#{C/r:Esc to cancel},0}",
        "#{==:#{C/r:Showing detailed transcript},0}",
    ]
    guard = conditions[0]
    for condition in conditions[1:]:
        guard = f"#{{&&:{guard},{condition}}}"
    press = f"send-keys -t {pane.id} Enter ; display-message -p pressed"
    answer = run(pane.socket, "if-shell", "-F", "-t", pane.id, guard, press, "display-message -p refused")
    return answer.strip() == "pressed"


def _pattern(text: str) -> str:
    """A regular expression that tmux's format language cannot misread, in any locale of its server."""
    plain = re.sub(r"[^\x00-\x7f]+", "\x7f", text)
    safe = re.sub(r"[^A-Za-z0-9 \x7f]", ".", plain)
    return safe.replace("\x7f", ".+")
