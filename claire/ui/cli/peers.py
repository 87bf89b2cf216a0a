"""`claire sync`, `claire peer ...`"""

from __future__ import annotations

from claire.node import members, overview
from claire.ui import text
from claire.ui.cli.context import Context, Result, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claire.node.rows import Row
    from claire.ui.text import Line, Span

EXIT_PARTIAL = 4
SKEW_MS_SHOWN = 2_000


def sync(ctx: Context, peer: str | None) -> Result:
    """Each row: name, state ('in sync', 'behind', 'unreachable', 'refused'), sent, received, behind, why."""
    rows = ctx.wiring.sync_now(ctx.node, peer)
    notes = [] if rows else ["no peers yet; claire peer invite"]
    code = 0 if all(row["state"] == "in sync" for row in rows) else EXIT_PARTIAL
    return Result(rows, lambda view: _synced(rows, view), notes=notes, code=code)


def _synced(rows: list[Row], view: View) -> list[Line]:
    cells = [
        [
            row["name"],
            f"sent {row['sent']}",
            f"received {row['received']}",
            row["state"] + (f" by {row['behind']}" if row.get("behind") else ""),
            row.get("why") or "",
        ]
        for row in rows
    ]
    return text.table(["*", "", "", "", "*"], cells, view.width)[1:]


def invite(ctx: Context) -> Result:
    """The line alone on stdout, so that it can be piped; what to do with it is a note."""
    line = ctx.wiring.invite(ctx.node)
    return Result(
        {"line": line},
        [line],
        notes=[
            "on the other host, within ten minutes: claire peer join LINE",
            "claire node must be running here",
        ],
    )


def join(ctx: Context, line: str) -> Result:
    row = ctx.wiring.join(ctx.node, line.strip())
    return Result(row, [f"joined {row['name']} {text.short(row['id'])}"], notes=["next: claire sync"])


def list_(ctx: Context) -> Result:
    with ctx.node.reading() as db:
        rows = overview.hosts(db, ctx.node.machine_id)
    notes = [] if len(rows) > 1 else ["no peers yet; claire peer invite"]
    return Result(rows, lambda view: table(rows, view), notes=notes)


def remove(ctx: Context, peer: str) -> Result:
    row = members.revoke(ctx.node, peer)
    return Result(row, [f"cut off {row['name']} {text.short(row['id'])}; what it wrote so far stays"])


def table(rows: list[Row], view: View) -> list[Line]:
    cells = [
        [
            (text.short(row["id"]), "cyan"),
            row["name"],
            freshness(row, view.now_ms),
            f"{row['sessions']} live" if row["sessions"] else "",
            f"behind by {row['behind']}" if row["behind"] else "",
            _skew(row["skew_ms"] or 0),
            row["version"],
        ]
        for row in rows
    ]
    return text.table(["ID", "NAME*", "HEARD", "SESSIONS?", "SYNC?", "CLOCK?", "VERSION?"], cells, view.width)


def freshness(row: Row, now_ms: int) -> Span:
    """Unreachable is not gone: it says since when."""
    if row["own"]:
        return "● this node", "green"
    if row["state"] == "revoked":
        return "✕ cut off", "dim"
    wrote = text.since(row["newest"] or "", now_ms)
    heard = text.age(now_ms - row["last_contact_ms"]) if row["last_contact_ms"] else wrote
    ago = f"{heard} ago" if heard else "never"
    return (f"⊘ unreachable, {ago}", "wait") if row["breaker"] == "open" else (f"● {ago}", "")


def _skew(skew_ms: int) -> str:
    if abs(skew_ms) < SKEW_MS_SHOWN:
        return ""
    return f"{text.age(abs(skew_ms))} {'ahead' if skew_ms > 0 else 'behind'}"
