"""`/log`: what happened across the fleet, in causal order, newest first."""

from sqlite3 import Connection
from typing import Any
from urllib.parse import urlencode

from claire.node import history, members, projects
from claire.ui.ask import Ask
from claire.ui.pages.tales import tell
from claire.ui.story import TELLERS

EVENTS_SHOWN = 100
MOMENT_DIGITS_MAX = 13  # as many as a stamp has
SPANS_MS = {"1h": 3_600_000, "24h": 86_400_000, "7d": 7 * 86_400_000}


def show(db: Connection, ask: Ask) -> dict[str, Any]:
    asked = {name: ask.query.get(name, "") for name in ("host", "about", "kind", "span", "before")}
    span, before = SPANS_MS.get(asked["span"]), asked["before"]
    is_moment = before.isascii() and before.isdigit() and len(before) <= MOMENT_DIGITS_MAX
    found = history.list_events(
        db,
        about=asked["about"] or None,
        machine_id=asked["host"] or None,
        event_type=asked["kind"] or None,
        since_ms=ask.now_ms - span if span else None,
        until_ms=int(before) if is_moment else None,
        limit=EVENTS_SHOWN + 1,
    )
    older = ""
    if len(found) > EVENTS_SHOWN:
        filters = {name: value for name, value in asked.items() if value and name != "before"}
        older = f"/log?{urlencode(filters | {'before': found[EVENTS_SHOWN - 1]['at_ms']})}"
    return {
        "events": tell(db, found[:EVENTS_SHOWN]),
        "older": older,
        "asked": asked,
        "hosts": members.list_members(db),
        "projects": projects.list_projects(db),
        "kinds": sorted(TELLERS),
        "spans": list(SPANS_MS),
    }
