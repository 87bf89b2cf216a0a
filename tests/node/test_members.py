"""Members: what a node says of itself, renames, revocations, and whose key is whose."""

from collections.abc import Callable

import pytest

from claire.node import identity, members
from claire.node.errors import Refused, UsageError
from claire.node.node import Node
from tests.conftest import Clock, befriend
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
