"""Groups match by folder, host and session."""

import pytest

from claire.node import groups, sessions
from claire.node.errors import NotFound
from claire.node.node import Node
from tests.node.doing import read, saw


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("cwd:/srv", True),
        ("host:alpha", True),
        ("session:5e", True),
        ("session:night", True),
        ("night shift", True),
        ("alph", True),
        ("cwd:alpha", False),
        ("x", False),
    ],
)
def test_a_group_matches_by_cwd_host_and_session(node: Node, pattern: str, expected: bool) -> None:
    sessions.observe(node, [saw(cwd="/srv/api", name="night shift")])
    groups.define(node, "web", pattern)
    assert bool(read(node, groups.members, "web")) is expected
    groups.remove(node, "web")
    with pytest.raises(NotFound):
        read(node, groups.find, "web")


def test_a_group_is_its_name_to_the_letter(node: Node) -> None:
    for name in ("web", "Web", "cafe-team"):
        assert groups.define(node, name, "x")["id"] == name
    groups.remove(node, "Web")
    assert read(node, groups.find, "web")["id"] == "web"
    with pytest.raises(NotFound):
        read(node, groups.find, "cafe")
