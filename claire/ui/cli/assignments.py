"""`claire assign`, `claire unassign`, `claire task claim`, `claire task release`"""

from __future__ import annotations

from claire.node import assignments, claims, groups, tasks
from claire.node.errors import NotFound, UsageError
from claire.ui import text
from claire.ui.cli.context import Context, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claire.node.rows import Row


def assign(ctx: Context, task: str, session: str | None, group: str | None, brief: bool) -> Result:
    if group is None:
        rows = [assignments.assign(ctx.node, task, ctx.session(session))]
    elif session is None:
        rows = [assignments.assign(ctx.node, task, member) for member in _members(ctx, group)]
    else:
        raise UsageError("name a session or a group, not both", "claire assign --help")
    said = Result(rows, [_said("assigned", row) for row in rows])
    return _briefed(ctx, rows, said) if brief else said


def _briefed(ctx: Context, rows: list[Row], said: Result) -> Result:
    """Each session gets its task as a message; what became of it is a note and the exit code."""
    from claire.ui.cli import sending

    for row in rows:
        with ctx.node.reading() as db:
            words = brief_of(tasks.find(db, row["task_id"]))
        sent = sending.send_to(ctx, row["current_session"], words)
        [target] = sent.data["targets"]
        outcome = " ".join(filter(None, [target["outcome"] or "waits for an idle prompt", target["why"]]))
        said.notes = [*said.notes, f"brief for {text.short(row['current_session'])}: {outcome}"]
        said.code = max(said.code, sent.code)
    return said


def brief_of(task: Row) -> str:
    """A task in words for the session that is to do it."""
    parts = [f"Your task {text.short(task['id'])}: {task['title']}", task["description"] or ""]
    parts.append(f"Say how it goes with: claire note {text.short(task['id'])} TEXT; when it is done: claire task done")
    return "\n".join(filter(None, parts))


def _members(ctx: Context, group: str) -> list[str]:
    with ctx.node.reading() as db:
        found = [row["id"] for row in groups.members(db, group)]
    if not found:
        raise NotFound(f"no live session belongs to group {group!r}", "claire session list")
    return found


def unassign(ctx: Context, task: str | None) -> Result:
    rows = assignments.unassign(ctx.node, ctx.task(task))
    return Result(rows, [_said("took", row) for row in rows])


def claim(ctx: Context, task: str, session: str | None, lease: str | None) -> Result:
    from claire.ui.cli.when import length

    lease_ms = claims.LEASE_MS if lease is None else length(lease)
    row = claims.claim(ctx.node, task, ctx.session(session), lease_ms)
    told = f"{_said('claimed', row)} for {text.age(lease_ms)}"
    return Result(row, [told], notes=["claim it again in time, or others may take it"])


def release(ctx: Context, task: str | None, session: str | None) -> Result:
    row = claims.release(ctx.node, ctx.session(session), task)
    return Result(row, [_said("released", row)])


def holding(row: Row, now_ms: int) -> str:
    """How an assignment is held: ` (claimed, 40m left)`, ` (claim contested: ...)`, nothing where it was given."""
    if row["claim"] == "contested":
        return " (claim contested: another session's was earlier)"
    if row["claim"] and claims.lapsed(row, now_ms):
        return f" (claim lapsed {text.age(now_ms - row['lease_until_ms'])} ago)"
    return f" (claimed, {text.age(row['lease_until_ms'] - now_ms)} left)" if row["claim"] else ""


def _said(what: str, row: Row) -> str:
    link = "to" if row["active"] else "from"
    title = text.first_line(row["title"] or "")
    return f"{what} {text.short(row['task_id'])} {title} {link} session {text.short(row['current_session'])}"
