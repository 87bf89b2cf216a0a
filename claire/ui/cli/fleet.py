"""`claire pull`"""

from __future__ import annotations

from claire.ui import text
from claire.ui.cli import sessions
from claire.ui.cli.context import Context, Result


def pull(ctx: Context) -> Result:
    recorded = ctx.wiring.pull(ctx.node)
    result = sessions.list_(ctx, None, False)
    result.notes = [f"{text.plural(recorded, 'change')} recorded", *result.notes]
    return result
