"""`/broadcast`: text for the sessions of a project or group: compose, confirm who gets it, see what became of it."""

import re
from sqlite3 import Connection
from typing import TYPE_CHECKING, Any

from claire.node import broadcasts, groups, members, projects
from claire.node.errors import NotFound, UsageError
from claire.node.rows import Row
from claire.ui.ask import Ask, Done, Shown
from claire.ui.pages import fleet

if TYPE_CHECKING:
    from claire.node.node import Node

BROADCASTS_SHOWN = 20
ONCE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # the id a broadcast gets, however often it is sent


def compose(db: Connection, ask: Ask) -> dict[str, Any]:
    live = fleet.live(db, ask)
    return {
        "to": ask.query.get("to", ""),
        "projects": projects.list_projects(db, "active"),
        "groups": groups.list_groups(db),
        "live": live,
        "sent": [outcomes(db, row, live, ask.now_ms) for row in broadcasts.list_broadcasts(db, BROADCASTS_SHOWN)],
    }


def show(db: Connection, ask: Ask) -> dict[str, Any]:
    return {"broadcast": outcomes(db, broadcasts.find(db, ask.path["id"]), fleet.live(db, ask), ask.now_ms)}


def outcomes(db: Connection, row: Row, live: list[Row], now_ms: int) -> Row:
    """A broadcast with a session, a host and a word for every target: what happened, or what it waits for."""
    known, names = {session["id"]: session for session in live}, members.names(db)
    kind, _, ref = row["target"].partition(":")
    found = db.execute("SELECT name FROM projects WHERE id = ?", (ref,)).fetchone() if kind == "project" else None
    targets = []
    for target in row["targets"]:
        session = known.get(target["session_uuid"])
        waits = "expired" if now_ms > row["expires_ms"] else "queued"
        targets.append({
            **target,
            "label": session["label"] if session else target["session_uuid"][:8],
            "host": names.get(target["machine_id"], target["machine_id"][:8]),
            "outcome": target["outcome"] or waits,
            "why": target["why"] or ("" if target["outcome"] else waiting(session)),
        })  # fmt: skip
    words = f"session {known[ref]['label']}" if ref in known else f"{kind} {found[0] if found else ref[:36]}"
    return row | {"targets": targets, "to_words": words, "author": names.get(row["machine_id"], row["machine_id"][:8])}


def waiting(session: Row | None) -> str:
    """Why a queued text is not typed yet, as far as this node can tell."""
    if session is None:
        return "the session is gone"
    if session["stale"]:
        return "its host is offline"
    return "" if session["state"] == "idle" else f"it is typed when the session is idle (now {session['state']})"


def send(node: "Node", ask: Ask) -> Done | Shown:
    """Without `seen` the resolved targets, to be confirmed; with it the broadcast, to exactly those."""
    to, text, raw = ask.one("to").strip(), ask.one("text"), ask.one("raw", "") == "yes"
    broadcasts.check(text, raw)
    with node.reading() as db:
        target, found = broadcasts.resolve_targets(db, to)
        live = {session["id"]: session for session in fleet.live(db, ask)}
    targets = [live[session["id"]] for session in found if session["id"] in live]
    if not targets:
        raise NotFound(f"no live session belongs to {to!r}", "choose another project, group or session")
    if not ask.many("seen"):
        context = {
            "to": to,
            "target": target,
            "text": text,
            "targets": targets,
            "raw": "yes" if raw else "",
            "once": node.new_id(),
            "minutes": broadcasts.EXPIRY_MS // 60_000,
        }
        return Shown("broadcast_confirm.html", context)
    if not ONCE.fullmatch(ask.one("once")):
        raise UsageError("this form was not made here", "begin again at /broadcast")
    sent = broadcasts.send(node, to, text, raw=raw, broadcast_id=ask.one("once"), only=ask.many("seen"))
    return Done(f"On its way to {len(targets)}.", go=f"/broadcast/{sent['id']}")
