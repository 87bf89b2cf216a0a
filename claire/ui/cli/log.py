"""`claire log`"""

from __future__ import annotations

import time
from datetime import datetime

from claire.node import history, members, names, projects
from claire.node.errors import UsageError
from claire.ui import story, text
from claire.ui.cli.context import Context, Result, View
from claire.ui.cli.when import moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from typing import NoReturn

    from claire.node.rows import Row
    from claire.ui.text import Line, Span

ROWS_DEFAULT = 50
POLL_S = 0.5
DAY_MS = 86_400_000


def log(
    ctx: Context,
    what: str | None,
    since: str | None,
    limit: int | None,
    project: str | None,
    host: str | None,
    follow: bool,
) -> Result:
    if what == "stats":
        from claire.ui.cli.growth import stats

        return stats(ctx, since)
    if what is not None:
        raise UsageError(f"the log has no {what!r}", "claire log, or claire log stats")
    since_ms = moment(since, ctx.now_ms()) if since is not None else None
    with ctx.node.reading() as db:
        about = projects.find(db, project)["id"] if project is not None else None
        machine = members.find(db, host)["id"] if host is not None else None
        newest = history.newest_rowid(db)
        rows = history.list_events(
            db, about=about, machine_id=machine, since_ms=since_ms, limit=ROWS_DEFAULT if limit is None else limit
        )
        told(db, rows)
    rows.reverse()
    if follow:
        _follow(ctx, rows, newest, about, machine)
    return Result(rows, lambda view: table(rows, view))


def _follow(ctx: Context, rows: list[Row], newest: int, about: str | None, machine: str | None) -> NoReturn:
    """Print what is there, then what arrives, from here and from peers, until interrupted."""
    while True:
        if rows:
            _print(ctx, rows)
        time.sleep(POLL_S)
        with ctx.node.reading() as db:
            arrived = history.arrived_after(db, newest)
            rows = told(db, [row for row in arrived if _meant(row, about, machine)])
        newest = max([newest, *(row["rowid"] for row in arrived)])


def _meant(row: Row, about: str | None, machine: str | None) -> bool:
    return machine in (None, row["machine_id"]) and (about is None or about in story.mentioned([row["payload"]]))


def _print(ctx: Context, rows: list[Row]) -> None:
    """As JSON one envelope a row, so that a reader can act on each."""
    if not ctx.json:
        ctx.print(rows, lambda view: table(rows, view)[1:])
    for row in rows if ctx.json else ():
        ctx.print(row, [])


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
