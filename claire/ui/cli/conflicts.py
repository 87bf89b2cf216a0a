"""`claire conflicts`"""

from __future__ import annotations

from claire.node import claims
from claire.node import conflicts as contested
from claire.ui import text
from claire.ui.cli.context import Context, Result, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claire.node.rows import Row
    from claire.ui.text import Line, Span

SETTLE = {
    ("task", "status"): "claire task start|block|done|reopen {id}",
    ("task", "deleted"): "claire task rm|restore {id}",
    ("task", "title"): "claire task edit {id} --title ...",
    ("task", "description"): "claire task edit {id} --desc ...",
    ("task", "priority"): "claire task edit {id} --prio ...",
    ("task", "claim"): "claire task release {id} --session SESSION",
    ("task", "project_id"): "claire task edit {id} --project ...",
    ("project", "deleted"): "claire project rm|restore {id}",
    ("project", "merged_into"): "claire project merge {id} ...",
    ("group", "pattern"): "claire group add NAME PATTERN",
    ("group", "removed"): "claire group add|rm NAME",
}


def conflicts(ctx: Context) -> Result:
    with ctx.node.reading() as db:
        rows = contested.list_conflicts(db) + claims.contested(db)
    return Result(rows, lambda view: _shown(rows, view), notes=[] if rows else ["no conflicts"])


def _shown(rows: list[Row], view: View) -> list[Line]:
    """Each field with all its values, and the command that settles it."""
    lines: list[Line] = []
    for row in rows:
        title = f"{row['noun']} {text.short(row['id'])} {text.first_line(str(row['label']))}"
        lines.append([(title, "bold"), (f"  {row['field']}", "")])
        cells: list[list[str | Span]] = [
            [
                " ",
                ("●" if v["value"] == row["shown"] else "○", ""),
                text.first_line(str(v["value"])),
                (v["host"], "cyan"),
                (f"{text.since(v['hlc'], view.now_ms)} ago", "dim"),
            ]
            for v in row["values"]
        ]
        lines += text.table(["", "", "*", "", ""], cells, view.width)[1:]
        lines.append([(f"  settle: {_settle(row)}", "dim")])
    return lines


def _settle(row: Row) -> str:
    plain = f"claire {row['noun']} edit {{id}} --{row['field']} ..."
    return SETTLE.get((row["noun"], row["field"]), plain).format(id=text.short(row["id"]))
