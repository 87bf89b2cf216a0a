"""`claire group ...`"""

from __future__ import annotations

from claire.node import groups
from claire.ui import text
from claire.ui.cli.context import Context, Result


def add(ctx: Context, name: str, pattern: str) -> Result:
    row = groups.define(ctx.node, name, pattern)
    with ctx.node.reading() as db:
        live = len(groups.members(db, row["id"]))
    return Result(row, [f"group {row['name']}: {text.plural(live, 'live session')}"])


def list_(ctx: Context) -> Result:
    with ctx.node.reading() as db:
        rows = groups.list_groups(db)
    cells = [[row["name"], row["pattern"], str(row["sessions"])] for row in rows]
    notes = [] if rows else ["no groups yet; claire group add NAME PATTERN"]
    return Result(rows, lambda view: text.table(["NAME*", "PATTERN*", "LIVE"], cells, view.width), notes=notes)


def rm(ctx: Context, name: str) -> Result:
    row = groups.remove(ctx.node, name)
    return Result(row, [f"forgot group {row['name']}; its sessions stay"])
