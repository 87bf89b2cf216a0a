"""`claire doctor`"""

from __future__ import annotations

from claire.ui import text
from claire.ui.cli.context import Context, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claire.node.rows import Row
    from claire.ui.text import Line

LEVELS = {"ok": ("✓", "green"), "note": ("◌", "wait"), "bad": ("✕", "alarm")}
EXIT_BAD = 1
EXIT_PARTIAL = 4


def doctor(ctx: Context, fix: bool, recover: bool) -> Result:
    """Exit code 1 if anything is bad; notes are no failures."""
    if recover:
        return _recover(ctx)
    rows = ctx.wiring.examine(ctx.home, fix=fix)
    bad = [row for row in rows if row["level"] == "bad"]
    return Result(rows, lambda view: [line for row in rows for line in _lines(row)], code=EXIT_BAD if bad else 0)


def _lines(row: Row) -> list[Line]:
    glyph, style = LEVELS[row["level"]]
    line: Line = [(f"{glyph} ", style), (row["id"], "bold" if row["level"] == "bad" else ""), (f": {row['said']}", "")]
    return [[*line, (f"; next: {row['fix']}", "cyan")] if row["fix"] and row["level"] != "ok" else line]


def _recover(ctx: Context) -> Result:
    import socket

    name = ctx.settings.name or socket.gethostname().partition(".")[0] or "node"
    row = ctx.wiring.recover(ctx.home, name, ctx.now_ms())
    left = [peer for peer in row["peers"] if peer["state"] != "in sync"]
    lines = [
        f"{text.plural(row['salvaged'], 'event')} could be read of the damaged database, {row['events']:,} are here now"
    ]
    notes = [f"the damaged database is kept: {row['kept']}"]
    notes += [f"{peer['name']}: {peer['state']} {peer['why']}" for peer in left]
    if left or not row["peers"]:
        notes.append("what only peers have comes with the next exchange: claire sync")
    return Result(row, lines, notes=notes, code=EXIT_PARTIAL if left else 0)
