"""What the command line asks of a daemon that is still starting."""

import pytest

from claire import runtime, wiring
from claire.checks import daemon
from claire.config import Settings
from claire.node.node import Node

UI = "http://127.0.0.1:1"


def test_the_dashboard_of_a_starting_daemon_is_waited_for(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds its lock before its listeners are open."""
    with runtime.alone(node.home):
        assert [check.said for check in daemon(node.home, {})] == ["runs, and does not answer at any address yet"]
        monkeypatch.setattr(wiring.time, "sleep", lambda _s: runtime.write_urls(node.home, {"ui": UI}))
        link = wiring.open_dashboard(node.home, Settings(), print)
    assert link is not None and link.startswith(f"{UI}/login#")
