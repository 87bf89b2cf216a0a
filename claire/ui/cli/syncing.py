"""`claire sync status`, `claire sync verify`, `claire sync wait`, and `claire sync --watch`."""

from __future__ import annotations

from claire.ui import text
from claire.ui.cli.context import Context, Result, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from claire.node.rows import Row
    from claire.ui.text import Line

EXIT_ERROR = 1
EXIT_PARTIAL = 4
WATCH_S = 5.0
WAIT_S = 600
SKEW_MS_SHOWN = 2_000


def status(ctx: Context) -> Result:
    rows = ctx.wiring.sync_status(ctx.node)
    notes = [] if rows else ["no peers yet; claire peer invite"]
    return Result(rows, lambda view: _standing(rows, view), notes=notes, code=_code(rows))


def verify(ctx: Context) -> Result:
    """Exits 1 if the index is wrong, 4 if a peer holds something else or cannot be asked."""
    found = ctx.wiring.sync_verify(ctx.node)

    def show(view: View) -> list[Line]:
        checked = f"{text.plural(found['events'], 'event')} counted, digest {found['etag'][:8]}"
        wrong = [f"the index of {row['name'] or text.short(row['id'])} is wrong" for row in found["wrong"]]
        return [*([(line, "")] for line in (checked, *wrong)), *_standing(found["peers"], view)]

    notes = ["next: claire doctor"] if found["wrong"] else []
    return Result(found, show, notes=notes, code=EXIT_ERROR if found["wrong"] else _code(found["peers"]))


def wait(ctx: Context, copies: int | None, timeout: int | None) -> Result:
    """Exits 0 once the newest event of this node is on so many others: safe to close the lid."""
    seconds = WAIT_S if timeout is None else timeout
    found = ctx.wiring.sync_wait(ctx.node, 1 if copies is None else copies, seconds)
    on = ", ".join(found["on"]) or "no other node"
    enough = found["copies"] >= found["wanted"]
    notes = [] if enough else [f"not on {found['wanted']} within {seconds} s; next: claire sync status"]
    return Result(found, [f"the newest event of this node is on {on}"], notes=notes, code=0 if enough else EXIT_PARTIAL)


def watch(ctx: Context, peer: str | None, show: Any) -> Result:
    """Rounds until Ctrl-C; a line whenever something moved or a peer came or went."""
    import time
    from functools import partial

    before: dict[str, str] = {}
    while True:
        rows = ctx.wiring.sync_now(ctx.node, peer)
        news = [row for row in rows if row["sent"] or row["received"] or before.get(row["id"]) != row["state"]]
        before = {row["id"]: row["state"] for row in rows}
        if news:
            ctx.print(news, partial(show, news))
        time.sleep(WATCH_S)


def _standing(rows: list[Row], view: View) -> list[Line]:
    cells = [
        [
            row["name"],
            (row["state"], "" if row["state"] == "in sync" else "wait"),
            _counts(row["behind"]),
            _counts(row["ahead"]),
            _ago(row["last_contact_ms"], view),
            _ago(row["last_pull_ms"], view),
            _ago(row["last_push_ms"], view),
            _skew(row["skew_ms"] or 0),
            "" if row["breaker"] in (None, "closed") else row["breaker"],
            row["why"],
        ]
        for row in rows
    ]
    heads = ["NAME*", "STATE", "WE LACK?", "IT LACKS?", "HEARD?", "PULLED?", "PUSHED?", "CLOCK?", "BREAKER?", "WHY?*"]
    return text.table(heads, cells, view.width)


def _counts(by_host: dict[str, int]) -> str:
    return ", ".join(f"{count} of {name}" for name, count in by_host.items())


def _ago(at_ms: int | None, view: View) -> str:
    return f"{text.age(view.now_ms - at_ms)} ago" if at_ms else ""


def _skew(skew_ms: int) -> str:
    if abs(skew_ms) < SKEW_MS_SHOWN:
        return ""
    return f"{text.age(abs(skew_ms))} {'ahead' if skew_ms > 0 else 'behind'}"


def _code(rows: list[Row]) -> int:
    return 0 if all(row["state"] == "in sync" for row in rows) else EXIT_PARTIAL
