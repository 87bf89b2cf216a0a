"""Rows become aligned text here, and `safe` makes foreign text harmless; pure.

A line is a list of spans, a span a text and the name of a style. Only `paint` turns spans into bytes for a
terminal, and it passes every span through `safe`: a title made on another host can never move a cursor.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

TYPE_CHECKING = False  # the typing module costs every command 9 ms
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Span = tuple[str, str]
    Line = list[Span]

WIDTH_MIN, WIDTH_MAX = 20, 200
FLEX_CELLS_MIN = 12
STATE_CHARS_MAX = 16  # a state this Claire does not know may be any text
FITTING = ((True, FLEX_CELLS_MIN), (False, 2 * FLEX_CELLS_MIN), (True, 3), (False, 3))
GAP = "  "
SHORT_CHARS = 8
WALL_CHARS = 13  # of a stamp: its milliseconds

# Zero-width joiner and non-joiner are part of how emoji, Persian and Hindi are written.
JOINERS = "\u200c\u200d"

STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "alarm": "1;31",
    "wait": "1;33",
    "cursor": "7",
}

# What a state looks like: never by colour alone, so a glyph and the word.
STATES = {
    "todo": ("○", ""),
    "in_progress": ("●", "green"),
    "blocked": ("⊘", "alarm"),
    "done": ("✓", "dim"),
    "active": ("●", "green"),
    "paused": ("◌", "dim"),
    "working": ("●", "green"),
    "idle": ("○", ""),
    "shell": ("○", ""),
    "permission": ("◐", "wait"),
    "question": ("◐", "wait"),
    "dialog": ("◐", "wait"),
    "rate-limited": ("◌", "wait"),
    "error": ("✕", "alarm"),
    "interrupted": ("✕", "wait"),
    "crashed": ("✕", "alarm"),
    "orphaned": ("✕", "dim"),
    "unknown": ("?", "dim"),
    "unreachable": ("⊘", "dim"),
    "gone": ("·", "dim"),
}
ASCII = str.maketrans(
    {"○": "o", "●": "*", "⊘": "!", "✓": "+", "◌": "-", "◐": ">", "✕": "x", "·": ".", "…": "~", "→": ">", "▸": ">"}
)


def safe(text: str) -> str:
    """The text with everything that could steer a terminal written out: `\\x1b`, `\\u202e`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _written_out(c) for c in text)


def _written_out(c: str) -> str:
    if c in "\n\t" or unicodedata.category(c) == "Zs":
        return " "
    if c in JOINERS or "\U0001f000" <= c <= "\U0001faff":  # emoji newer than this Python's Unicode
        return c
    return c.encode("unicode_escape").decode()


