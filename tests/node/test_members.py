"""Members: what a node says of itself, renames, revocations, and whose key is whose."""

from collections.abc import Callable

import pytest

from claire.node import identity, members
from claire.node.errors import Refused
from claire.node.node import Node

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
