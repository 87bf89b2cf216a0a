"""A believable fleet behind a real server, and a real browser that has signed in to it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from claire.config import Home
from claire.node import setup
from claire.node.node import Node
from claire.ui import login
from claire.ui.web import app
from tests.conftest import Clock
from tests.ui.web import believable
from tests.ui.web.chromium import EXECUTABLE, TIMEOUT_MS, Eyes, follow_link, visit
from tests.ui.web.served import Server, running


@dataclass(frozen=True)
class Site:
    """A node's dashboard as it is served, with a cookie that is signed in."""

    node: Node
    server: Server
    cookie: str
    clock: Clock
    nodes: dict[str, Node]

    @property
    def signed_in(self) -> str:
        return f"Cookie: {login.cookie_name(self.server.port)}={self.cookie}"

    def get(self, path: str, *headers: str) -> tuple[int, str]:
        reply = self.server.ask("GET", path, self.signed_in, "Accept: text/html", *headers)
        return reply.status, reply.text

    def post(self, path: str, **fields: str) -> tuple[int, str]:
        reply = self.server.ask("POST", path, self.signed_in, *self.server.own(), body=urlencode(fields).encode())
        return reply.status, reply.text

    def one(self, sql: str, *values: str) -> str:
        with self.node.reading() as db:
            return str(db.execute(sql, values).fetchone()[0])

    def events(self) -> int:
        return int(self.one("SELECT count(*) FROM events"))

    def paths(self) -> list[str]:
        """One address of every page."""
        return [
            "/", "/projects", f"/projects/{self.one('SELECT id FROM projects LIMIT 1')}",
            f"/tasks/{self.one('SELECT id FROM tasks LIMIT 1')}", "/sessions",
            f"/sessions/{self.one('SELECT id FROM sessions LIMIT 1')}", "/log", "/conflicts", "/peers", "/broadcast",
            f"/broadcast/{self.one('SELECT id FROM broadcasts LIMIT 1')}",
        ]  # fmt: skip


def sign_in(node: Node) -> str:
    return login.redeem(node, login.link(node, "").partition("#")[2])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root, clock = tmp_path_factory.mktemp("fleet"), Clock()
    nodes = believable.fleet(maker(root, clock), clock)
    node = nodes["apricot"]
    with running(lambda port: app(node, port=port)) as server:
        yield Site(node, server, sign_in(node), clock, nodes)
    for made in nodes.values():
        made.close()


def maker(root: Path, clock: Clock) -> Callable[[str], Node]:
    return lambda name: setup.init(Home.from_env({"CLAIRE_HOME": str(root / name)}), name, now_ms=clock)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Ends with the module: while it is open its event loop runs, and async tests could not."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if EXECUTABLE is None:
        pytest.skip("no Chromium here: apt-get install chromium, or set CLAIRE_CHROMIUM")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=EXECUTABLE, args=["--no-sandbox"], timeout=TIMEOUT_MS)
        yield browser
        browser.close()


@pytest.fixture
def eyes() -> Eyes:
    return Eyes()


@pytest.fixture
def tab(chromium: Any, site: Site, eyes: Eyes) -> Iterator[Any]:
    """A signed-in tab; the test fails if a page logged an error or asked another host for anything."""
    with visit(chromium, reduced_motion="reduce") as context:
        made = context.new_page()
        eyes.watch(made, site.server.origin)
        follow_link(made, site.node, site.server.origin)
        yield made
    assert eyes.surprises() == []
