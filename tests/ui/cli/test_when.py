"""What people say about time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claire.node.errors import UsageError
from claire.node.hlc import WALL_MS_MAX
from claire.ui.cli.when import moment

NOW = datetime(2026, 11, 22, 12, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2h", "2026-11-22T10:30:15"),
        ("90s", "2026-11-22T12:28:45"),
        ("7d", "2026-11-15T12:30:15"),
        ("1w", "2026-11-15T12:30:15"),
        ("now", "2026-11-22T12:30:15"),
        ("today", "2026-11-22T00:00:00"),
        ("Yesterday", "2026-11-21T00:00:00"),
        ("9:00", "2026-11-22T09:00:00"),
        ("12:31", "2026-11-21T12:31:00"),
        ("2026-11-20", "2026-11-20T00:00:00"),
        ("2026-11-20T08:15", "2026-11-20T08:15:00"),
        ("2026-11-20T08:15:00+02:00", "2026-11-20T06:15:00"),
        ("2026-11-20t08:15:00z", "2026-11-20T08:15:00"),
    ],
)
def test_moment(said: str, meant: str) -> None:
    ms = moment(said, int(NOW.timestamp() * 1000), UTC)
    assert datetime.fromtimestamp(ms / 1000, UTC).isoformat().removesuffix("+00:00") == meant


@pytest.mark.parametrize("said", ["9999-12-31", "0001-01-02", "999999w"])
def test_a_moment_is_one_that_a_stamp_can_have(said: str) -> None:
    assert 0 <= moment(said, int(NOW.timestamp() * 1000), UTC) <= WALL_MS_MAX


@given(st.text(max_size=12))
def test_anything_else_is_a_usage_error(said: str) -> None:
    try:
        assert isinstance(moment(said, int(NOW.timestamp() * 1000), UTC), int)
    except UsageError as error:
        assert repr(said) in error.message


@pytest.mark.parametrize("said", ["", "h", "-2h", "99999999d", "25:00", "soon", "2026-13-01", "9999999h"])
def test_nonsense(said: str) -> None:
    with pytest.raises(UsageError):
        moment(said, int(NOW.timestamp() * 1000), UTC)
