"""`claire log`"""

from __future__ import annotations

from datetime import datetime

from claire.node import history, names
from claire.ui import story, text
from claire.ui.cli.context import Context, Result, View
from claire.ui.cli.when import moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from claire.node.rows import Row
    from claire.ui.text import Line, Span

ROWS_DEFAULT = 50
DAY_MS = 86_400_000


def log(ctx: Context, since: str | None, limit: int | None) -> Result:
    since_ms = moment(since, ctx.now_ms()) if since is not None else None
    with ctx.node.reading() as db:
        rows = told(db, history.list_events(db, since_ms=since_ms, limit=ROWS_DEFAULT if limit is None else limit))
    rows.reverse()
    return Result(rows, lambda view: table(rows, view))


def told(db: sqlite3.Connection, rows: list[Row]) -> list[Row]:
    """The same rows, each with the sentence that tells it."""
    known = names.of(db, story.mentioned(row["payload"] for row in rows))
    for row in rows:
        row["told"] = story.tell(row["event_type"], row["payload"], lambda id: known.get(id) or text.short(id))
    return rows


def table(rows: list[Row], view: View) -> list[Line]:
    cells: list[list[str | Span]] = [
        [
            (clock(row["at_ms"], view.now_ms), "dim"),
            (row["host"], "cyan"),
            text.first_line(row["told"]),
        ]
        for row in rows
    ]
    return text.table(["WHEN", "HOST", "WHAT*"], cells, view.width)


def clock(at_ms: int, now_ms: int) -> str:
    """The time of day; beyond a day the date too."""
    at = datetime.fromtimestamp(at_ms / 1000)
    return at.strftime("%H:%M:%S" if 0 <= now_ms - at_ms < DAY_MS else "%Y-%m-%d %H:%M")
