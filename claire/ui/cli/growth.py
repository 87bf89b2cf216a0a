"""`claire log stats`"""

from __future__ import annotations

import os

from claire.node import growth
from claire.ui import text
from claire.ui.cli.context import Context, Result, View
from claire.ui.cli.when import moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claire.node.rows import Row
    from claire.ui.text import Line


def stats(ctx: Context, since: str | None) -> Result:
    since_ms = moment(since, ctx.now_ms()) if since is not None else 0
    with ctx.node.reading() as db:
        rows = growth.by_host_and_type(db, since_ms)
    size = os.path.getsize(ctx.home.database)
    events = sum(row["events"] for row in rows)
    data = {"events": events, "bytes": sum(row["bytes"] for row in rows), "database_bytes": size, "kinds": rows}
    note = f"{text.plural(events, 'event')}; the database has {in_bytes(size)}"
    return Result(data, lambda view: table(rows, view), notes=[note])


def table(rows: list[Row], view: View) -> list[Line]:
    cells = [
        [
            (row["host"] or text.short(row["machine_id"]), "cyan"),
            row["event_type"],
            f"{row['events']:,}",
            f"{row['per_day']:,.0f}",
            f"{row['days']:,}",
            in_bytes(row["bytes"]),
        ]
        for row in rows
    ]
    return text.table(["HOST*", "KIND*", "EVENTS", "A DAY", "DAYS?", "SIZE"], cells, view.width)


def in_bytes(count: int) -> str:
    """`812 B`, `3.4 MiB`: three figures at most before the unit."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1_000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
