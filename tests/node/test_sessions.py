"""Sessions: what is worth an event."""

from claire.node import sessions
from claire.node.node import Node
from tests.node.doing import CLEARED, read, saw


def test_observe_records_only_what_changed(node: Node) -> None:
    assert sessions.observe(node, [saw(), saw(CLEARED)]) == 2
    assert sessions.observe(node, [saw(), saw(CLEARED)]) == 0
    assert sessions.observe(node, [saw(last_seen_ms=sessions.STALE_MS)]) == 0
    assert sessions.observe(node, [saw(last_seen_ms=sessions.STALE_MS + 1)]) == 1
    assert sessions.observe(node, [saw(state="permission")]) == 1
    assert read(node, sessions.find, "alpha:5e55")["state"] == "permission"
    sessions.observe(node, [saw(gone=True)])
    assert [s["id"] for s in read(node, sessions.list_sessions)] == [CLEARED]
