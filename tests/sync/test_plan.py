"""Plans are decided from two indexes alone; ranges always cover what they were cut from."""

from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from claire.sync.plan import FANOUT_RANGES, FIRST, LAST, Plan, behind, between, cuts, overlap, plan


class Row(msgspec.Struct, frozen=True):
    newest: str
    count: int
    digest: str


def test_plan_resolves_each_difference() -> None:
    mine = {m: Row("5", 5, "x") for m in ("same", "older", "newer", "hole", "fork", "mine_only")}
    theirs = {
        "same": Row("5", 5, "x"),
        "older": Row("4", 4, "y"),
        "newer": Row("6", 6, "y"),
        "hole": Row("5", 4, "x"),
        "fork": Row("5", 5, "y"),
        "theirs_only": Row("9", 9, "z"),
    }
    assert plan(mine, theirs) == Plan(pull={"newer": "5"}, push={"older": "4"}, compare=["fork", "hole"])
    assert behind(mine, theirs) == {"newer": 1, "theirs_only": 9}


ROWS = st.builds(Row, st.sampled_from("abc"), st.integers(0, 3), st.sampled_from("xy"))
INDEXES = st.dictionaries(st.sampled_from("klmn"), ROWS)


@given(INDEXES, INDEXES)
def test_both_sides_plan_the_same_exchange(mine: dict[str, Row], theirs: dict[str, Row]) -> None:
    ours, others = plan(mine, theirs), plan(theirs, mine)
    assert (ours.pull.keys(), ours.push.keys(), ours.compare) == (
        others.push.keys(),
        others.pull.keys(),
        others.compare,
    )
    planned = ours.pull.keys() | ours.push.keys() | set(ours.compare)
    assert planned == {m for m in mine.keys() & theirs.keys() if mine[m] != theirs[m]}


@given(st.integers(0, 10_000))
def test_cuts_divide_evenly(count: int) -> None:
    offsets = [0, *cuts(count), count]
    sizes = [high - low for low, high in pairwise(offsets)]
    assert len(sizes) <= FANOUT_RANGES and max(sizes) - min(sizes) <= 1


KEYS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("uvw")), unique=True).map(sorted)


@given(KEYS)
def test_ranges_between_cuts_cover_every_key_once(keys: list[tuple[str, str]]) -> None:
    ranges = between(FIRST, keys, LAST)
    assert ranges[0][0] == FIRST and ranges[-1][1] == LAST
    assert all(sum(lo <= key < hi for lo, hi in ranges) == 1 for key in keys)


@given(KEYS)
def test_what_cuts_leave_does_not_overlap(keys: list[tuple[str, str]]) -> None:
    ranges = between(FIRST, keys, LAST)
    assert not overlap(reversed(ranges))
    assert overlap([*ranges, ranges[0]]) and overlap([(LAST, FIRST)])
