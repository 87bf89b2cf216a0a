"""A broadcast end to end: a person in a browser, the daemon, tmux, and a fake Claude that is typed into once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.kit import FakeHost, host, wait_for
from tests.integration.nodes import ProcessNode
from tests.ui.web.chromium import Eyes, ready, visit
from tests.ui.web.conftest import chromium

__all__ = ["chromium", "host"]


@pytest.fixture
def node(host: FakeHost, tmp_path: Path) -> Iterator[ProcessNode]:
    made = ProcessNode(tmp_path, "alpha", **host.env)
    made.module = "tests.integration.patient"
    made.start()
    yield made
    made.kill()


def test_browser_broadcast_reaches_a_session_in_tmux(chromium: Any, host: FakeHost, node: ProcessNode) -> None:
    host.start_idle(name="work")
    wait_for(lambda: node.json("session", "list"), "the session in the log")
    eyes = Eyes()
    with visit(chromium) as context:
        tab = context.new_page()
        link = node.claire("web").strip()
        eyes.watch(tab, link.partition("/login")[0])
        tab.goto(link)
        tab.locator('main a.title[href^="/sessions/"]').first.click()
        tab.get_by_role("link", name="send text").click()
        ready(tab)
        tab.get_by_label("Text", exact=True).fill("Please rebase.\nThen stop.")
        tab.get_by_role("button", name="Who gets this?").click()
        tab.get_by_role("button", name="Send to 1").click()
        tab.wait_for_url("**/broadcast/*")
        tab.locator("main .state.works", has_text="delivered").wait_for()
    assert [line["display"].partition("] ")[2] for line in host.history()] == ["Please rebase.\nThen stop."]
    assert eyes.surprises() == []
