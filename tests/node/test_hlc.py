"""Stamps: text order is time order, whatever the clocks do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claire.node import hlc

MACHINES = ["00000000-0000-8000-8000-00000000000a", "ffffffff-0000-8000-8000-00000000000b"]
walls = st.integers(0, hlc.WALL_MS_MAX - 10)
stamps = st.builds(hlc.encode, walls, st.integers(0, hlc.COUNTER_MAX), st.sampled_from(MACHINES))


@given(stamps, stamps)
def test_text_order_is_time_order(one: str, other: str) -> None:
    assert (one < other) == (hlc.decode(one) < hlc.decode(other))


@given(st.lists(st.tuples(st.integers(-(10**15), 10**15), st.none() | stamps), min_size=2, max_size=20))
def test_stamps_of_a_machine_strictly_increase_with_clocks_that_jump(readings: list[tuple[int, str | None]]) -> None:
    newest = None
    for now_ms, seen in readings:
        stamp = hlc.tick(newest, seen, min(now_ms, hlc.WALL_MS_MAX - 100), MACHINES[0])
        assert hlc.STAMP.fullmatch(stamp)
        assert newest is None or stamp > newest
        newest = stamp


@given(walls, stamps)
def test_a_foreign_stamp_moves_the_clock_a_minute_at_most(now_ms: int, seen: str) -> None:
    wall, _, _ = hlc.decode(hlc.tick(None, seen, now_ms, MACHINES[0]))
    assert now_ms <= wall <= now_ms + hlc.DRIFT_MS_MAX + 1


def test_a_stamp_is_above_what_it_has_seen() -> None:
    seen = hlc.encode(1_000_050_000, 7, MACHINES[1])
    assert hlc.tick(None, seen, 1_000_000_000, MACHINES[0]) == hlc.encode(1_000_050_000, 8, MACHINES[0])


def test_the_first_stamp_is_after_the_start_whatever_the_clock_says() -> None:
    """Peers ask for what comes after the start."""
    assert hlc.tick(None, None, -5, MACHINES[0]) > hlc.start(MACHINES[0])


def test_a_full_counter_carries_into_the_wall() -> None:
    full = hlc.encode(1_000_000_000, hlc.COUNTER_MAX, MACHINES[0])
    assert hlc.tick(full, None, 1_000_000_000, MACHINES[0]) == hlc.encode(1_000_000_001, 0, MACHINES[0])


@pytest.mark.parametrize(
    "text",
    ["", "1.2.3", "999.000000." + MACHINES[0], "12345678901234.000000." + MACHINES[0],
     "1234567890123.1000000." + MACHINES[0], "1234567890123.000000." + MACHINES[1].upper(),
     "1234567890123.000000." + MACHINES[0] + "\n", "١٢٣٤٥٦٧٨٩٠١٢٣.000000." + MACHINES[0]],
)  # fmt: skip
def test_a_malformed_stamp_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="malformed"):
        hlc.decode(text)
