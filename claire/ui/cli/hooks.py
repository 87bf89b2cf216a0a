"""`claire hook ...`"""

from __future__ import annotations

from claire.ui import text
from claire.ui.cli.context import Context, Result, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from claire.node.rows import Row
    from claire.ui.text import Line

NO_HOMES = "no config folder of Claude Code here; start claude once, or set CLAUDE_CONFIG_DIR"


def install(ctx: Context, dry_run: bool) -> Result:
    return _changed(ctx, "installed in", True, dry_run)


def uninstall(ctx: Context, dry_run: bool) -> Result:
    return _changed(ctx, "removed from", False, dry_run)


def _changed(ctx: Context, done: str, wanted: bool, dry_run: bool) -> Result:
    """Each row: path, changed, diff. With --dry-run the diff is shown and nothing is written."""
    rows: list[Any] = ctx.wiring.change_hooks(ctx.home, install=wanted, dry_run=dry_run)
    changed = [row for row in rows if row["changed"]]
    lines = [line for row in changed for line in row["diff"].splitlines()]
    if not dry_run:
        lines = [f"{done} {row['path']}" for row in changed]
    notes = [NO_HOMES] if not rows else [] if changed else ["nothing to change"]
    return Result(rows, lines, notes=notes)


def status(ctx: Context) -> Result:
    rows = ctx.wiring.hook_status(ctx.home)
    return Result(rows, lambda view: _table(rows, view), notes=[] if rows else [NO_HOMES])


def _table(rows: list[Row], view: View) -> list[Line]:
    marks = {"installed": ("● installed", "green"), "incomplete": ("◐ incomplete", "wait")}
    cells = [
        [
            marks.get(row["state"], (f"○ {row['state']}", "")),
            row["path"],
            ", ".join([*row["missing"], *row["outdated"]]) if row["state"] == "incomplete" else "",
        ]
        for row in rows
    ]
    return text.table(["STATE", "SETTINGS*", "WITHOUT*?"], cells, view.width)
