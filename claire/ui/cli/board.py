"""The live table of `claire watch`: what is on it, what a key does, how it is drawn; pure."""

from __future__ import annotations

from claire.node import sessions as nouns
from claire.ui import text
from claire.ui.cli import sessions
from claire.ui.cli.status import as_of, summary, task_of, waits_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claire.node.rows import Row
    from claire.ui.cli.context import View
    from claire.ui.text import Line, Span

    Action = tuple[str, str]

NEEDS, SESSIONS, TASKS = "NEEDS YOU", "SESSIONS", "OPEN TASKS"
HEAD = ["", "", "", "*", "??", "*?", "???"]
HINTS = "j/k move  / filter  Enter open  d done  y copy command  ? keys  q quit"
KEYS = [
    "j k ↑ ↓      move; g G to the ends",
    "/            filter as you type; Enter keeps it, Esc clears it",
    "Enter o      open what the cursor is on; Esc goes back",
    "d            mark its task done (asks)",
    "y            copy the command that shows it",
    "?            this page",
    "q Ctrl-C     quit",
]


class Item:
    """One row one can stand on: a session or a task."""

    __slots__ = ("cells", "command", "id", "kind", "part", "task_id", "title")

    def __init__(self, part: str, kind: str, id: str, cells: list[str | Span], task_id: str | None, title: str) -> None:
        self.part, self.kind, self.id, self.cells = part, kind, id, cells
        self.task_id, self.title = task_id, title
        self.command = f"claire {kind} show {text.short(id)}"


