"""Which session, and so which task, a command is run from: nobody types ids inside Claude Code."""

from __future__ import annotations

from claire.node import assignments, sessions
from claire.node.errors import NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from claire.node.node import Node
    from claire.node.rows import Row


def session(node: Node, env: Mapping[str, str]) -> Row:
    """The session that runs this command; UsageError where there is none or it is not clear."""
    own = env.get("CLAUDE_CODE_SESSION_ID", "")
    with node.reading() as db:
        if own:
            try:
                return sessions.find(db, own)
            except NotFound:
                raise NotFound(f"this session, {own[:8]}, is not known yet", "claire pull") from None
        pane = _pane(env)
        here = [row for row in sessions.list_sessions(db, node.machine_id) if pane and row["pane"] == pane]
    if len(here) != 1:
        raise UsageError("which session? this is not inside one", "claire session list")
    return here[0]


def _pane(env: Mapping[str, str]) -> str:
    """The tmux pane this runs in, as sessions name theirs: `%7`, on another server than the default `web:%7`."""
    pane = env.get("TMUX_PANE", "")
    server = env.get("TMUX", "").partition(",")[0].rpartition("/")[2]
    return pane if server in ("", "default") or not pane else f"{server}:{pane}"


def task(node: Node, env: Mapping[str, str]) -> str:
    """The id of the task this session is bound to."""
    try:
        here = session(node, env)
    except UsageError:
        raise UsageError("which task?", "claire task list") from None
    with node.reading() as db:
        bound = assignments.of_session(db, here["id"])
    if bound is None:
        raise NotFound("this session has no task", "claire assign TASK")
    return str(bound["task_id"])
