"""`/peers`: every node of the fleet, how fresh it is, and whether it may type here."""

from sqlite3 import Connection
from typing import Any

from claire.node import log
from claire.node.rows import rows
from claire.ui.ask import Ask
from claire.ui.pages import fleet


def show(db: Connection, ask: Ask) -> dict[str, Any]:
    talked = {row["machine_id"]: row for row in rows(db, "SELECT * FROM peers")}
    index = log.index(db)
    return {
        "hosts": [
            host | {"peer": talked.get(host["id"]), "events": index[host["id"]].count if host["id"] in index else 0}
            for host in fleet.hosts(db, ask)
        ],
        "etag": log.etag(db),
        "events": sum(row.count for row in index.values()),
        "unread": db.execute("SELECT count(*) FROM unread_events").fetchone()[0],
        "aside": db.execute("SELECT count(*) FROM events_aside").fetchone()[0],
    }
