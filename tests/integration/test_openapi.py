"""schemathesis asks both listeners of a running daemon whatever their OpenAPI allows, and what it does not.

Of each listener: as a stranger and as one who may come in, by the rules and against them. CLAIRE_TEST_FUZZ_S is how
long each of these eight takes; `make fuzz` gives them minutes.
"""

import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from urllib3 import Retry

from claire.node.node import Node, wall_ms
from claire.sync import auth
from claire.sync.bell import Bell
from claire.sync.messages import NDJSON, STATE_PATH
from claire.sync.peer import HOST
from claire.sync.routes import Inbox, routes
from claire.sync_listener import RULES
from claire.ui import login, web
from claire.ui.guard import Guard
from tests import openapi
from tests.conftest import Clock
from tests.integration.nodes import ProcessNode
from tests.ui.web import believable
from tests.ui.web.conftest import sign_in

FUZZ_S = float(os.environ.get("CLAIRE_TEST_FUZZ_S", "4"))
CASES = 25  # made up between two looks at the clock
RSS_BYTES_MAX = 100 * 1024 * 1024  # above what the daemon had when it was first asked
ANSWER_S_MAX = 180

Case = Any  # schemathesis has no types for what it generates


@pytest.fixture
def nodes(make_node: Callable[..., Node], clock: Clock) -> dict[str, Node]:
    clock.now_ms = wall_ms()  # the daemon has no other
    return believable.fleet(make_node, clock)


@pytest.fixture
def daemon(nodes: dict[str, Node], tmp_path: Path) -> Iterator[ProcessNode]:
    """Claire as it runs, on a host where no session lives that a broadcast could reach."""
    nobody = str(tmp_path / "nobody")
    made = ProcessNode(tmp_path, "apricot", HOME=nobody, TMUX_TMPDIR=nobody, CLAUDE_CONFIG_DIR="")
    made.sql("DELETE FROM peers")  # it dials nobody
    made.start()
    yield made
    made.kill()


def rss_bytes(node: ProcessNode) -> int:
    assert node.process is not None
    return int(Path(f"/proc/{node.process.pid}/statm").read_text().split()[1]) * resource.getpagesize()


def guards(node: Node) -> tuple[Guard, Guard]:
    """Of the dashboard and of the sync listener, as the daemon makes them."""
    sync = Starlette(routes=routes(Inbox(node, Bell(), "", lambda machine_id: None)))
    return web.app(node, port=1), Guard(sync, RULES, origins=[f"http://{HOST}"], browser=False)


def words(node: Node) -> list[str]:
    """What is there to ask about: ids, names, stamps, and the words that settings have."""
    tables = {"projects": "id, name", "tasks": "id, title", "sessions": "id, host", "broadcasts": "id",
              "members": "id, name", "events": "hlc, uuid"}  # fmt: skip
    with node.reading() as db:
        rows = [
            row for table, columns in tables.items() for row in db.execute(f"SELECT {columns} FROM {table} LIMIT 5")
        ]
    return [*map(str, chain(*rows)), "all", "todo", "done", "blocked", "yes", "2", "task", "title", "2026-09-01"]


@schemathesis.serializer(NDJSON)
def lines(_context: object, value: object) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in (value if isinstance(value, list) else [value])).encode()


