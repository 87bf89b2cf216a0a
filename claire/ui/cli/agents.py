"""`claire prime`, `claire mcp`: for the agent inside a Claude session."""

from __future__ import annotations

import sys

from claire.node.errors import NoDatabase, NotFound
from claire.ui.cli.context import Context, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claire.node.rows import Row

HOOK_BYTES_MAX = 1 << 20
HOW_TO = 'Tell how it goes: claire note "...", claire decide, claire task done.'


def prime(ctx: Context, hook: bool) -> Result:
    """Nothing where there is nothing to say: what a SessionStart hook prints, the model reads."""
    try:
        found = _brief(ctx, (_reported() if hook else "") or ctx.wiring.whoami(ctx.home, ctx.env))
    except (NoDatabase, NotFound):
        found = None
    if found is None:
        return Result(None, [])
    from claire.ui import brief

    return Result(found, lambda view: [*brief.words(found, view.now_ms), HOW_TO])


def _brief(ctx: Context, session: str) -> Row | None:
    from claire.ui import brief

    if not session:
        return None
    try:
        with ctx.node.reading() as db:
            return brief.brief(db, session)
    except NotFound:
        ctx.wiring.pull(ctx.node)  # new since a moment ago: see whom it continues
    with ctx.node.reading() as db:
        return brief.brief(db, session)


def _reported() -> str:
    """The session that a hook's input names; the environment may still name the one before /clear."""
    from msgspec import DecodeError
    from msgspec.json import decode

    try:
        payload = decode(sys.stdin.buffer.read(HOOK_BYTES_MAX))
    except DecodeError:
        return ""
    session = payload.get("session_id") if isinstance(payload, dict) else ""
    return session if isinstance(session, str) else ""


def mcp(ctx: Context) -> Result:
    """Serve until Claude closes its end."""
    from claire.ui import mcp, tools

    agent = tools.Agent(ctx.node, lambda: str(ctx.wiring.whoami(ctx.home, ctx.env)), lambda: ctx.wiring.pull(ctx.node))
    offered = mcp.Tools(tools.listed(), lambda name, arguments: tools.call(agent, name, arguments), tools.ABOUT)
    mcp.serve(sys.stdin.buffer, sys.stdout.buffer, offered, ctx.note)
    return Result(None, [])
