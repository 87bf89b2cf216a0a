"""A member seals events that it signed wrongly: who trusts the seal takes them, who does not see it refuses them.

All come to hold the same anyway, whatever way the events went.
"""

from collections.abc import Callable
from itertools import pairwise, permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claire.config import Home
from claire.node import log, overview, seals, setup, tasks
from claire.node.event import Event
from claire.node.node import Node
from tests.conftest import Clock, befriend
from tests.node.test_admit import etag, everything
from tests.sync.talk import converse

EVENTS = 12
SWEEPS_MAX = 6


def seal_wrongly(author: Node, wrong: set[int]) -> list[Event]:
    """EVENTS events of which those at `wrong` bear another's signature, and a seal over all; what the author holds."""
    with author.writing() as tx:
        made = [tx.record(tasks.TaskCreated(author.new_id(), "p", f"step {number}")) for number in range(EVENTS)]
        for at in wrong:
            tx.db.execute("UPDATE events SET sig = ? WHERE uuid = ?", (made[at - 1].sig, made[at].uuid))
        made = log.get(tx.db, [event.uuid for event in made])
        tx.record(seals.EventsSealed(made[0].hlc, made[-1].hlc, EVENTS, seals.seal_hash(seals.hashed(made))))
    return [event for event in everything(author) if event.hlc >= made[0].hlc]


def sweep(nodes: list[Node]) -> None:
    """Rounds of all with all, until they agree."""
    for _ in range(SWEEPS_MAX):
        for one, other in permutations(nodes, 2):
            converse(one, other)
        if len({etag(node) for node in nodes}) == 1:
            return


def titles(node: Node) -> set[str]:
    with node.reading() as db:
        return {title for (title,) in db.execute("SELECT title FROM tasks")}


@pytest.fixture
def nodes(make_node: Callable[..., Node]) -> list[Node]:
    made = [make_node(name) for name in ("author", "one", "other", "third")]
    befriend(*made)
    sweep(made)
    return made


def test_p1_who_trusted_a_false_seal_looks_again_when_another_refuses(nodes: list[Node]) -> None:
    author, one, other, third = nodes
    made = seal_wrongly(author, {5, 9})
    assert one.receive(made).refused == [], "the seal vouches for them"
    for event in made:
        other.receive([event])
    assert titles(other) == {f"step {number}" for number in range(EVENTS)} - {"step 5", "step 9"}
    converse(other, one)
    assert titles(one) == titles(other), "all of it at once"
    sweep([one, other, third])
    for node in (one, other, third):
        assert titles(node) == titles(other)
        with node.reading() as db:
            assert log.recount(db) == {machine: row for machine, row in log.index(db).items() if row.count}
    with one.reading() as db:
        assert [alarm["kind"] for alarm in overview.overview(db, one.machine_id)["alarms"]] == ["forged"]
    again = one.receive(made)
    assert [refusal.uuid for refusal in again.refused][:1] == [made[5].uuid], "and trusts no seal of that author again"


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sets(st.integers(1, EVENTS - 1), min_size=1, max_size=4),
    st.lists(st.lists(st.integers(1, EVENTS), max_size=4), min_size=2, max_size=2),
    st.booleans(),
)
def test_n1_p1_nodes_agree_whatever_was_sealed_and_however_it_came(
    tmp_path_factory: pytest.TempPathFactory, wrong: set[int], cuts: list[list[int]], author_takes_part: bool
) -> None:
    root, clock = tmp_path_factory.mktemp("fleet"), Clock()
    nodes = [made(root, name, clock) for name in ("author", "one", "other", "third")]
    author, one, other, third = nodes
    befriend(*nodes)
    sweep(nodes)
    events = seal_wrongly(author, wrong)
    for node, at in zip((one, other), cuts, strict=True):
        for begin, end in pairwise([0, *sorted(at), len(events)]):
            node.receive(events[begin:end])
    meet = nodes if author_takes_part else [one, other, third]
    sweep(meet)
    assert len({etag(node) for node in meet}) == 1
    assert all(titles(node) == titles(one) for node in meet)
    for node in nodes:
        node.close()


def made(root: Path, name: str, clock: Clock) -> Node:
    return setup.init(Home.from_env({"CLAIRE_HOME": str(root / name)}), name, now_ms=clock)
