"""What a command gets (`Context`) and what it gives back (`Result`).

The node, the settings and the wiring are opened at first use: a command pays for what it touches.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType
    from typing import Any

    from claire.config import Home, Settings
    from claire.node.node import Node
    from claire.ui.text import Line, Span

    Show = Callable[["View"], Iterable[Line | str]]

COLUMNS_DEFAULT = 80
UPGRADE_NOTE_EVENTS = 50_000
STDIN_BYTES_MAX = 64 * 1024  # what an event holds


class View:
    """How wide and how colourful the reader's terminal is, and what time it is there."""

    __slots__ = ("colour", "now_ms", "plain_ascii", "width")

    def __init__(self, width: int | None, colour: bool, plain_ascii: bool, now_ms: int) -> None:
        self.width, self.colour, self.plain_ascii, self.now_ms = width, colour, plain_ascii, now_ms

    def at(self, now_ms: int) -> View:
        """The same terminal at another time."""
        return View(self.width, self.colour, self.plain_ascii, now_ms)


class Result:
    """`data` for `--json`; `show` draws it for people (a function of the view, or lines); notes go to
    stderr; the code is the exit code."""

    __slots__ = ("code", "data", "notes", "show")

    def __init__(
        self, data: Any, show: Show | Iterable[Line | str], *, notes: Iterable[str] = (), code: int = 0
    ) -> None:
        self.data, self.show, self.notes, self.code = data, show, notes, code


class Context:
    """One run of one command."""

    def __init__(self, env: Mapping[str, str], wiring: Callable[[], ModuleType], json: bool) -> None:
        self.env, self.json = env, json
        self._wiring = wiring
        self._node: Node | None = None

    @property
    def wiring(self) -> ModuleType:
        """claire.wiring: what a command may ask of the network, the fleet and the daemon."""
        return self._wiring()

    @property
    def home(self) -> Home:
        from claire.config import Home

        return Home.from_env(self.env)

    @property
    def settings(self) -> Settings:
        from claire.config import Settings

        return Settings.load(self.home, self.env)

    @property
    def node(self) -> Node:
        if self._node is None:
            from claire.node.node import Node

            self._node = Node(self.home, progress=self.upgrading)
        return self._node

    @property
    def read_only(self) -> list[str]:
        """Why nothing can be written here, where that is so and somebody looked."""
        why = None if self._node is None else self._node.read_only
        return [] if why is None else [f"read only: {why}"]

    def task(self, ref: str | None) -> str:
        """What was said, or the task of the session this runs in."""
        if ref is not None:
            return ref
        from claire.ui.cli import current

        return current.task(self.node, self.env)

    def session(self, ref: str | None) -> str:
        """What was said, or the session this runs in."""
        if ref is not None:
            return ref
        from claire.ui.cli import current

        return str(current.session(self.node, self.env)["id"])

    def long_text(self, said: str | None) -> str | None:
        """What was said; `-` is what comes on standard input."""
        if said != "-" or sys.stdin is None:
            return said
        from claire.node.errors import UsageError

        try:
            text = sys.stdin.buffer.read(STDIN_BYTES_MAX + 1).decode()
        except UnicodeDecodeError:
            raise UsageError("standard input is not UTF-8 text") from None
        if len(text) > STDIN_BYTES_MAX:
            raise UsageError(f"standard input is longer than {STDIN_BYTES_MAX // 1024} KiB")
        return text.strip()

    def close(self) -> None:
        if self._node is not None:
            self._node.close()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def view(self) -> View:
        return View(columns(self.env), colour_wanted(self.env), not _stdout_speaks_utf8(), self.now_ms())

    def print(self, data: Any, show: Show | Iterable[Line | str]) -> None:
        """Print now: one JSON envelope, or the lines. The only way anything reaches stdout."""
        write(json_envelope(data) if self.json else self.drawn(show))

    def drawn(self, show: Show | Iterable[Line | str]) -> str:
        from claire.ui import text

        view = self.view()
        painted = text.paint(show(view) if callable(show) else show, view.colour)
        return painted.translate(text.ASCII) if view.plain_ascii else painted

    def upgrading(self, folded: int) -> None:
        """A short replay says nothing."""
        if folded % UPGRADE_NOTE_EVENTS == 0:
            self.note(f"upgrading this database: {folded:,} events read")

    def note(self, line: str | Line | list[Span]) -> None:
        from claire.ui import text

        if sys.stderr is not None:
            print(text.paint([line], False), end="", file=sys.stderr, flush=True)


def json_envelope(data: Any) -> str:
    from msgspec.json import encode

    from claire.ui.text import json_safe

    return json_safe(encode({"schema_version": 1, "data": data}).decode()) + "\n"


def write(text: str) -> None:
    """To stdout, whatever encoding it speaks: what it cannot say is spelt out."""
    out = sys.stdout
    if out is None:
        return
    try:
        out.write(text.encode(out.encoding, "backslashreplace").decode(out.encoding))
        out.flush()
    except OSError:
        # The reader is gone or the disk full; the interpreter must not try once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        raise


def _stdout_speaks_utf8() -> bool:
    return sys.stdout is None or "utf" in sys.stdout.encoding.lower()


def columns(env: Mapping[str, str]) -> int | None:
    """The reader's width; none where output goes into a pipe and nobody said how wide."""
    from claire.ui.text import WIDTH_MAX, WIDTH_MIN

    told = env.get("COLUMNS", "")
    if told.isascii() and told.isdecimal() and int(told[:6]) > 0:
        width = int(told[:6])
    elif sys.stdout is not None and sys.stdout.isatty():
        width = os.get_terminal_size(sys.stdout.fileno()).columns or COLUMNS_DEFAULT
    else:
        return None
    return max(WIDTH_MIN, min(width, WIDTH_MAX))


def colour_wanted(env: Mapping[str, str]) -> bool:
    """NO_COLOR, then CLICOLOR_FORCE, then CLICOLOR=0, then whether somebody is looking."""
    if env.get("NO_COLOR"):
        return False
    if env.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    if env.get("CLICOLOR") == "0" or env.get("TERM") == "dumb":
        return False
    return sys.stdout is not None and sys.stdout.isatty()
