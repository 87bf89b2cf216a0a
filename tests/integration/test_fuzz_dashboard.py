"""Requests made up by hypothesis to a signed-in dashboard: no 5xx, no event from a GET, little memory."""

import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote_from_bytes, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claire.config import Home
from claire.node import setup
from claire.node.node import Node
from claire.ui.web import ACTS, PAGES, app
from tests.conftest import Clock
from tests.ui.web import believable
from tests.ui.web.conftest import Site, sign_in
from tests.ui.web.served import running

FUZZ_S = 10.0
RSS_BYTES_MAX = 100 * 1024 * 1024
FIELDS = [
    "to", "text", "seen", "raw", "once", "title", "name", "goal", "owner", "status", "priority", "description",
    "project", "session", "why", "words", "field", "entity", "noun", "value", "event", "q", "host", "page", "before",
    "since", "limit", "show", "code", "id", "task", "on",
]  # fmt: skip
WORDS = [
    "",
    "0",
    "-1",
    "9" * 30,
    "todo",
    "done",
    "api",
    "x" * 5000,
    "\x00",
    "\ud7ff",
    "%",
    "'\"<",
    "null",
    "2026-11-22",
    "🦀",
]


def maker(root: Path, clock: Clock) -> Callable[[str], Node]:
    return lambda name: setup.init(Home.from_env({"CLAIRE_HOME": str(root / name)}), name, now_ms=clock)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root, clock = tmp_path_factory.mktemp("fuzzed"), Clock()
    nodes = believable.fleet(maker(root, clock), clock)
    node = nodes["apricot"]
    with running(lambda port: app(node, port=port)) as server:
        yield Site(node, server, sign_in(node), clock, nodes)
    for made in nodes.values():
        made.close()


def ids_of(site: Site) -> list[str]:
    with site.node.reading() as db:
        found = [
            row[0]
            for table in ("projects", "tasks", "sessions", "broadcasts", "members")
            for row in db.execute(f"SELECT id FROM {table} LIMIT 3")
        ]
    return [*found, found[0][:5], "x", "..", "%2e%2e", "0" * 300]


def rss_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_w4_w5_a_fuzzed_dashboard_never_fails(site: Site) -> None:
    ids = st.sampled_from(ids_of(site))
    words = st.sampled_from([*WORDS, *ids_of(site)]) | st.text(max_size=20)
    pairs = st.lists(st.tuples(st.sampled_from(FIELDS) | st.text("abc[]", max_size=3), words), max_size=6)
    pages, acts = st.sampled_from([path for path, _, _ in PAGES]), st.sampled_from([path for path, _ in ACTS])
    gets = st.tuples(st.just("GET"), pages | acts, ids, pairs)
    posts = st.tuples(st.just("POST"), acts, ids, pairs)
    asked: list[tuple[str, str, str, list[tuple[str, str]]]] = []

    @settings(max_examples=1500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(gets | posts)
    def make_up(made: tuple[str, str, str, list[tuple[str, str]]]) -> None:
        asked.append(made)

    make_up()
    before, until, events = rss_bytes(), time.monotonic() + FUZZ_S, site.events()
    for method, path, one, fields in asked:
        if time.monotonic() > until:
            break
        path = path.replace("{id}", quote_from_bytes(one.encode(), safe="%"))
        said = urlencode(fields, errors="replace").encode()
        if method == "GET":
            reply = site.server.ask("GET", f"{path}?{said.decode()}", site.signed_in, "Accept: text/html")
            assert site.events() == events, ("a GET wrote", path, said)
        else:
            reply = site.server.ask("POST", path, site.signed_in, *site.server.own(), body=said or b"a=")
            events = site.events()
        assert reply.status < 500, (method, path, said, reply.text, site.server.log[-1:])
        csp = reply.header("content-security-policy") or ""
        assert reply.status == 304 or ("default-src 'none'" in csp and "unsafe" not in csp)
    assert rss_bytes() - before < RSS_BYTES_MAX
