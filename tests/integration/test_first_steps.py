"""The main job, start to end: three real nodes in a line, a live session on the last, one story on all of them.

Read it as a tutorial: what a newcomer types on two hosts is what this test types on three.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.kit import FakeHost, host
from tests.integration.nodes import ProcessNode, equal, pair, until

__all__ = ["host"]


@pytest.fixture
def line(tmp_path: Path, host: FakeHost) -> Iterator[list[ProcessNode]]:
    """A - B - C, each a process with its own database and key; C watches the host with the session on it."""
    nothing = {"HOME": str(tmp_path / "nobody"), "TMUX_TMPDIR": str(tmp_path / "nobody"), "CLAUDE_CONFIG_DIR": ""}
    a, b = ProcessNode(tmp_path, "apricot", **nothing), ProcessNode(tmp_path, "birch", **nothing)
    c = ProcessNode(tmp_path, "cedar", **{**nothing, **host.env})
    nodes = [a, b, c]
    for node in nodes:
        node.start()
    pair(a, b)
    pair(b, c)
    yield nodes
    for node in nodes:
        node.kill()


def story(node: ProcessNode) -> dict[str, Any]:
    """What `claire status` tells of the work and the sessions, without what is a matter of where one stands."""
    status = node.json("status")
    return {
        "sessions": [
            (session["id"], session["host"], session["state"], (session["task"] or {}).get("title"))
            for session in status["sessions"]
        ],
        "projects": [(project["name"], project["tasks"]) for project in status["projects"]],
    }


def same_story(nodes: list[ProcessNode], titles: list[str | None]) -> bool:
    stories = [story(node) for node in nodes]
    return all(told == stories[0] for told in stories) and [s[3] for s in stories[0]["sessions"]] == titles


def test_three_nodes_tell_one_story(line: list[ProcessNode], host: FakeHost) -> None:
    apricot, birch, cedar = line
    apricot.claire("project", "new", "api", "--goal", "v2 is live")
    task = apricot.json("task", "add", "api", "fix the login", "--prio", "1")["id"]

    pane = host.start_idle(name="api")
    cedar.claire("pull")
    session = pane.session_id
    until(lambda: session in {s["id"] for s in apricot.json("session", "list")})
    apricot.claire("assign", task[:8], session[:8])
    until(lambda: same_story(line, ["fix the login"]), why=lambda: repr([story(node) for node in line]))

    # The one in the middle dies; work goes on at both ends and meets again when it is back.
    birch.kill()
    apricot.claire("note", task[:8], "half way")
    cedar.claire("task", "add", "api", "meanwhile on cedar")
    birch.start()
    until(lambda: equal(*line) and same_story(line, ["fix the login"]))
    assert apricot.json("project", "list")[0]["tasks"] == {"in_progress": 1, "todo": 1}

    # `/clear` gives the session a new id; host and daemon restart; the task stays with it.
    pane.submit("/clear")
    until(lambda: pane.session_id != session)
    cedar.kill()
    cedar.start()
    cleared = pane.wait_idle().session_id
    cedar.claire("pull")
    until(lambda: [s[0] for s in story(apricot)["sessions"]] == [cleared], why=lambda: repr(story(apricot)))
    until(lambda: same_story(line, ["fix the login"]), why=lambda: repr([story(node) for node in line]))

    # The pane dies and the session is resumed in another.
    pane.keys("C-c")
    host.end("api")
    resumed = host.start_idle("--resume", cleared, name="again")
    cedar.claire("pull")
    assert resumed.session_id == cleared
    until(lambda: same_story(line, ["fix the login"]), why=lambda: repr([story(node) for node in line]))

    for node in line:
        assert node.stop() < 5
        assert story(node) == story(apricot)  # any node answers, also while the others sleep
