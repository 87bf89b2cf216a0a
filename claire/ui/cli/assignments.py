"""`claire assign`, `claire unassign`"""

from __future__ import annotations

from claire.node import assignments, groups
from claire.node.errors import NotFound, UsageError
from claire.ui import text
from claire.ui.cli.context import Context, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claire.node.rows import Row


def assign(ctx: Context, task: str, session: str | None, group: str | None) -> Result:
    if group is None:
        rows = [assignments.assign(ctx.node, task, ctx.session(session))]
    elif session is None:
        rows = [assignments.assign(ctx.node, task, member) for member in _members(ctx, group)]
    else:
        raise UsageError("name a session or a group, not both", "claire assign --help")
    return Result(rows, [_said("assigned", row) for row in rows])


def _members(ctx: Context, group: str) -> list[str]:
    with ctx.node.reading() as db:
        found = [row["id"] for row in groups.members(db, group)]
    if not found:
        raise NotFound(f"no live session belongs to group {group!r}", "claire session list")
    return found


def unassign(ctx: Context, task: str | None) -> Result:
    rows = assignments.unassign(ctx.node, ctx.task(task))
    return Result(rows, [_said("took", row) for row in rows])


def _said(what: str, row: Row) -> str:
    link = "to" if row["active"] else "from"
    title = text.first_line(row["title"] or "")
    return f"{what} {text.short(row['task_id'])} {title} {link} session {text.short(row['current_session'])}"
