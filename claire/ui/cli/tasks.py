"""`claire task ...`"""

from __future__ import annotations

from claire.node import claims, names, projects, tasks
from claire.node.errors import UsageError
from claire.ui import text
from claire.ui.cli.context import Context, Result, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claire.node.rows import Row
    from claire.ui.text import Line


ROWS_MAX = 100  # of a list on a terminal, where no --limit says otherwise


def add(ctx: Context, project: str, title: list[str], prio: int | None, desc: str | None) -> Result:
    priority = tasks.PRIORITY_DEFAULT if prio is None else prio
    return said("added", tasks.add(ctx.node, project, " ".join(title), ctx.long_text(desc) or "", priority))


def list_(
    ctx: Context, project: str | None, status: str | None, ready: bool, deleted: bool, limit: int | None
) -> Result:
    if ready and (status or deleted):
        raise UsageError("--ready says it all: no --status or --deleted with it", "claire task list --ready")
    with ctx.node.reading() as db:
        only = projects.find(db, project)["id"] if project is not None else None
        asked = -1 if limit is None else limit
        if limit is None and not ctx.json:
            asked = ROWS_MAX + 1  # a person reads no more; scripts get all they do not limit
        if ready:
            rows = claims.ready(db, ctx.now_ms(), only)[: asked if asked >= 0 else None]
        else:
            rows = tasks.list_tasks(db, only, status, deleted=deleted, limit=asked)
        known = names.of_projects(db)
    for row in rows:
        row["project"] = known.get(row["project_id"], "")
    notes = [] if rows else ['no tasks here; claire task add PROJECT "what is to be done"']
    if limit is None and not ctx.json and len(rows) > ROWS_MAX:
        del rows[ROWS_MAX:]
        notes = [f"the {ROWS_MAX} most urgent of more; -p PROJECT, -s STATUS or -n COUNT shows others"]
    return Result(rows, lambda view: table(rows, view), notes=notes)


def show(ctx: Context, task: str | None, history: bool) -> Result:
    from claire.ui.cli import show

    return show.task(ctx, ctx.task(task), history)


def edit(ctx: Context, task: str, title: str | None, desc: str | None, prio: int | None, project: str | None) -> Result:
    row = tasks.edit(ctx.node, task, title=title, description=ctx.long_text(desc), priority=prio, project=project)
    return said("changed", row)


def start(ctx: Context, task: str | None) -> Result:
    return said("started", tasks.set_status(ctx.node, ctx.task(task), "in_progress"))


def block(ctx: Context, task: str | None, why: str | None) -> Result:
    ref = ctx.task(task)
    if why is not None and not why.strip():
        raise UsageError("--why says nothing", 'claire task block TASK --why "what it waits for"')
    row = tasks.set_status(ctx.node, ref, "blocked")
    if why is not None:
        from claire.node import updates

        updates.note(ctx.node, row["id"], why)
    return said("blocked", row)


def done(ctx: Context, task: str | None) -> Result:
    return said("done", tasks.set_status(ctx.node, ctx.task(task), "done"))


def reopen(ctx: Context, task: str | None) -> Result:
    return said("reopened", tasks.set_status(ctx.node, ctx.task(task), "todo"))


def rm(ctx: Context, task: str) -> Result:
    return said("removed", tasks.remove(ctx.node, task))


def restore(ctx: Context, task: str) -> Result:
    return said("restored", tasks.restore(ctx.node, task))


def link(ctx: Context, task: str, blocker: str) -> Result:
    return said("now waits", tasks.link(ctx.node, task, blocker))


def unlink(ctx: Context, task: str, blocker: str) -> Result:
    return said("no longer waits", tasks.unlink(ctx.node, task, blocker))


def said(what: str, row: Row) -> Result:
    return Result(row, [f"{what} {text.short(row['id'])} {text.first_line(row['title'])}"])


def table(rows: list[Row], view: View, last: str = "PROJECT*?") -> list[Line]:
    """The last column shows each row's `project`, or what the caller put there under another head."""
    cells = [
        [
            (text.short(row["id"]), "cyan"),
            text.state(row["status"]),
            f"P{row['priority']}",
            text.first_line(row["title"]) + (" !" if row["conflicts"] else ""),
            row["project"],
        ]
        for row in rows
    ]
    return text.table(["ID", "STATUS", "PRIO?", "TITLE*", last], cells, view.width)
