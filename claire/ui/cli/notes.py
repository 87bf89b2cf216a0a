"""`claire note`, `claire decide`"""

from __future__ import annotations

from claire.node import decisions, updates
from claire.ui import text
from claire.ui.cli.context import Context, Result


def note(ctx: Context, words: list[str]) -> Result:
    """One word, quoted or not, is the text; of several the first is the task."""
    task, said = (None, words) if len(words) == 1 else (words[0], words[1:])
    row = updates.note(ctx.node, ctx.task(task), ctx.long_text(" ".join(said)) or "")
    return Result(row, [f"noted on {text.short(row['task_id'])}"])


def decide(ctx: Context, about: str, words: list[str]) -> Result:
    row = decisions.decide(ctx.node, about, ctx.long_text(" ".join(words)) or "")
    where = f"task {text.short(row['task_id'])}" if row["task_id"] else f"project {text.short(row['project_id'])}"
    return Result(row, [f"decided for {where}"])
