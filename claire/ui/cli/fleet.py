"""`claire pull`, `claire broadcast`"""

from __future__ import annotations

from claire.node import broadcasts
from claire.node.errors import NotFound
from claire.ui import text
from claire.ui.cli import sessions
from claire.ui.cli.context import Context, Result, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claire.node.rows import Row
    from claire.ui.text import Line

NOT_SENT = "nothing sent; --yes sends it to these sessions"
NOT_DELIVERED = "recorded; delivery is not running yet, so nothing is typed anywhere"


def pull(ctx: Context) -> Result:
    recorded = ctx.wiring.pull(ctx.node)
    result = sessions.list_(ctx, None, False)
    result.notes = [f"{text.plural(recorded, 'change')} recorded", *result.notes]
    return result


def broadcast(ctx: Context, target: str, words: list[str], yes: bool) -> Result:
    with ctx.node.reading() as db:
        meant, found = broadcasts.resolve_targets(db, target)
    if not found:
        raise NotFound(f"no live session belongs to {target!r}", "claire session list")
    said = ctx.long_text(" ".join(words)) or ""
    data = {"id": None, "target": meant, "text": said, "targets": found, "sent": False}
    if yes:
        data = {**broadcasts.send(ctx.node, target, said), "sent": True}
    return Result(data, lambda view: _targets(found, view), notes=[NOT_DELIVERED if yes else NOT_SENT])


def _targets(found: list[Row], view: View) -> list[Line]:
    cells = [
        [
            (text.short(row["id"]), "cyan"),
            sessions.state(row, view.now_ms),
            row["host"],
            sessions.label(row),
            sessions.heard(row, view.now_ms),
        ]
        for row in found
    ]
    return text.table(["ID", "STATE", "HOST", "NAME*", "SEEN?"], cells, view.width)
