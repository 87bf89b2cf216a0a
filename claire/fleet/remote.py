"""Sessions on hosts without a node, as rclaude sees them, turned into observations. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from claire.fleet.rclaude import Found, Listing
from claire.fleet.state import Confidence, State
from claire.node import sessions
from claire.node.rows import Row
from claire.node.sessions import Observation

SOURCE = "rclaude"
_MILLISECONDS_FROM = 100_000_000_000  # some tools say mtime in milliseconds


def observations(
    listing: Listing, known: Mapping[str, Row], machine_id: str, seen_here: Collection[str], now_ms: int
) -> list[Observation]:
    """What to record: what its own node does not say itself, and what a host that answered has no longer."""
    news = [
        _observed(found, known.get(found.session_uuid), now_ms)
        for found in listing.found
        if found.session_uuid not in seen_here and _is_free(known.get(found.session_uuid), machine_id, listing.asked_ms)
    ]
    listed = {found.session_uuid for found in listing.found}
    lost = [
        _ended(row, now_ms)
        for row in known.values()
        if row["source"] == SOURCE
        and row["machine_id"] == machine_id
        and not row["gone"]
        and row["host"] in listing.answered
        and row["id"] not in listed
    ]
    return [*news, *lost]


def _is_free(row: Row | None, machine_id: str, asked_ms: int) -> bool:
    """A node that looks at its own sessions knows better than anybody from outside, and sooner."""
    if row is None:
        return True
    if row["gone"]:
        return sessions.seen_ms(row) < asked_ms
    return bool(row["machine_id"] == machine_id and row["source"] == SOURCE)


def _observed(found: Found, row: Row | None, now_ms: int) -> Observation:
    same = row is not None and row["state"] == found.state and not row["gone"]
    mtime = found.mtime / 1000 if found.mtime > _MILLISECONDS_FROM else found.mtime
    return Observation(
        session_uuid=found.session_uuid,
        host=found.host,
        cwd=found.cwd,
        tmux_name=found.tmux_name,
        pane=found.pane,
        name=found.name,
        version=found.version,
        state=found.state,
        source=SOURCE,
        confidence=Confidence.LOW if found.state is State.UNKNOWN else Confidence.MEDIUM,
        waiting_for=found.waiting_for,
        since_ms=row["since_ms"] if row and same else now_ms,
        last_seen_ms=max(int(mtime * 1000), 0),
        last_seen_mtime=max(mtime, 0.0),
        last_triage=found.triage or (row["last_triage"] if row else "") or "",
    )


def _ended(row: Row, now_ms: int) -> Observation:
    return msgspec.structs.replace(recorded(row), state=State.GONE, gone=True, since_ms=now_ms, waiting_for="")


def recorded(row: Row) -> Observation:
    """The observation that a row of the log came from."""
    fields = {name: row[name] for name in Observation.__struct_fields__[1:] if row.get(name) is not None}
    return Observation(session_uuid=row["id"], **fields)
