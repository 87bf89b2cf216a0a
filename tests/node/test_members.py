"""Members: what a node says of itself, renames, revocations, and whose key is whose."""

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claire.config import Home
from claire.node import decisions, hlc, identity, members, setup
from claire.node.errors import Refused, UsageError
from claire.node.event import Event
from claire.node.node import Node, time_ordered_uuid
from tests.conftest import Clock, befriend
from tests.node import events as made
from tests.node.test_admit import etag, everything

KEYS = [identity.Identity(bytes([n]) * 32) for n in range(11, 16)]


def test_a_key_cannot_speak_for_another_machine() -> None:
    assert members.proves(KEYS[1].public_key.hex(), KEYS[1].machine_id)
    assert not members.proves(KEYS[2].public_key.hex(), KEYS[1].machine_id)
    assert not members.proves("zz", KEYS[1].machine_id)


def test_a_node_announces_itself_once(node: Node) -> None:
    assert members.announce(node, "alpha", ["100.64.0.1:8766"], "1")
    assert not members.announce(node, "alpha", ["100.64.0.1:8766"], "1")
    with node.reading() as db:
        (own,) = members.list_members(db)
    assert (own["name"], own["addresses"], own["state"]) == ("alpha", ["100.64.0.1:8766"], "member")


def test_a_node_does_not_revoke_itself_and_can_be_renamed(make_node: Callable[..., Node]) -> None:
    node = make_node("alpha")
    with pytest.raises(Refused):
        members.revoke(node, "alpha")
    assert members.rename(node, "alpha", "laptop")["name"] == "laptop"
    with pytest.raises(UsageError):
        members.rename(node, "laptop", "two\nlines")


owner, one, two = made.KEYS
# Who may revoke whom: never each other, for that splits a fleet (see below).
words = st.one_of(
    st.tuples(st.just(owner), st.sampled_from(["admit", "revoke"]), st.sampled_from([one, two]), st.integers(0, 12)),
    st.tuples(st.just(one), st.sampled_from(["admit", "say"]), st.just(two), st.just(0)),
    st.tuples(st.just(two), st.sampled_from(["admit", "say", "revoke"]), st.just(one), st.integers(0, 12)),
)


@settings(max_examples=20, deadline=None)
@given(st.lists(words, max_size=12), st.randoms(use_true_random=False), st.integers(1, 5))
def test_who_is_a_member_and_what_is_in_the_log_need_no_order(
    said: list[tuple[identity.Identity, str, identity.Identity, int]], rng: random.Random, batch_events: int
) -> None:
    """Admissions and revocations of whatever time, heard in any order, again and again until nothing is new."""
    events = [_said(n, *word) for n, word in enumerate(said)]
    shuffled = rng.sample(events, len(events))
    batches = [shuffled[start : start + batch_events] for start in range(0, len(shuffled), batch_events)]
    with tempfile.TemporaryDirectory() as root, _trusting(root, "a") as first, _trusting(root, "b") as second:
        _hear(first, [events])
        _hear(second, batches)
        assert etag(first) == etag(second)
        with first.reading() as here, second.reading() as there:
            assert made.tables(here) == made.tables(there)
        with second.writing() as tx:
            before = made.tables(tx.db)
            assert made.replayed(tx.db) == before


def _said(n: int, who: identity.Identity, word: str, whom: identity.Identity, through: int) -> Event:
    cut = hlc.encode(made.WALL_MS + through, 0, whom.machine_id)
    body = {
        "admit": members.NodeAdmitted(whom.machine_id, whom.public_key.hex(), "n"),
        "revoke": members.NodeRevoked(whom.machine_id, cut),
        "say": decisions.DecisionLogged(f"d{n}"),
    }[word]
    return made.signed(who, body, made.WALL_MS + n, time_ordered_uuid(made.WALL_MS, n.to_bytes(10, "big")))


@contextmanager
def _trusting(root: str, name: str) -> Iterator[Node]:
    """The same node each time, under its own roof, that trusts the owner."""
    home = Home.from_env({"CLAIRE_HOME": os.path.join(root, name)})
    with setup.init(home, "n", now_ms=lambda: made.WALL_MS, entropy=lambda count: b"\7" * count) as node:
        node._writer.execute("PRAGMA synchronous = OFF")  # no power is cut here, and there are many examples
        with node.writing() as tx:
            tx.db.execute("INSERT INTO pins VALUES (?, ?, 'owner')", (owner.machine_id, owner.public_key.hex()))
            members.settle(tx.db, ())
        yield node


def _hear(node: Node, batches: list[list[Event]]) -> None:
    """Until nothing of it is new, as rounds with peers go on until nothing changes."""
    for _ in range(20):
        before = etag(node)
        for batch in batches:
            node.receive(sorted(batch, key=lambda event: event.hlc))  # as they travel, in one batch
        if etag(node) == before:
            return
    raise AssertionError("it never settles")


def test_nodes_that_revoke_each_other_split_the_fleet_until_somebody_says_since_when(
    make_node: Callable[..., Node], clock: Clock
) -> None:
    """Nothing tells an owner from a thief. Who heard which first stays with it, until a third names the moment."""
    owner, thief, one, other = nodes = [make_node(name) for name in ("owner", "thief", "one", "other")]
    befriend(*nodes)
    exchange(nodes)
    clock.now_ms += 1_000
    before_ms = clock.now_ms
    clock.now_ms += 1_000
    members.revoke(owner, thief.machine_id)
    members.revoke(thief, owner.machine_id)
    one.receive(everything(owner))
    other.receive(everything(thief))
    exchange(nodes)
    assert etag(one) != etag(other)
    members.revoke(other, thief.machine_id, before_ms)
    rest = [owner, one, other]
    exchange(rest)
    assert len({etag(node) for node in rest}) == 1
    for node in rest:
        with node.reading() as db:
            assert members.revoked(db).keys() == {thief.machine_id}


def exchange(nodes: list[Node]) -> None:
    for _ in nodes:
        for node in nodes:
            for peer in nodes:
                node.receive(everything(peer))
