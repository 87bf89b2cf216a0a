"""Whatever others wrote can be signed and stored."""

from __future__ import annotations

import msgspec
import pytest

from claire.fleet import foreign


@pytest.mark.parametrize(
    "value", ["plain", "\ud800half", "a\udcffb", "x" * 100_000, "\x00\n", 3, None, ["x"], {"a": 1}]
)
def test_it_can_be_encoded(value: object) -> None:
    assert "\0" not in foreign.text(value)
    assert len(msgspec.json.encode(foreign.text(value))) <= 6 * foreign.CHARS_MAX + 2


def test_plain_text_stays() -> None:
    assert foreign.text("två 🙂") == "två 🙂"
