"""`claire service ...`: the node as a service of the user"""

from __future__ import annotations

from claire.ui.cli.context import Context, Result


def install(ctx: Context) -> Result:
    row = ctx.wiring.service(ctx.home, "install")
    notes = [f"logs: {row['logs']}", *([row["note"]] if row["note"] else [])]
    return Result(row, [f"runs from now on, and at every login: {row['path']}"], notes=notes)


def uninstall(ctx: Context) -> Result:
    row = ctx.wiring.service(ctx.home, "uninstall")
    return Result(row, [f"removed {row['path']}"])


def status(ctx: Context) -> Result:
    row = ctx.wiring.service(ctx.home, "status")
    state = "runs" if row["running"] else "is installed and does not run" if row["installed"] else "is not installed"
    lines = [f"the service {state}", *([f"logs: {row['logs']}"] if row["installed"] else [])]
    stale = row["installed"] and not row["current"]
    return Result(row, lines, notes=["it starts another installation; next: claire service install"] if stale else [])
