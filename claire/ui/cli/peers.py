"""`claire sync`, `claire peer ...`, `claire identity ...`"""

from __future__ import annotations

import sys

from claire.node import broadcasts, members, overview
from claire.node.errors import UsageError
from claire.ui import qr, text
from claire.ui.cli.context import Context, Result, View
from claire.ui.cli.when import moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claire.node.rows import Row
    from claire.ui.text import Line, Span

EXIT_PARTIAL = 4
SKEW_MS_SHOWN = 2_000
LINE_CHARS_MAX = 4_096
HERE = ("http://127.", "http://[::1]")
HERE_ONLY = (
    "no other host reaches this address: where there is no tailnet, `lan_discovery = true` in claire.toml"
    " opens the LAN's, `claire node --sync-host` one of your choice"
)


def sync(ctx: Context, peer: str | None, ssh: str | None, pair: bool, stdio: bool, watch: bool) -> Result:
    """Each row: name, state ('in sync', 'behind', 'unreachable', 'refused'), sent, received, behind, why."""
    if stdio:
        ctx.wiring.sync_stdio(ctx.node)
        return Result({}, [])
    if watch:
        from claire.ui.cli import syncing

        return syncing.watch(ctx, peer, _synced)
    if pair and ssh is None:
        raise UsageError("--pair goes with --ssh", "claire sync --ssh HOST --pair, or claire peer add HOST")
    by_ssh = ssh is not None
    rows = (
        [ctx.wiring.sync_over_ssh(ctx.node, ssh, admit=pair)]
        if by_ssh
        else ctx.wiring.sync_now(ctx.node, peer, say=ctx.note)
    )
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
    made = ctx.wiring.invite(ctx.node)
    line = made["line"]
    with ctx.node.reading() as db:
        fingerprint = members.fingerprint(members.find(db, ctx.node.machine_id)["public_key"])
    return Result(
        {**made, "fingerprint": fingerprint},
        [line],
        notes=[
            *(qr.lines(line) if _is_seen() and not ctx.json else []),
            "on the other host, within ten minutes: claire peer join, then paste the line",
            "whoever has it may join, once: hand it over where nobody else reads it",
            f"it will show this fingerprint: {fingerprint}",
            "claire node must be running here",
            *([HERE_ONLY] if all(url.startswith(HERE) for url in made["addresses"]) else []),
        ],
    )


def _is_seen() -> bool:
    return sys.stdout is not None and sys.stdout.isatty() and sys.stderr is not None and sys.stderr.isatty()


def join(ctx: Context, line: str | None) -> Result:
    """Without the line, or with `-`, it is read from standard input: what stands in argv every user here can see."""
    if line is None:
        ctx.note("paste the line that `claire peer invite` printed:")
    row = ctx.wiring.join(ctx.node, read_line() if line in (None, "-") else line)
    row["fingerprint"] = members.fingerprint(row["public_key"])
    said = f"joined {row['name']} {text.short(row['id'])}, fingerprint {row['fingerprint']}"
    return Result(row, [said], notes=["next: claire sync"])


def read_line() -> str:
    return sys.stdin.readline(LINE_CHARS_MAX) if sys.stdin is not None else ""


def add(ctx: Context, destination: str) -> Result:
    row = ctx.wiring.add(ctx.node, destination)
    events = row["sync"]["sent"] + row["sync"]["received"]
    said = f"paired with {row['name']} {text.short(row['id'])}, fingerprint {row['fingerprint']}, {events} events"
    return Result(row, [said], notes=["next: claire node, here and there"])


def list_(ctx: Context) -> Result:
    with ctx.node.reading() as db:
        rows = overview.hosts(db, ctx.node.machine_id)
    notes = [] if len(rows) > 1 else ["no peers yet; claire peer invite"]
    notes += [note for row in rows if row["suspended"] for note in _suspended(row)]
    return Result(rows, lambda view: table(rows, view, whole=True), notes=notes)


