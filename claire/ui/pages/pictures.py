"""What the SVG pictures are drawn from: activity per hour, burn-up per day."""

from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from sqlite3 import Connection
from typing import Any

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
HOURS = 24
EVENTS_COUNTED_MAX = 20_000  # of a very busy day only the newest are counted; the picture then starts later
BURN_DAYS_MAX = 90
ACTIVE_DAYS = 30
BURN_WIDTH, BURN_HEIGHT = 600, 160

TASKS_OF = (
    "SELECT id FROM tasks WHERE deleted IS NOT 1 AND created_hlc IS NOT NULL"
    " AND project_id IN (SELECT id FROM projects WHERE root_id = :project OR id = :project)"
)


def activity(db: Connection, now_ms: int) -> list[int]:
    """How many events each of the last 24 hours saw, oldest first."""
    first = now_ms // HOUR_MS - HOURS + 1
    counts = dict(
        db.execute(
            "SELECT CAST(substr(hlc, 1, 13) AS INTEGER) / ?1 AS hour, count(*) FROM"
            " (SELECT hlc FROM events WHERE hlc >= ?2 AND hlc < ?3 ORDER BY hlc DESC LIMIT ?4) GROUP BY 1",
            (HOUR_MS, f"{first * HOUR_MS:013d}", f"{now_ms + HOUR_MS:013d}", EVENTS_COUNTED_MAX),
        )
    )
    return [counts.get(hour, 0) for hour in range(first, first + HOURS)]


def project_activity(db: Connection, project_id: str, now_ms: int) -> list[int]:
    """How much each of the last ACTIVE_DAYS days saw of a project: reports, decisions, tasks made and changed."""
    first = now_ms // DAY_MS - ACTIVE_DAYS + 1
    since = f"{first * DAY_MS:013d}"
    counts: Counter[int] = Counter()
    for select in (
        "SELECT hlc FROM updates WHERE task_id IN ({tasks}) AND hlc >= :since",
        "SELECT hlc FROM decisions WHERE project_id = :project AND hlc >= :since",
        "SELECT created_hlc FROM tasks WHERE id IN ({tasks}) AND created_hlc >= :since",
        "SELECT updated_hlc FROM tasks WHERE id IN ({tasks}) AND updated_hlc > created_hlc AND updated_hlc >= :since",
    ):
        found = db.execute(select.format(tasks=TASKS_OF), {"project": project_id, "since": since})
        counts.update(int(hlc[:13]) // DAY_MS for (hlc,) in found)
    return [counts[day] for day in range(first, first + ACTIVE_DAYS)]


def burn_up(db: Connection, project_id: str, now_ms: int) -> dict[str, Any] | None:
    """Scope and done per day as polylines in a BURN_WIDTH x BURN_HEIGHT box; None in the first two days."""
    made = db.execute(
        "SELECT CAST(substr(created_hlc, 1, 13) AS INTEGER) / ?1,"
        " CASE WHEN status = 'done' THEN CAST(substr(updated_hlc, 1, 13) AS INTEGER) / ?1 END FROM tasks"
        " WHERE created_hlc IS NOT NULL AND deleted IS NOT 1"
        " AND project_id IN (SELECT id FROM projects WHERE root_id = ?2 OR id = ?2)",
        (DAY_MS, project_id),
    ).fetchall()
    today = now_ms // DAY_MS
    first = max(min((day for day, _ in made), default=today), today - BURN_DAYS_MAX + 1)
    if first >= today:
        return None
    scope = grown((created for created, _ in made), first, today)
    done = grown((ended for _, ended in made if ended is not None), first, today)
    return {
        "scope": polyline(scope, max(scope)),
        "done": polyline(done, max(scope)),
        "days": len(scope),
        "total": scope[-1],
        "finished": done[-1],
        "first_ms": first * DAY_MS,
        "width": BURN_WIDTH,
        "height": BURN_HEIGHT,
    }


def grown(days: Iterable[int], first: int, last: int) -> list[int]:
    """How many there were by the end of each day; what is older counts from the first, a clock ahead by the last."""
    counts = Counter(min(max(day, first), last) for day in days)
    return list(accumulate(counts[day] for day in range(first, last + 1)))


def polyline(values: list[int], top: int) -> str:
    step = BURN_WIDTH / (len(values) - 1)
    return " ".join(f"{n * step:.1f},{BURN_HEIGHT * (1 - value / (top or 1)):.1f}" for n, value in enumerate(values))
