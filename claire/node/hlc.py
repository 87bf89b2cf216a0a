"""Hybrid logical clock stamps, `{wall_ms}.{counter:06d}.{machine_id}`: text order is time order.

Kulkarni et al., "Logical Physical Clocks" (2014). The clock keeps no state of its own: `tick` computes
the next stamp from the newest one in the log, so two processes on one log can never disagree.
"""

import re

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
STAMP = re.compile(rf"([0-9]{{13}})\.([0-9]{{6}})\.({UUID})")

WALL_MS_MAX = 9_999_999_999_999  # 13 digits; a 14th would sort before a 13-digit wall
COUNTER_MAX = 999_999
DRIFT_MS_MAX = 60_000  # a foreign stamp further ahead of our wall than this does not move our clock


def encode(wall_ms: int, counter: int, machine_id: str) -> str:
    """Text of one stamp; `wall_ms` is Unix time in milliseconds, 13 digits."""
    assert 0 <= wall_ms <= WALL_MS_MAX and 0 <= counter <= COUNTER_MAX
    return f"{wall_ms:013d}.{counter:06d}.{machine_id}"


def decode(stamp: str) -> tuple[int, int, str]:
    """(wall_ms, counter, machine_id) of a stamp; ValueError if it is malformed."""
    match = STAMP.fullmatch(stamp)
    if match is None:
        raise ValueError(f"malformed stamp {stamp[:80]!r}")
    return int(match[1]), int(match[2]), match[3]


def start(machine_id: str) -> str:
    """The position before a machine's first event."""
    return f"{0:013d}.{0:06d}.{machine_id}"


def horizon(now_ms: int) -> str:
    """Stamps below this may move our clock: at most DRIFT_MS_MAX ahead of our wall clock."""
    return f"{min(max(now_ms, 0) + DRIFT_MS_MAX + 1, WALL_MS_MAX):013d}"


def tick(newest_own: str | None, newest_seen: str | None, now_ms: int, machine_id: str) -> str:
    """The next stamp of `machine_id`: above its own newest, and above `newest_seen` unless that is too far ahead.

    `newest_own` and `newest_seen` are stamps in the log or None; `now_ms` is the wall clock, whatever it says.
    """
    now_ms = min(max(now_ms, 0), WALL_MS_MAX)
    wall, counter = now_ms, 0
    if newest_seen is not None and newest_seen < horizon(now_ms):
        wall, counter = _after(wall, counter, newest_seen)
    wall, counter = _after(wall, counter, newest_own or start(machine_id))
    return encode(wall, counter, machine_id)


def _after(wall: int, counter: int, stamp: str) -> tuple[int, int]:
    """The larger of (wall, counter) and the successor of `stamp`."""
    other_wall, other_counter, _ = decode(stamp)
    successor = (other_wall, other_counter + 1) if other_counter < COUNTER_MAX else (other_wall + 1, 0)
    return max((wall, counter), successor)
