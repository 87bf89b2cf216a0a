"""The state of the fleet across nouns."""

from claire.node import assignments, overview, sessions
from claire.node.node import Node
from claire.node.rows import Row
from tests.node.doing import CLEARED, SESSION, read, saw


def test_the_overview_leads_with_who_waits_longest(node: Node, task: Row) -> None:
    sessions.observe(node, [saw(state="permission", since_ms=5), saw(CLEARED, state="question", since_ms=2)])
    assignments.assign(node, task["id"], SESSION)
    seen = read(node, overview.overview, node.machine_id)
    assert [s["id"] for s in seen["needs_you"]] == [CLEARED, SESSION]
    assert seen["needs_you"][1]["task"]["title"] == "write it"
    assert [h["own"] for h in seen["hosts"]] == [True]
