"""Whether a daemon runs for a home: nobody is kept out by being asked, and nobody is told where it is too early."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from claire import runtime, wiring
from claire.config import Home, Settings
from claire.node.errors import Refused
from claire.node.node import Node


def test_where_nothing_ever_ran_nothing_runs(tmp_path: Path) -> None:
    assert not runtime.is_running(Home.from_env({"CLAIRE_HOME": str(tmp_path / "none")}))


def test_asking_keeps_no_daemon_out(node: Node) -> None:
    """`claire node & claire peer invite`: the second asks while the first starts."""
    with runtime.alone(node.home):
        assert runtime.is_running(node.home)
    asking = os.open(node.home.node_lock, os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    assert not runtime.is_running(node.home)
    answered = threading.Timer(0.05, os.close, (asking,))
    answered.start()
    with runtime.alone(node.home):
        answered.join()


def test_a_daemon_that_starts_is_waited_for(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    with runtime.alone(node.home):
        opens = threading.Timer(0.1, runtime.write_urls, (node.home, {"ui": "http://127.0.0.1:1"}))
        opens.start()
        link = wiring.open_dashboard(node.home, Settings(), print)
        opens.join()
        assert link is not None and link.startswith("http://127.0.0.1:1/")
        runtime.forget_urls(node.home)
        monkeypatch.setattr(wiring, "LISTENER_S_MAX", 0)
        with pytest.raises(Refused, match="does not open"):
            wiring.open_dashboard(node.home, Settings(), print)
