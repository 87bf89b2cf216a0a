"""The frame around every page: whose node this is, what waits for a person, what is wrong."""

from sqlite3 import Connection
from typing import Any

from claire.node import members
from claire.node.sessions import NEEDS_PERSON
from claire.ui.ask import Ask

ALARMS_SHOWN = 3


def read(db: Connection, ask: Ask) -> dict[str, Any]:
    marks = ", ".join("?" * len(NEEDS_PERSON))
    (needs,) = db.execute(
        f"SELECT count(*) FROM sessions WHERE gone IS NOT 1 AND state IN ({marks})", NEEDS_PERSON
    ).fetchone()
    (conflicts,) = db.execute("SELECT count(*) FROM conflicts WHERE noun <> 'task_links'").fetchone()
    alarms = db.execute(
        "SELECT kind, detail, count FROM alarms ORDER BY last_ms DESC LIMIT ?", (ALARMS_SHOWN,)
    ).fetchall()
    return {
        "host": members.names(db).get(ask.machine_id, ask.machine_id[:8]),
        "needs": needs,
        "conflicts": conflicts,
        "alarms": [f"{kind.replace('_', ' ')}: {detail} ({count} times)" for kind, detail, count in alarms],
    }
