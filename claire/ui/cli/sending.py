"""`claire broadcast`, `claire send`: record what is to be typed, and follow what becomes of it."""

from __future__ import annotations

import time

from claire.node import broadcasts, sessions
from claire.node.errors import NotFound
from claire.ui import text
from claire.ui.cli.context import Context, Result, View
from claire.ui.cli.sessions import heard, label, state
from claire.ui.cli.when import length

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claire.node.rows import Row
    from claire.ui.text import Line

EXIT_PARTIAL, EXIT_REFUSED, EXIT_UNVERIFIED = 4, 5, 6
LOOK_S = 0.2
SYNC_EVERY_S = 5.0
HERE_S_MAX = 10.0  # how long a message to a session of this host is followed without --wait
NOT_SENT = "nothing sent; --yes sends it to these sessions"
MARKS = {"delivered": ("✓ delivered", "green"), "unverified": ("? unverified", "wait"), None: ("… waits", "")}
NOT_HEARD = ("? not heard", "wait")


def broadcast(
    ctx: Context, target: str, words: list[str], yes: bool, raw: bool, expire: str | None, wait: bool
) -> Result:
    with ctx.node.reading() as db:
        meant, found = broadcasts.resolve_targets(db, target)
    if not found:
        raise NotFound(f"no live session belongs to {target!r}", "claire session list")
    said = ctx.long_text(" ".join(words)) or ""
    if not yes:
        data = {"id": None, "target": meant, "text": said, "targets": found, "sent": False}
        return Result(data, lambda view: _meant(found, view), notes=[NOT_SENT])
    return send_to(ctx, target, said, raw=raw, expire=expire, wait=wait)


def send(ctx: Context, session: str, words: list[str], raw: bool, expire: str | None, wait: bool) -> Result:
    with ctx.node.reading() as db:
        row = sessions.find(db, session)
    return send_to(ctx, row["id"], ctx.long_text(" ".join(words)) or "", raw=raw, expire=expire, wait=wait)


def send_to(
    ctx: Context, target: str, said: str, *, raw: bool = False, expire: str | None = None, wait: bool = False
) -> Result:
    """Record it, then follow it: to its end with --wait, else as long as this host takes for its own sessions."""
    expiry_ms = broadcasts.EXPIRY_MS if expire is None else length(expire)
    sent = broadcasts.send(ctx.node, target, said, raw=raw, expiry_ms=expiry_ms)
    row = _followed(ctx, sent, wait)
    open_ = text.plural(sum(not one["outcome"] for one in row["targets"]), "session")
    notes = [] if open_.startswith("0 ") else [f"{open_} not reached yet; claire node delivers it there"]
    if notes and ctx.now_ms() > row["expires_ms"]:
        notes = [f"nothing heard of {open_} before it expired; their hosts say so when they are back"]
    return Result({**row, "sent": True}, lambda view: _came_of(ctx, row, view), notes=notes, code=_code(row, wait))


def _followed(ctx: Context, sent: Row, wait: bool) -> Row:
    here = any(target["machine_id"] == ctx.node.machine_id for target in sent["targets"])
    away = any(target["machine_id"] != ctx.node.machine_id for target in sent["targets"])
    began, synced = time.monotonic(), 0.0
    while True:
        if here:
            ctx.wiring.deliver(ctx.node)
        if away and wait and time.monotonic() - synced > SYNC_EVERY_S:
            ctx.wiring.sync_now(ctx.node, None)
            synced = time.monotonic()
        with ctx.node.reading() as db:
            row = broadcasts.find(db, sent["id"])
        pending = [one for one in row["targets"] if not one["outcome"]]
        mine = [one for one in pending if one["machine_id"] == ctx.node.machine_id]
        if not (pending if wait else mine) or ctx.now_ms() > row["expires_ms"] + 1000 * HERE_S_MAX:
            return row
        if not wait and time.monotonic() - began > HERE_S_MAX:
            return row
        time.sleep(LOOK_S)


def _code(row: Row, waited: bool) -> int:
    """The worst of what became of it; a session that still waits is no failure, unless its outcome was waited for."""
    outcomes = {target["outcome"] for target in row["targets"]}
    if "unverified" in outcomes:
        return EXIT_UNVERIFIED
    if outcomes & {"refused", "expired"}:
        return EXIT_PARTIAL if "delivered" in outcomes else EXIT_REFUSED
    return EXIT_PARTIAL if waited and None in outcomes else 0


def _meant(found: list[Row], view: View) -> list[Line]:
    cells = [
        [
            (text.short(row["id"]), "cyan"),
            state(row, view.now_ms),
            row["host"],
            label(row),
            heard(row, view.now_ms),
        ]
        for row in found
    ]
    return text.table(["ID", "STATE", "HOST", "NAME*", "SEEN?"], cells, view.width)


def _came_of(ctx: Context, sent: Row, view: View) -> list[Line]:
    with ctx.node.reading() as db:
        known = {row["id"]: row for row in sessions.list_sessions(db, gone=True)}
    late, cells = ctx.now_ms() > sent["expires_ms"], []
    for target in sent["targets"]:
        row = known.get(target["session_uuid"])
        mark = (
            NOT_HEARD
            if late and not target["outcome"]
            else MARKS.get(target["outcome"], (f"✕ {target['outcome']}", "alarm"))
        )
        name = [row["host"], label(row)] if row else ["", ""]
        cells.append([(text.short(target["session_uuid"]), "cyan"), mark, *name, target["why"] or ""])
    return text.table(["ID", "OUTCOME", "HOST", "NAME*", "WHY*"], cells, view.width)
