"""A broadcast is a record, with targets and outcomes."""

import pytest

from claire.node import assignments, broadcasts, sessions
from claire.node.errors import NotFound, UsageError
from claire.node.node import Node
from claire.node.rows import Row
from tests.conftest import Clock
from tests.node.doing import CLEARED, SESSION, read, saw


def test_a_broadcast_is_a_record(node: Node, task: Row, clock: Clock) -> None:
    sessions.observe(node, [saw(), saw(CLEARED)])
    assignments.assign(node, task["id"], SESSION)
    sent = broadcasts.send(node, "api", "please commit")
    assert [target["session_uuid"] for target in sent["targets"]] == [SESSION]
    (pending,) = read(node, broadcasts.undelivered, node.machine_id)
    assert pending["expires_ms"] == clock.now_ms + broadcasts.EXPIRY_MS
    with node.writing() as tx:
        tx.record(broadcasts.BroadcastDelivered(sent["id"], SESSION, "delivered"))
    assert read(node, broadcasts.undelivered, node.machine_id) == []
    assert read(node, broadcasts.find, sent["id"])["targets"][0]["outcome"] == "delivered"
    with pytest.raises(UsageError, match="command"):
        broadcasts.send(node, "api", "/clear")
    with pytest.raises(NotFound):
        broadcasts.send(node, "nobody", "x")