def cells(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return len(text) if text.isascii() else _cells_beyond_ascii(text)


@lru_cache(maxsize=1024)  # the same few states and hosts, on every line
def _cells_beyond_ascii(text: str) -> int:
    return sum(map(_cells_of, text))


def _cells_of(c: str) -> int:
    if unicodedata.combining(c) or c in JOINERS or unicodedata.category(c) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1


def cut(text: str, limit: int) -> str:
    """The text in at most so many columns, with an ellipsis where something is missing."""
    return text if cells(text) <= limit else text[: _fitting(text, limit - 1)] + "…"


def _fitting(text: str, limit: int) -> int:
    """How many characters from the start fit in so many columns."""
    used = 0
    for i, c in enumerate(text):
        used += _cells_of(c)
        if used > limit:
            return i
    return len(text)


def pad(text: str, width: int) -> str:
    return text.ljust(width) if text.isascii() else text + " " * (width - cells(text))


def first_line(text: str) -> str:
    head, newline, rest = text.strip().partition("\n")
    return head + " …" if newline and rest else head


def state(word: str) -> Span:
    """`● in progress`, and the style it is written in."""
    glyph, style = STATES.get(word, ("?", ""))
    return f"{glyph} {word.replace('_', ' ')}"[:STATE_CHARS_MAX], style


def age(ms: int) -> str:
    """`40s`, `3m`, `2h`, `5d`: how long, in one unit."""
    seconds = max(0, ms) // 1000
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= 2 * size or (seconds >= size and unit != "d"):
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def short(id: str) -> str:
    """The id as it is shown everywhere, and accepted."""
    return id[:SHORT_CHARS]


def since(stamp: str, now_ms: int) -> str:
    """How long ago an event's stamp says it was."""
    return age(now_ms - int(stamp[:WALL_CHARS])) if stamp else ""


def cut_line(line: Line, limit: int) -> Line:
    """The line in at most so many columns."""
    kept: Line = []
    for words, style in line:
        words = cut(safe(words), limit)
        kept.append((words, style))
        limit -= cells(words)
        if limit <= 0:
            break
    return kept


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def table(head: Sequence[str], rows: Sequence[Sequence[str | Span]], width: int | None) -> list[Line]:
    """Aligned columns. A head with a `*` may be shortened to fit the width; one with a `?` is left out where
    even that is not enough, those with the most first, then the rightmost.
    A column in which nothing stands is not there, and without rows there is no table."""
    columns = [_column(h, [r[i] for r in rows]) for i, h in enumerate(head)]
    columns = [c for c in columns if any(t for t, _ in c.spans[1:])]
    if not columns:
        return []
    if width is not None:
        columns = _fitted(columns, width)
    lines = _lines(columns)
    lines[0] = [(words, "dim") for words, _ in lines[0]]
    return lines


class _Column:
    __slots__ = ("flexible", "optional", "spans", "width")

    def __init__(self, spans: list[Span], flexible: bool, optional: int) -> None:
        self.spans, self.flexible, self.optional = spans, flexible, optional
        joined = "".join([t for t, _ in spans])
        if not joined.isprintable():
            self.spans = [(safe(t), s) for t, s in spans]
        count = len if joined.isascii() else cells  # for ten thousand rows the difference is felt
        self.width = max([count(t) for t, _ in self.spans])

    def shorten(self, width: int) -> None:
        if width >= self.width:
            return
        self.spans = [(cut(t, width), s) for t, s in self.spans]
        self.width = width


def _column(head: str, body: list[str | Span]) -> _Column:
    spans = [(c, "") if isinstance(c, str) else c for c in body]
    return _Column([(head.rstrip("*?"), ""), *spans], "*" in head, head.count("?"))


def _fitted(columns: list[_Column], width: int) -> list[_Column]:
    """Optional columns go where flexible ones cannot give enough; then the widest give way, as FITTING says: whether
    only flexible ones, and down to how many cells."""

    def excess(least: bool) -> int:
        taken = sum(min(c.width, FLEX_CELLS_MIN) if least and c.flexible else c.width for c in columns)
        return taken + len(GAP) * (len(columns) - 1) - width

    while excess(least=True) > 0 and (optional := [c for c in columns if c.optional]):
        leaving = max(reversed(optional), key=lambda c: c.optional)
        columns = [c for c in columns if c is not leaving]
    for only_flexible, least in FITTING:
        giving = [c for c in columns if c.flexible or not only_flexible]
        for column, left in zip(giving, _levelled([c.width for c in giving], excess(least=False), least), strict=True):
            column.shorten(left)
    return columns


def _levelled(widths: list[int], excess: int, least: int) -> list[int]:
    """The widths with so much taken away, always from the widest, and from none below `least`."""
    while excess > 0 and widths and max(widths) > least:
        widths[widths.index(max(widths))] -= 1
        excess -= 1
    return widths


def _lines(columns: list[_Column]) -> list[Line]:
    *first, last = columns
    padded = [[(pad(t, c.width + len(GAP)), s) for t, s in c.spans] for c in first]
    return [list(line) for line in zip(*padded, last.spans, strict=True)]


def fields(pairs: Iterable[tuple[str, str | Span]], width: int | None) -> list[Line]:
    """`name  value` a line; a value of many lines or too long is wrapped under itself."""
    kept = [(name, (value, "") if isinstance(value, str) else value) for name, value in pairs if value]
    indent = max((len(name) for name, _ in kept), default=0) + len(GAP)
    lines: list[Line] = []
    for name, (value, style) in kept:
        for i, piece in enumerate(wrapped(value, None if width is None else max(width - indent, 10))):
            lines.append([(pad(name if i == 0 else "", indent), "dim"), (piece, style)])
    return lines


def wrapped(text: str, width: int | None) -> list[str]:
    """The text in lines: its own, and where a width is given broken at words."""
    lines = [safe(line) for line in text.split("\n")]
    if width is None:
        return lines
    return [piece for line in lines for piece in _broken(line, width)]


def _broken(line: str, width: int) -> list[str]:
    pieces, current = [], ""
    for word in line.split(" "):
        if current and cells(current) + 1 + cells(word) > width:
            pieces.append(current)
            current = word
        else:
            current = f"{current} {word}" if current else word
        while cells(current) > width:
            head = max(1, _fitting(current, width))
            pieces.append(current[:head])
            current = current[head:]
    return [*pieces, current]


def paint(lines: Iterable[Line | str], colour: bool) -> str:
    """The one way to a terminal: every span made safe, styles as SGR where colour is wanted."""
    return "".join([_painted(line, colour) + "\n" for line in lines])


def _painted(line: Line | str, colour: bool) -> str:
    if isinstance(line, str):
        return safe(line)
    if not colour:
        return safe("".join([t for t, _ in line])).rstrip()
    return "".join([f"\x1b[{STYLES[s]}m{safe(t)}\x1b[0m" if s else safe(t) for t, s in line])


def json_safe(text: str) -> str:
    """JSON text in which nothing but printable characters stand as themselves."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _json_escape(c) for c in text)


def _json_escape(c: str) -> str:
    code = ord(c)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