def _suspended(row: Row) -> list[str]:
    return [
        f"{row['name']} says this node was cut off; nothing is exchanged with it until you decide:",
        f"  if {row['name']} is lost or stolen: claire peer revoke {text.short(row['id'])}",
        "  if it is right, or was a mistake: claire identity rotate, then claire peer join a new invite of it",
    ]


def revoke(ctx: Context, peer: str, since: str | None) -> Result:
    row = members.revoke(ctx.node, peer, None if since is None else moment(since, ctx.now_ms()))
    stays = "what it wrote so far stays" if since is None else "what it wrote before then stays"
    return Result(row, [f"cut off {row['name']} {text.short(row['id'])}; {stays}"])


def rename(ctx: Context, peer: str, name: str) -> Result:
    row = members.rename(ctx.node, peer, name)
    return Result(row, [f"{text.short(row['id'])} is called {row['name']} now"])


def remove(ctx: Context, peer: str, undo: bool) -> Result:
    row = ctx.wiring.remove_peer(ctx.node, peer, undo)
    said = "is dialled again" if undo else "is no longer dialled from here"
    hint = f"it is a member still; `claire peer revoke {text.short(row['id'])}` cuts it off everywhere"
    return Result(row, [f"{row['name']} {text.short(row['id'])} {said}"], notes=[] if undo else [hint])


def allow_send(ctx: Context, peer: str, off: bool) -> Result:
    row = broadcasts.allow(ctx.node, peer, not off)
    said = "may no longer" if off else "may now"
    return Result(row, [f"{row['name']} {text.short(row['id'])} {said} type into sessions of this host"])


def rotate(ctx: Context, copy: bool) -> Result:
    row = ctx.wiring.rotate(ctx.node, copy)
    row["fingerprint"] = members.fingerprint(row["public_key"])
    told = ", ".join(peer["name"] for peer in row["told"]) or "nobody yet"
    return Result(
        row,
        [f"this node is {text.short(row['id'])} now, fingerprint {row['fingerprint']}"],
        notes=[f"told: {told}; the others learn it from them", "next: claire node"],
    )


def table(rows: list[Row], view: View, whole: bool = False) -> list[Line]:
    """One line a node; `whole` adds what concerns trust."""
    trust = [[row["fingerprint"], _may_type(row)] for row in rows] if whole else [[] for _ in rows]
    heads = ["FINGERPRINT?", "TYPES HERE"] if whole else []
    cells = [
        [
            (text.short(row["id"]), "cyan"),
            row["name"],
            freshness(row, view.now_ms),
            *also,
            f"{row['sessions']} live" if row["sessions"] else "",
            f"behind by {row['behind']}" if row["behind"] else "",
            _skew(row["skew_ms"] or 0),
            row["version"],
        ]
        for row, also in zip(rows, trust, strict=True)
    ]
    heads = ["ID", "NAME*", "HEARD", *heads, "SESSIONS?", "SYNC?", "CLOCK?", "VERSION?"]
    return text.table(heads, cells, view.width)


def _may_type(row: Row) -> Span:
    if row["own"]:
        return "yes", ""
    return ("yes", "wait") if row["may_type"] else ("no", "dim")


def freshness(row: Row, now_ms: int) -> Span:
    """Unreachable is not gone: it says since when."""
    if row["own"]:
        return "● this node", "green"
    if row["state"] == "revoked":
        return "✕ cut off", "dim"
    if row["suspended"]:
        return "⊘ says we are cut off", "wait"
    heard_ms = overview.heard_ms(row, now_ms)
    ago = f"{text.age(now_ms - heard_ms)} ago" if heard_ms else "never"
    if overview.offline(row, now_ms):
        return f"⊘ offline, {ago}", "wait"
    return (f"⊘ unreachable, {ago}", "wait") if row["breaker"] == "open" else (f"● {ago}", "")


def _skew(skew_ms: int) -> str:
    if abs(skew_ms) < SKEW_MS_SHOWN:
        return ""
    return f"{text.age(abs(skew_ms))} {'ahead' if skew_ms > 0 else 'behind'}"
