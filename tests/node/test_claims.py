"""Claims: one session at a time where nodes can talk, and the same answer everywhere where they could not."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claire.node import assignments, claims, projects, sessions, tasks
from claire.node.errors import NotFound, Refused, UsageError
from claire.node.event import Body
from claire.node.node import Node
from claire.node.rows import Row
from tests.conftest import Clock, befriend
from tests.node import events as made
from tests.node.doing import CLEARED, SESSION, read, saw
from tests.node.test_admit import everything


@pytest.fixture
def task(node: Node) -> Row:
    sessions.observe(node, [saw(), saw(CLEARED)])
    return tasks.add(node, projects.create(node, "api")["id"], "write it")


def claim_of(node: Node, session: str) -> str:
    held = read(node, assignments.of_session, session)
    return str(held["claim"]) if held else ""


def test_a_claim_keeps_others_out_until_it_lapses(node: Node, task: Row, clock: Clock) -> None:
    held = claims.claim(node, task["id"], SESSION, 30 * 60_000)
    assert (held["claim"], held["lease_until_ms"]) == ("held", clock.now_ms + 30 * 60_000)
    assert read(node, tasks.find, task["id"])["status"] == "in_progress"
    with pytest.raises(Refused, match=f"held by session {SESSION[:8]} .* on alpha"):
        claims.claim(node, task["id"], CLEARED)
    clock.now_ms += 30 * 60_000
    assert claims.lapsed(held, clock.now_ms)
    taken = claims.claim(node, task["id"], CLEARED)
    assert (taken["claim"], claim_of(node, SESSION)) == ("held", "")
    assert read(node, assignments.find, held["id"])["reason"] == "its lease had lapsed"


def test_claiming_again_renews_and_a_sign_of_life_only_when_half_is_gone(node: Node, task: Row, clock: Clock) -> None:
    held = claims.claim(node, task["id"], SESSION)
    before = len(everything(node))
    clock.now_ms += claims.LEASE_MS // 3
    assert not claims.renew(node, SESSION)
    assert len(everything(node)) == before
    clock.now_ms += claims.LEASE_MS // 3
    assert claims.renew(node, SESSION)
    renewed = read(node, assignments.find, held["id"])
    assert renewed["lease_until_ms"] == clock.now_ms + claims.LEASE_MS
    assert renewed["created_hlc"] == held["created_hlc"]
    longer = claims.claim(node, task["id"], SESSION, 2 * claims.LEASE_MS)
    assert (longer["id"], longer["lease_until_ms"]) == (held["id"], clock.now_ms + 2 * claims.LEASE_MS)


def test_a_claim_follows_its_session(node: Node, task: Row) -> None:
    claims.claim(node, task["id"], SESSION)
    sessions.succeed(node, SESSION, CLEARED, "/clear")
    assert claims.claim(node, task["id"], CLEARED)["claim"] == "held"
    claims.release(node, CLEARED)
    assert read(node, tasks.find, task["id"])["status"] == "todo"
    with pytest.raises(NotFound):
        claims.release(node, CLEARED)


def test_what_was_given_is_not_taken_by_a_claim(node: Node, task: Row) -> None:
    assignments.assign(node, task["id"], SESSION)
    with pytest.raises(Refused):
        claims.claim(node, task["id"], CLEARED)
    assert claims.claim(node, task["id"], SESSION)["claim"] == "held"


def test_going_on_to_another_task_gives_the_first_back(node: Node, task: Row) -> None:
    other = tasks.add(node, "api", "other")
    claims.claim(node, task["id"], SESSION)
    claims.claim(node, other["id"], SESSION)
    assert read(node, tasks.find, task["id"])["status"] == "todo"
    assert [a["task_id"] for a in read(node, assignments.list_assignments)] == [other["id"]]


def test_only_work_that_can_begin_is_ready(node: Node, task: Row, clock: Clock) -> None:
    first, waiting, given = (
        tasks.add(node, "api", title, priority=p) for title, p in [("first", 2), ("waits", 1), ("g", 3)]
    )
    tasks.add(node, "api", "urgent", priority=0)
    paused = tasks.add(node, projects.create(node, "later")["id"], "not now")
    projects.edit(node, "later", status="paused")
    tasks.link(node, waiting["id"], first["id"])
    assignments.assign(node, given["id"], CLEARED)
    claims.claim(node, task["id"], SESSION)

    def ready() -> list[str]:
        return [row["title"] for row in read(node, claims.ready, clock.now_ms)]

    assert ready() == ["urgent", "first"]
    for refused in (waiting, given):
        with pytest.raises(Refused):
            claims.claim(node, refused["id"], SESSION)
    tasks.set_status(node, first["id"], "done")
    assert ready() == ["urgent", "waits"]
    with pytest.raises(Refused, match="is done"):
        claims.claim(node, first["id"], SESSION)
    clock.now_ms += claims.LEASE_MS
    assert ready() == ["urgent", "waits", "write it"]  # its lease has lapsed
    assert claims.claim(node, paused["id"], SESSION)["claim"] == "held"  # whoever names it may


@pytest.mark.parametrize("lease_ms", [0, -1, 59_999, claims.LEASE_MS_MAX + 1])
def test_a_lease_has_bounds(node: Node, task: Row, lease_ms: int) -> None:
    with pytest.raises(UsageError):
        claims.claim(node, task["id"], SESSION, lease_ms)


def test_two_hosts_claim_at_once(make_node: Callable[..., Node], clock: Clock) -> None:
    """The earlier one holds, on both; the other one is told, and may give it back."""
    a, b = make_node("a"), make_node("b")
    befriend(a, b)
    task = tasks.add(a, projects.create(a, "api")["id"], "write it")
    b.receive(everything(a))
    sessions.observe(a, [saw()])
    sessions.observe(b, [saw(CLEARED, host="beta")])
    claims.claim(b, task["id"], CLEARED)
    clock.now_ms += 5_000
    claims.claim(a, task["id"], SESSION)
    a.receive(everything(b))
    b.receive(everything(a))
    for node in (a, b):
        assert (claim_of(node, CLEARED), claim_of(node, SESSION)) == ("held", "contested")
        (conflict,) = read(node, claims.contested)
        assert (conflict["id"], conflict["shown"]) == (task["id"], CLEARED)
        assert [(v["value"], v["host"]) for v in conflict["values"]] == [(CLEARED, "beta"), (SESSION, "alpha")]
        (double,) = read(node, assignments.duplicate_work)
        assert double["claimed_by"] == CLEARED
    with pytest.raises(Refused, match="on beta"):
        claims.claim(a, task["id"], SESSION)
    assert claims.claim(b, task["id"], CLEARED)["claim"] == "held"
    claims.release(a, SESSION)
    b.receive(everything(a))
    for node in (a, b):
        assert (read(node, claims.contested), claim_of(node, CLEARED)) == ([], "held")
        assert read(node, tasks.find, task["id"])["status"] == "in_progress"


few = st.sampled_from(made.IDS[:2])  # so that they get into each other's way
claimed = st.builds(assignments.AssignmentCreated, few, few, few, st.none() | st.integers(0, 9))
ended = st.builds(assignments.AssignmentEnded, few)
succeeded = st.builds(sessions.SessionSucceeded, few, few, st.just("/clear"))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), claimed | claimed | ended | succeeded), min_size=1, max_size=8),
    st.permutations(range(8)),
)
def test_whoever_hears_what_first_names_the_same_holder(said: list[tuple[int, Body]], order: list[int]) -> None:
    """One event at a time, in any order: the tables of a replay, and at most one holder a task."""
    events = [
        made.signed(made.KEYS[machine], body, made.WALL_MS + n, f"00000000-0000-7000-8000-{n:012d}")
        for n, (machine, body) in enumerate(said)
    ]
    db = made.empty_database()
    for n in order:
        if n < len(events):
            made.take_in(db, [events[n]])
    held = assignments.list_assignments(db)
    assert made.tables(db) == made.replayed(db)
    in_order = made.empty_database()
    made.take_in(in_order, events)
    assert held == assignments.list_assignments(in_order)
    for task in made.IDS:
        holders = [a["id"] for a in held if (a["task_id"], a["claim"]) == (task, "held")]
        contested = [a for a in held if (a["task_id"], a["claim"]) == (task, "contested")]
        assert len(holders) <= 1 and (holders or not contested)


def test_an_assignment_told_twice_counts_where_it_was_told_first() -> None:
    """The later telling arrives first: the session it named is free again when the earlier one comes."""
    one, other = made.IDS[:2]
    told = [(other, one), (one, other), (one, one)]  # (assignment, session), in the order of their stamps
    events = [
        made.signed(
            made.OWN, assignments.AssignmentCreated(a, one, s), made.WALL_MS + n, f"00000000-0000-7000-8000-{n:012d}"
        )
        for n, (a, s) in enumerate(told)
    ]
    db = made.empty_database()
    for n in (0, 2, 1):
        made.take_in(db, [events[n]])
    assert {a["id"] for a in assignments.list_assignments(db)} == {one, other}
    assert made.tables(db) == made.replayed(db)
