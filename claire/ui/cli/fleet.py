"""`claire pull`"""

from __future__ import annotations

from claire.ui import text
from claire.ui.cli import sessions
from claire.ui.cli.context import Context, Result

EXIT_PARTIAL = 4


def pull(ctx: Context) -> Result:
    done = ctx.wiring.pull(ctx.node)
    result = sessions.list_(ctx, None, False)
    missed = [f"not reached: {problem}" for problem in done["problems"]]
    result.notes = [f"{text.plural(done['recorded'], 'change')} recorded", *missed, *done["notes"], *result.notes]
    result.code = EXIT_PARTIAL if missed else 0
    return result
