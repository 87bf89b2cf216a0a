"""The moments people name: `2h`, `9:00`, `yesterday`, `2026-11-22`; pure, the time now comes in."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from claire.node.errors import UsageError
from claire.node.hlc import WALL_MS_MAX

UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
AGO_DIGITS_MAX = 6


def moment(said: str, now_ms: int, zone: tzinfo | None = None) -> int:
    """Unix milliseconds of what was said, in the reader's own time zone where the text names none.

    Nothing is before 1970 or after the last stamp there can be.
    """
    text = said.strip().lower()
    if (ago_ms := _length(text)) is not None:
        return max(0, now_ms - ago_ms)
    now = datetime.fromtimestamp(now_ms / 1000).astimezone(zone)
    try:
        return min(max(0, int(_calendar(text, now).timestamp() * 1000)), WALL_MS_MAX)
    except (ValueError, OverflowError):
        raise UsageError(f"{said!r} is not a time", "2h, 7d, 9:00, yesterday, 2026-11-22 or 2026-11-22T09:00") from None


def length(said: str) -> int:
    """Milliseconds of a duration like `30m`."""
    found = _length(said.strip().lower())
    if found is None:
        raise UsageError(f"{said!r} is not a length of time", "90s, 30m, 2h or 1d")
    return found


def _length(text: str) -> int | None:
    count, unit = text[:-1], text[-1:]
    if count.isascii() and count.isdecimal() and len(count) <= AGO_DIGITS_MAX and unit in UNITS_MS:
        return int(count) * UNITS_MS[unit]
    return None


def _calendar(text: str, now: datetime) -> datetime:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if text == "now":
        return now
    if text == "today":
        return midnight
    if text == "yesterday":
        return midnight - timedelta(days=1)
    if ":" in text and "-" not in text:
        clock = datetime.strptime(text, "%H:%M")
        today = now.replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
        return today if today <= now else today - timedelta(days=1)
    named = datetime.fromisoformat(text.upper())
    return named if named.tzinfo else named.replace(tzinfo=now.tzinfo)
