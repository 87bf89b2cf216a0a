"""`claire watch`: the board in a terminal, redrawn when something changed; or its changes as NDJSON."""

from __future__ import annotations

import base64
import os
import re
import select
import signal
import sys
import termios
import time
import tty

from claire.node import names, tasks
from claire.node.errors import ClaireError, UsageError
from claire.ui import text
from claire.ui.cli import show
from claire.ui.cli.board import Board
from claire.ui.cli.context import Context, Result, View, write
from claire.ui.cli.status import gather

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import NoReturn

    from claire.node.rows import Row

LOOK_S = 1.0  # also how often ages move on
HEARTBEAT_S = 15.0
OPEN_TASKS_MAX = 200
KEY_BYTES_MAX = 64

ENTER_SCREEN = "\x1b[?1049h\x1b[?25l"
LEAVE_SCREEN = "\x1b[?25h\x1b[?1049l"

KEY = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Z]|.", re.DOTALL)
ESCAPES = {
    "\x1b[A": "up", "\x1bOA": "up", "\x1b[B": "down", "\x1bOB": "down", "\x1b[5~": "pageup", "\x1b[6~": "pagedown",
    "\x1b[H": "g", "\x1b[F": "G", "\r": "enter", "\n": "enter", "\x1b": "esc", "\x7f": "backspace", "\x08": "backspace",
}  # fmt: skip


def watch(ctx: Context, project: str | None, group: str | None) -> Result:
    if ctx.json:
        _stream(ctx, project, group)
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout and sys.stdout.isatty()):
        raise UsageError("claire watch needs a terminal", "claire status, claire log -f or claire watch --json")
    with _Screen(sys.stdin.fileno()) as screen:
        _live(ctx, screen, project, group)
    return Result(None, [])


def _look(ctx: Context, project: str | None, group: str | None) -> Row:
    with ctx.node.reading() as db:
        data = gather(db, ctx.node.machine_id, ctx.now_ms(), project, group)
        shown = {row["id"] for row in data["projects"]}
        known = names.of_projects(db)
        found = tasks.list_tasks(db, limit=OPEN_TASKS_MAX)
    data["open_tasks"] = [
        {**row, "project": known.get(row["project_id"], "")}
        for row in found
        if row["status"] in ("todo", "in_progress") and (project is None or row["project_id"] in shown)
    ]
    return data


def _live(ctx: Context, screen: _Screen, project: str | None, group: str | None) -> None:
    board, drawn, version = Board(), ("", 0), -1
    while True:
        view = ctx.view()
        current = _version(ctx)
        if current != version:
            board.feed(_look(ctx, project, group))
            version = current
        painted = _painted(board, view), screen.taken
        if painted != drawn:
            write(painted[0])
            drawn = painted
        for key in _keys(LOOK_S):
            action = board.key(key, view)
            if action is not None and action[0] == "quit":
                return
            if action is not None:
                _act(ctx, board, view, *action)


def _version(ctx: Context) -> int:
    """Moves with every commit of another connection, and there is no other here but for writing."""
    with ctx.node.reading() as db:
        found: int = db.execute("PRAGMA data_version").fetchone()[0]
    return found


def _painted(board: Board, view: View) -> str:
    """The screen from the top, each line cleared behind its end, nothing left below."""
    height = os.get_terminal_size(sys.stdout.fileno()).lines or 24
    lines = text.paint(board.draw(view, height), view.colour).splitlines()
    screen = "\x1b[H" + "\x1b[K\n".join(lines) + "\x1b[K\x1b[J"
    return screen.translate(text.ASCII) if view.plain_ascii else screen


def _act(ctx: Context, board: Board, view: View, what: str, of: str) -> None:
    try:
        if what == "done":
            row = tasks.set_status(ctx.node, of, "done")
            board.message = f"done {text.short(row['id'])} {text.first_line(row['title'])}"
        elif what == "open":
            board.open(_detail(ctx, view, *of.split(" ", 1)))
        elif what == "copy":
            write(f"\x1b]52;c;{base64.b64encode(of.encode()).decode()}\x07")
    except ClaireError as error:
        board.message = f"error: {error}"


def _detail(ctx: Context, view: View, kind: str, id: str) -> list[text.Line]:
    from claire.ui.cli import sessions

    result = show.task(ctx, id, False) if kind == "task" else sessions.show(ctx, id)
    drawn = result.show(view) if callable(result.show) else result.show
    return [[(line, "")] if isinstance(line, str) else line for line in drawn]


def _keys(wait_s: float) -> list[str]:
    """The keys pressed, as soon as there are any; none when the time is over."""
    fd = sys.stdin.fileno()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})
    try:
        pressed_any = bool(select.select([fd], [], [], wait_s)[0])
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})
    if not pressed_any:
        return []
    pressed = os.read(fd, KEY_BYTES_MAX).decode(errors="ignore")
    if not pressed:
        return ["q"]  # the terminal is gone
    return [ESCAPES.get(key, key) for key in KEY.findall(pressed)]


class _Screen:
    """The terminal's other screen, keys unbuffered; given back however this ends, and while suspended.

    Ctrl-Z is heard only while waiting for keys, where nothing is half-written.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.before = termios.tcgetattr(fd)
        self.taken = 0  # how often; what was drawn before the last time is gone

    def __enter__(self) -> _Screen:
        self.handlers = {
            signal.SIGTSTP: signal.signal(signal.SIGTSTP, self._suspend),
            **{number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)},
        }
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})

    def _take(self) -> None:
        tty.setcbreak(self.fd)
        write(ENTER_SCREEN)
        self.taken += 1

    def _give_back(self) -> None:
        write(LEAVE_SCREEN)
        termios.tcsetattr(self.fd, termios.TCSADRAIN, self.before)

    def _suspend(self, _number: int, _frame: FrameType | None) -> None:
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _stream(ctx: Context, project: str | None, group: str | None) -> NoReturn:
    """`reset` with everything, then `upsert` and `remove` as things change, `heartbeat` when nothing does."""
    known: dict[str, Row] | None = None
    version, last = -1, time.monotonic()
    while True:
        current = _version(ctx)
        if current != version:
            version = current
            data = _look(ctx, project, group)
            rows = {row["id"]: row for part in ("sessions", "blocked_tasks", "open_tasks") for row in data[part]}
            for change in _changes(known, rows):
                ctx.print(change, [])
                last = time.monotonic()
            known = rows
        if time.monotonic() - last > HEARTBEAT_S:
            ctx.print({"op": "heartbeat", "at_ms": ctx.now_ms()}, [])
            last = time.monotonic()
        time.sleep(LOOK_S)


def _changes(known: dict[str, Row] | None, rows: dict[str, Row]) -> Iterator[Row]:
    if known is None:
        yield {"op": "reset", "rows": list(rows.values())}
        return
    for id, row in rows.items():
        if known.get(id) != row:
            yield {"op": "upsert", "row": row}
    for id in known.keys() - rows.keys():
        yield {"op": "remove", "id": id}
