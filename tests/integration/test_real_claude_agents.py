"""The real Claude Code runs our tools and reads our brief (`make test-real`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from claire.node import assignments, projects, tasks
from claire.node.node import Node, wall_ms
from tests.fleet.kit import wait_for
from tests.integration.test_cli_work import ROOT
from tests.integration.test_real_claude import KEPT, Real, kit, pytestmark

__all__ = ["pytestmark"]

NAME = "claire-agents"


@pytest.fixture
def real(make_node: Callable[..., Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Real]:
    """A session with `claire mcp` as its MCP server and `claire prime` as a hook, both of this node."""
    if not KEPT.is_dir():
        kit("install", str(KEPT))
    monkeypatch.setenv("REAL_CLAUDE_DIR", str(KEPT))
    node, project = make_node("alpha", wall_ms), tmp_path / "project"
    (project / ".claude").mkdir(parents=True)
    env = {"CLAIRE_HOME": str(tmp_path / "alpha"), "PYTHONPATH": str(ROOT)}
    server = {"type": "stdio", "command": sys.executable, "args": ["-m", "claire", "mcp"], "env": env}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"claire": server}}))
    prime = " ".join([*(f"{name}='{value}'" for name, value in env.items()), sys.executable, "-m claire prime --hook"])
    hook = {"hooks": [{"type": "command", "command": prime, "timeout": 10}]}
    (project / ".claude" / "settings.json").write_text(json.dumps({"hooks": {"SessionStart": [hook]}}))
    try:
        report = kit("start", NAME, str(project), "--", "--mcp-config", str(tmp_path / "mcp.json"))
        yield Real(dict(line.split("=", 1) for line in report.splitlines()), node, project)
    finally:
        kit("stop", NAME)


def test_real_claude_offers_our_tools(real: Real) -> None:
    real.wait_state("idle")
    real.submit("/mcp")
    wait_for(lambda: "✔ claire" in real.screen() and "10 tools" in real.screen(), "claire among the servers")
    real.keys("Enter")
    wait_for(lambda: "✔ connected" in real.screen(), "the server's page")
    real.keys("Enter")
    wait_for(lambda: "task_current   read-only" in real.screen(), "its tools")
    real.keys("Escape", "Escape", "Escape")


def test_real_claude_is_told_its_task_again_after_clear(real: Real) -> None:
    session = real.wait_state("idle")["id"]
    task = tasks.add(real.node, projects.create(real.node, "api", goal="v2 is live")["id"], "fix the login")
    assignments.assign(real.node, task["id"], session)
    real.submit("/clear")

    def told() -> bool:
        transcripts = Path(real.env["CLAUDE_CONFIG_DIR"]).glob("projects/*/*.jsonl")
        return any("Your task in Claire" in path.read_text() for path in transcripts if path.stem != session)

    wait_for(told, "the brief in the new transcript")
    assert real.row()["id"] != session
    with real.node.reading() as db:
        held = assignments.of_session(db, real.row()["id"])
    assert held and held["task_id"] == task["id"]