class Board:
    """The cursor stays on its thing, wherever that moves to."""

    def __init__(self) -> None:
        self.data: Row = {}
        self.cursor = ""
        self.filter = ""
        self.mode = "table"  # table, filter, keys, confirm, detail
        self.detail: list[Line] = []
        self.top = 0  # of the detail
        self.message = ""

    def open(self, detail: list[Line]) -> None:
        self.detail, self.top, self.mode = detail, 0, "detail"

    def feed(self, data: Row) -> None:
        self.data = data

    def items(self, view: View) -> list[Item]:
        found = [*_needs(self.data, view), *_sessions(self.data, view), *_tasks(self.data, view)]
        wanted = self.filter.lower()
        return [i for i in found if wanted in " ".join(c if isinstance(c, str) else c[0] for c in i.cells).lower()]

    def current(self, view: View) -> Item | None:
        items = self.items(view)
        return next((i for i in items if i.id == self.cursor), items[0] if items else None)

    def key(self, key: str, view: View) -> Action | None:
        """What the key asks for beyond the board: quit, open, done or copy, and of what."""
        self.message = ""
        if self.mode == "filter":
            self._filter_key(key)
            return None
        if self.mode == "confirm":
            self.mode = "table"
            item = self.current(view)
            return ("done", item.task_id) if key == "y" and item and item.task_id else None
        if self.mode == "detail" and key in MOVES:
            self.top = max(0, min(len(self.detail) - 1, self.top + MOVES[key]))
            return None
        if self.mode in ("keys", "detail"):
            self.mode = "table"
            return None
        return self._table_key(key, view)

    def _filter_key(self, key: str) -> None:
        if key in ("enter", "esc"):
            self.filter = "" if key == "esc" else self.filter
            self.mode = "table"
        elif key == "backspace":
            self.filter = self.filter[:-1]
        elif len(key) == 1:
            self.filter += key

    def _table_key(self, key: str, view: View) -> Action | None:
        item = self.current(view)
        if key in MOVES:
            self._move(MOVES[key], view)
        elif key in MODES:
            self.mode = MODES[key]
        elif key == "esc":
            self.filter = ""
        elif key == "q":
            return "quit", ""
        elif item is not None and key in ("enter", "o"):
            return "open", f"{item.kind} {item.id}"
        elif item is not None and key == "y":
            self.message = f"copied: {item.command}"
            return "copy", item.command
        elif item is not None and key == "d":
            self.mode = "confirm" if item.task_id else "table"
            self.message = "" if item.task_id else "no task there"
        return None

    def _move(self, by: int, view: View) -> None:
        ids = [item.id for item in self.items(view)]
        if ids:
            at = ids.index(self.cursor) if self.cursor in ids else 0
            self.cursor = ids[max(0, min(len(ids) - 1, at + by))]

    def draw(self, view: View, height: int) -> list[Line]:
        """Exactly the screen: at most `height` lines, none wider than the view."""
        width = view.width or text.WIDTH_MAX
        lines: list[Line] = [[(summary(self.data), "bold")], [], *self._body(view, height - 3)][: height - 1]
        lines += [[] for _ in range(height - 1 - len(lines))]
        return [text.cut_line(line, width) for line in [*lines, self._foot(view)]]

    def _body(self, view: View, height: int) -> list[Line]:
        if self.mode == "keys":
            return [[(line, "")] for line in KEYS]
        return self.detail[self.top :] if self.mode == "detail" else self._table(view, height)

    def _table(self, view: View, height: int) -> list[Line]:
        items = self.items(view)
        if not items:
            return [[("nothing matches" if self.filter else "nothing to show", "dim")]]
        here = self.cursor if self.cursor in {i.id for i in items} else items[0].id
        rows = text.table(HEAD, [["▸" if i.id == here else " ", *i.cells] for i in items], view.width)[1:]
        lines: list[Line] = []
        at, part = 0, ""
        for item, row in zip(items, rows, strict=True):
            if item.part != part:
                lines += [[], [(item.part, "dim")]] if part else [[(item.part, "dim")]]
                part = item.part
            if item.id == here:
                at = len(lines)
                row = [("".join(words for words, _ in row), "cursor")]
            lines.append(row)
        top = max(0, min(at - height // 2, len(lines) - height))
        return lines[top : top + height]

    def _foot(self, view: View) -> Line:
        item = self.current(view)
        if self.mode == "filter":
            return [("/" + self.filter + "▏", "bold")]
        if self.mode == "confirm" and item is not None:
            return [(f"done: {item.title}? y/n", "wait")]
        if self.message:
            return [(self.message, "bold")]
        return [((f"filter: {self.filter}  " if self.filter else "") + HINTS, "dim")]


MOVES = {"j": 1, "k": -1, "down": 1, "up": -1, "g": -(10**6), "G": 10**6, "pagedown": 10, "pageup": -10}
MODES = {"/": "filter", "?": "keys"}


def _session(part: str, row: Row, detail: str, view: View) -> Item:
    task = row["task"]
    cells: list[str | Span] = [
        sessions.state(row, view.now_ms),
        (text.short(row["id"]), "cyan"),
        sessions.label(row),
        sessions.host(row),
        detail,
        as_of(row, view),
    ]
    return Item(part, "session", row["id"], cells, task and task["id"], task["title"] if task else "")


def _needs(data: Row, view: View) -> list[Item]:
    return [_session(NEEDS, row, waits_for(row), view) for row in data.get("needs_you", ())] + [
        _task(NEEDS, row, ("⊘ blocked " + text.since(row["updated_hlc"], view.now_ms), "alarm"), row["why"])
        for row in data.get("blocked_tasks", ())
    ]


def _sessions(data: Row, view: View) -> list[Item]:
    rows = [row for row in data.get("sessions", ()) if row["state"] not in nouns.NEEDS_PERSON]
    return [_session(SESSIONS, row, task_of(row), view) for row in sorted(rows, key=sessions.urgency)]


def _tasks(data: Row, view: View) -> list[Item]:
    return [_task(TASKS, row, text.state(row["status"]), f"P{row['priority']}") for row in data.get("open_tasks", ())]


def _task(part: str, row: Row, state: Span, detail: str) -> Item:
    title = text.first_line(row["title"])
    cells: list[str | Span] = [
        state,
        (text.short(row["id"]), "cyan"),
        title,
        row["project"],
        text.first_line(detail),
        "",
    ]
    return Item(part, "task", row["id"], cells, row["id"], title)
