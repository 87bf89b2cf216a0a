"""`claire init`, `claire id`, `claire node`, `claire web`"""

from __future__ import annotations

import sys

from claire.ui import text
from claire.ui.cli.context import Context, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def init(ctx: Context, name: str | None) -> Result:
    import socket

    from claire.node import members, setup

    called = name or ctx.settings.name or socket.gethostname().partition(".")[0] or "node"
    with setup.init(ctx.home, called) as node, node.reading() as db:
        row = members.find(db, node.machine_id)
        data = {"id": row["id"], "name": row["name"], "database": ctx.home.database}
    return Result(
        data,
        [f"node {text.short(data['id'])} {data['name']} keeps its log in {data['database']}"],
        notes=["next: claire project new NAME; claire pull; claire node"],
    )


def id_(ctx: Context) -> Result:
    from claire.node import members

    with ctx.node.reading() as db:
        row = members.find(db, ctx.node.machine_id)
    row["fingerprint"] = members.fingerprint(row["public_key"])
    return Result(
        row,
        lambda view: text.fields(
            [
                ("id", row["id"]),
                ("name", row["name"]),
                ("fingerprint", row["fingerprint"]),
                ("key", row["public_key"]),
                ("database", ctx.home.database),
            ],
            view.width,
        ),
    )


def node(ctx: Context, host: str | None, port: int | None, sync_host: str | None, sync_port: int | None) -> Result:
    """Returns when the daemon was told to end."""
    ctx.wiring.run_node(
        ctx.home, _settings(ctx, host=host, port=port, sync_host=sync_host, sync_port=sync_port), ctx.note
    )
    return Result({}, [])


def web(ctx: Context, host: str | None, port: int | None) -> Result:
    url = ctx.wiring.open_dashboard(ctx.home, _settings(ctx, host=host, port=port), ctx.note)
    return Result({"url": url}, [str(url)] if url else [])


def demo(ctx: Context, quick: bool, for_: str | None) -> Result:
    """Returns when the story, or the person in front of it, has come to an end."""
    from claire.ui.cli.when import length

    if for_ is not None:
        for_s: float | None = length(for_) / 1000
    else:  # where nobody sits who could press Ctrl-C, the story is all
        for_s = None if sys.stdout.isatty() and not quick else 0.0
    ctx.wiring.demo(lambda line: ctx.print({"said": line}, [line]), quick=quick, for_s=for_s)
    return Result(None, [])


def _settings(ctx: Context, **flags: Any) -> Any:
    """claire.toml, over it the environment, over it the flags."""
    said = {f"CLAIRE_{name.upper()}": str(value) for name, value in flags.items() if value is not None}
    from claire.config import Settings

    return Settings.load(ctx.home, {**ctx.env, **said})


def logout(ctx: Context, all: bool) -> Result:
    from claire.node.errors import UsageError
    from claire.ui import login

    if not all:
        raise UsageError("this signs out every browser, not one", "claire logout --all")
    browsers = login.logout_all(ctx.node)
    return Result({"browsers": browsers}, [f"signed out {browsers} browser{'' if browsers == 1 else 's'}"])
