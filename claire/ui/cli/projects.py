"""`claire project ...`"""

from __future__ import annotations

from claire.node import projects
from claire.ui import text
from claire.ui.cli.context import Context, Result, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claire.node.rows import Row
    from claire.ui.text import Line


def new(ctx: Context, name: str, goal: str | None, owner: str | None) -> Result:
    return _said("new", projects.create(ctx.node, name, goal or "", owner or ""))


def list_(ctx: Context, status: str | None, deleted: bool) -> Result:
    with ctx.node.reading() as db:
        rows = projects.list_projects(db, status, deleted=deleted)
    hint = 'no projects yet; claire project new NAME --goal "..."'
    return Result(rows, lambda view: _table(rows, view), notes=[] if rows else [hint])


def show(ctx: Context, project: str, history: bool) -> Result:
    from claire.ui.cli import show

    return show.project(ctx, project, history)


def edit(
    ctx: Context, project: str, name: str | None, goal: str | None, owner: str | None, status: str | None
) -> Result:
    return _said("changed", projects.edit(ctx.node, project, name=name, goal=goal, owner=owner, status=status))


def merge(ctx: Context, source: str, into: str) -> Result:
    return _said("now all in", projects.merge(ctx.node, source, into))


def rm(ctx: Context, project: str) -> Result:
    return _said("removed", projects.edit(ctx.node, project, deleted=True))


def restore(ctx: Context, project: str) -> Result:
    return _said("restored", projects.edit(ctx.node, project, deleted=False))


def _said(what: str, row: Row) -> Result:
    return Result(row, [f"{what} {text.short(row['id'])} {row['display']}"])


def _table(rows: list[Row], view: View) -> list[Line]:
    head = ["ID", "NAME*", "STATUS", "TASKS", "OWNER*?", "GOAL*?"]
    cells = [
        [
            (text.short(row["id"]), "cyan"),
            row["display"] + ("!" if row["conflicts"] else ""),
            text.state(row["status"]),
            counts(row["tasks"]),
            row["owner"],
            text.first_line(row["goal"]),
        ]
        for row in rows
    ]
    return text.table(head, cells, view.width)


def counts(tasks: dict[str, int]) -> str:
    """`5/8 done, 1 blocked`"""
    total, done, blocked = sum(tasks.values()), tasks.get("done", 0), tasks.get("blocked", 0)
    return f"{done}/{total} done" + (f", {blocked} blocked" if blocked else "")
