"""One bell for a fleet of real daemons, each of which would ring."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from claire.node import sessions
from claire.node.node import Node, wall_ms
from tests.integration.nodes import PATIENCE_S, ProcessNode, equal, pair, until

SESSION = "5e551011-0000-4000-8000-000000000001"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[list[ProcessNode]]:
    nothing = {"HOME": str(tmp_path), "TMUX_TMPDIR": str(tmp_path), "CLAUDE_CONFIG_DIR": ""}
    nodes = [ProcessNode(tmp_path, name, **nothing) for name in ("apricot", "birch", "cedar")]
    for node in nodes:
        node.module = "tests.integration.patient"
        script = f"open({str(tmp_path / 'rung')!r}, 'a').write('{node.name}: ' + __import__('sys').argv[1] + '\\n')"
        command = json.dumps([sys.executable, "-c", script, "{text}"])
        Path(node.home.settings_file).write_text(f"notify = {command}\n")
        node.start()
    pair(nodes[0], nodes[1])
    pair(nodes[1], nodes[2])
    until(lambda: equal(*nodes))
    yield nodes
    for node in nodes:
        node.kill()


def test_a_session_that_waits_rings_on_one_host(fleet: list[ProcessNode], tmp_path: Path) -> None:
    with Node(fleet[0].home) as node:
        waiting = sessions.Observation(
            session_uuid=SESSION, host="far", name="api", state="permission", since_ms=wall_ms(), last_seen_ms=wall_ms()
        )
        # Said by nobody's host, so that no daemon here finds the session gone.
        with node.writing() as tx:
            tx.record(sessions.SessionObserved(waiting))
            tx.db.execute("UPDATE sessions SET machine_id = 'far'")
    rung = tmp_path / "rung"
    until(lambda: rung.exists() and bool(rung.read_text()))
    until(lambda: equal(*fleet))
    time.sleep(4)  # nobody else rings a little later
    (line,) = rung.read_text().splitlines()
    assert line.partition(": ")[2] == "1 needs you: api on far, permission"


def test_a_command_that_would_run_foreign_text_is_refused_at_the_start(tmp_path: Path) -> None:
    node = ProcessNode(tmp_path, "apricot")
    Path(node.home.settings_file).write_text('notify = ["sh", "-c", "{text}"]\n')
    argv = [sys.executable, "-m", "claire", "node", "--port", "0", "--sync-port", "0"]
    done = subprocess.run(argv, env=node.env, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 2 and "sh might run what {text} says" in done.stderr
