"""How much the log holds and how fast it grows: of whom, of what, since when."""

import sqlite3

from claire.node.rows import Row, rows

DAY_MS = 86_400_000
ENVELOPE_BYTES = 36 + 57 + 36 + 24 + 86  # uuid, stamp, machine id, time, signature


def by_host_and_type(db: sqlite3.Connection, since_ms: int = 0) -> list[Row]:
    """A row for each host and type of event: how many, their bytes as sent, on how many days, how many a day then."""
    return rows(
        db,
        "SELECT e.machine_id || '/' || e.event_type AS id, e.machine_id, coalesce(m.name, '') AS host, e.event_type,"
        " count(*) AS events, sum(length(CAST(e.payload AS BLOB)) + length(e.event_type) + ?1) AS bytes,"
        " count(DISTINCT CAST(substr(e.hlc, 1, 13) AS INTEGER) / ?2) AS days,"
        " round(1.0 * count(*) / count(DISTINCT CAST(substr(e.hlc, 1, 13) AS INTEGER) / ?2), 1) AS per_day"
        " FROM events e LEFT JOIN members m ON m.id = e.machine_id WHERE e.hlc >= ?3"
        " GROUP BY e.machine_id, e.event_type ORDER BY bytes DESC, id",
        (ENVELOPE_BYTES, DAY_MS, f"{since_ms:013d}"),
    )