class Asker:
    """Sends requests to a listener as they were made up, and looks at what it answers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: dict[int, int] = {}  # status -> how often
        self.session = requests.Session()
        self.session.trust_env = False
        # A body may still be on its way when it is refused, and then the refusal is lost.
        again = Retry(20, allowed_methods=None, respect_retry_after_header=False)
        self.session.mount("http://", requests.adapters.HTTPAdapter(max_retries=again))

    def mark(self, request: requests.PreparedRequest) -> None:
        """Adds what shows who asks."""

    def send(self, request: requests.PreparedRequest) -> requests.Response:
        self.mark(request)
        return self.session.send(request, timeout=ANSWER_S_MAX, allow_redirects=False)

    def ask(self, case: Case) -> None:
        request = requests.Request(**case.as_transport_kwargs(base_url=self.url)).prepare()
        answer = self.send(request)
        self.asked[answer.status_code] = self.asked.get(answer.status_code, 0) + 1
        assert answer.status_code < 500, (request.method, request.url, request.body, answer.text)
        assert answer.status_code == 304 or "default-src 'none'" in answer.headers["content-security-policy"]


class Stranger(Asker):
    """Shows nothing."""


class Browser(Asker):
    """Our own page, signed in; it signs in anew after it has signed out."""

    def __init__(self, url: str, node: Node) -> None:
        super().__init__(url)
        self.node, self.cookie = node, ""

    def mark(self, request: requests.PreparedRequest) -> None:
        if not login.known(self.node, self.cookie):
            self.cookie = sign_in(self.node)
        name = login.cookie_name(int(self.url.rpartition(":")[2]))
        own_page = {"Origin": self.url, "Sec-Fetch-Site": "same-origin", "HX-Request": "true"}
        request.headers.update({"Cookie": f"{name}={self.cookie}", **own_page})


class Member(Asker):
    """Another node of the fleet."""

    def __init__(self, url: str, node: Node) -> None:
        super().__init__(url)
        self.node = node
        self.audience = self.session.get(url + STATE_PATH, timeout=ANSWER_S_MAX).headers[auth.AUDIENCE_HEADER]

    def mark(self, request: requests.PreparedRequest) -> None:
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        what = auth.Request(str(request.method), request.path_url)
        nonce = auth.new_nonce(self.node.entropy(auth.NONCE_BYTES))
        signed = auth.sign(self.node.identity, what, body, self.audience, wall_ms(), nonce)
        request.headers["Authorization"] = signed


def fuzz(asker: Asker, description: openapi.Schema, mode: GenerationMode) -> None:
    """Ask for FUZZ_S what a description allows (positive) or does not (negative), the same on every run."""
    cases = schemathesis.openapi.from_dict(description).as_strategy(generation_mode=mode)
    few = settings(
        max_examples=CASES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    until = time.monotonic() + FUZZ_S
    for number in count():
        if time.monotonic() > until:
            return
        few(seed(number)(given(cases)(asker.ask)))()


def test_what_is_described_is_what_is_served(node: Node) -> None:
    for guard, description in zip(guards(node), (openapi.of_dashboard, openapi.of_sync), strict=True):
        described = {
            (path, method.upper())
            for path, operations in description(guard, [])["paths"].items()
            for method in operations
        }
        assert described == set(served(guard.app.routes))  # type: ignore[attr-defined]


def served(routes: list[Route | Mount]) -> Iterator[tuple[str, str]]:
    for route in routes:
        if isinstance(route, Mount):
            yield f"{route.path}/{{path}}", "GET"
        else:
            for method in (route.methods or set()) - {"HEAD"}:
                yield route.path, method


def test_w3_w5_p7_whatever_a_description_allows_never_fails_and_costs_little_memory(
    daemon: ProcessNode, nodes: dict[str, Node]
) -> None:
    here, there = nodes["apricot"], nodes["plum"]
    ui, sync = str(daemon.urls()["ui"]), daemon.sync_url()
    described = [
        describe(guard, words(here))
        for describe, guard in zip((openapi.of_dashboard, openapi.of_sync), guards(here), strict=True)
    ]
    before = rss_bytes(daemon)
    for askers, description in zip(
        ((Stranger(ui), Browser(ui, here)), (Stranger(sync), Member(sync, there))), described, strict=True
    ):
        for asker in askers:
            for mode in GenerationMode:
                fuzz(asker, description, mode)
            grown = rss_bytes(daemon) - before
            print(f"{type(asker).__name__}: {dict(sorted(asker.asked.items()))}, {grown >> 20} MiB above start")
            assert type(asker) is Stranger or 401 not in asker.asked, "it was let in"
    assert rss_bytes(daemon) - before < RSS_BYTES_MAX
    assert "Traceback" not in daemon.log.read_text()
