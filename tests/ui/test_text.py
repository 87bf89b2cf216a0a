"""Foreign text is inert, and columns line up at every width."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claire.ui import text

ANY = st.text(max_size=40)
OWN_SGR = re.compile(r"\x1b\[[0-9;]*m")
STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]"
)


@given(ANY)
def test_c1_nothing_that_steers_a_terminal_survives(foreign: str) -> None:
    shown = text.safe(foreign)
    assert not STEERING.search(shown) and "\n" not in shown
    assert text.safe(shown) == shown


@given(st.lists(st.tuples(ANY, st.sampled_from(["", *text.STYLES]))), st.booleans())
def test_c1_paint_adds_our_own_styles_and_nothing_else(line: list[tuple[str, str]], colour: bool) -> None:
    painted = text.paint([line], colour)
    assert painted.endswith("\n")
    bare = OWN_SGR.sub("", painted) if colour else painted
    assert not STEERING.search(bare.removesuffix("\n"))


def test_c1_a_forged_style_is_spelt_out() -> None:
    assert text.paint([[("\x1b[31mred", "")]], True) == "\\x1b[31mred\n"


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("naïve 日本 🎉", "naïve 日本 🎉"),
        ("a\u202eb", "a\\u202eb"),
        ("two\nlines", "two lines"),
        ("bell\x07", "bell\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("family 👨\u200d👩", "family 👨\u200d👩"),
        ("no\xa0break", "no break"),
        ("\ud800", "\\ud800"),
    ],
)
def test_safe(foreign: str, shown: str) -> None:
    assert text.safe(foreign) == shown


@given(ANY.filter(lambda t: not STEERING.search(t)))
def test_json_stays_the_same_value_and_printable(value: str) -> None:
    written = text.json_safe(json.dumps(value, ensure_ascii=False))
    assert written.isprintable()
    assert json.loads(written) == value


@given(
    st.lists(st.tuples(st.from_regex("[0-9a-f]{8}", fullmatch=True), ANY, ANY), min_size=1, max_size=5),
    st.integers(text.WIDTH_MIN, text.WIDTH_MAX),
)
def test_a_table_fits_and_lines_up(rows: list[tuple[str, str, str]], width: int) -> None:
    lines = text.table(["ID", "TITLE*", "PROJECT*?"], rows, width)
    assert len(lines) == len(rows) + 1
    assert all(sum(text.cells(t) for t, _ in line) <= max(width, 8 + 2 + 40) for line in lines)
    starts = {tuple(text.cells(t) for t, _ in line[:-1]) for line in lines}
    assert len(starts) == 1


def test_a_short_column_is_not_cut_for_a_long_one() -> None:
    rows = [["a1b2c3d4", "a title that goes on for a long while", "which rounding rule holds for yen?"]]
    (line,) = text.table(["ID", "TITLE*", "ASKS*"], rows, 50)[1:]
    assert [text.cells(words.rstrip()) for words, _ in line] == [8, 19, 19]
    (line,) = text.table(["ID", "TITLE*", "ASKS*"], [[*rows[0][:2], "which?"]], 50)[1:]
    assert line[2][0] == "which?"


def test_narrow_tables_shorten_then_leave_out() -> None:
    rows = [["a1b2c3d4", "a title that goes on for a long while", "a project name"]]
    wide, narrow = (text.table(["ID", "TITLE*", "PROJECT*?"], rows, w) for w in (50, 28))
    assert len(wide[1]) == 3 and wide[1][1][0].rstrip().endswith("…")
    assert len(narrow[1]) == 2
    assert max(sum(text.cells(t) for t, _ in line) for line in narrow) <= 28


@given(ANY, st.integers(1, 40))
def test_cut_keeps_to_its_cells(foreign: str, limit: int) -> None:
    assert text.cells(text.cut(text.safe(foreign), limit)) <= limit


@given(ANY, st.integers(4, 40))
def test_wrapped_lines_keep_to_the_width_and_lose_nothing(foreign: str, width: int) -> None:
    lines = text.wrapped(foreign, width)
    assert all(text.cells(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == "".join(map(text.safe, foreign.split("\n"))).replace(" ", "")


@pytest.mark.parametrize(
    ("ms", "said"),
    [(0, "0s"), (59_999, "59s"), (60_000, "1m"), (7_260_000, "2h"), (90_000_000, "25h"), (10**9, "11d")],
)
def test_age(ms: int, said: str) -> None:
    assert text.age(ms) == said


def test_fields_wrap_under_themselves() -> None:
    lines = text.fields([("goal", "one two three"), ("", ""), ("owner", "ann")], 16)
    assert ["".join(t for t, _ in line) for line in lines] == ["goal   one two", "       three", "owner  ann"]
