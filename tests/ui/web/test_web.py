"""Every page and action over real HTTP, and rows W3, W4, W5, W8 and W10 of reliability.md."""

import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.routing import Mount, Route

from claire.node import (
    conflicts,
)  # fmt: skip
from claire.node.errors import UsageError
from claire.node.node import Node
from claire.node.rows import Row
from claire.ui import html, web
from claire.ui.guard import Guard
from claire.ui.pages import sessions as session_page
from claire.ui.web import ACTS, PAGES, app, check_host
from tests.conftest import Clock
from tests.ui.web.conftest import Site, sign_in
from tests.ui.web.poisoned import fill, poison
from tests.ui.web.served import running

HTMX_SHA256 = "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"  # npm htmx.org 4.0.1, dist/htmx.min.js


def test_every_page_is_there(site: Site) -> None:
    for path in site.paths():
        status, text = site.get(path)
        assert status == 200, (path, text)
        assert "<!doctype html>" in text and "</html>" in text, path
    assert {re.sub(r"/[0-9a-f-]{36}$", "/{id}", path) for path in site.paths()} == {path for path, _, _ in PAGES}


def test_the_dashboard_says_who_needs_me_first(site: Site) -> None:
    _, text = site.get("/")
    assert text.index("3 need you") < text.index("credit-notes") < text.index("gateway-limits") < text.index("spike")
    assert "1 host offline" in text and "was working" in text  # medlar sleeps; what it said last is still shown
    assert "clock 48 s ahead" in text and "7 events behind" in text


def test_a_first_run_says_what_to_do(make_node: Callable[..., Node], clock: Clock) -> None:
    node = make_node("first")
    with running(lambda port: app(node, port=port)) as server:
        site = Site(node, server, sign_in(node), clock, {})
        _, text = site.get("/")
        assert "No sessions yet" in text and "claire doctor" in text and "No session waits" not in text
        assert "claire peer join" in site.get("/peers")[1]
        assert "claire project new" in site.get("/projects")[1]


def test_what_did_not_change_costs_nothing(site: Site) -> None:
    tag = site.server.ask("GET", "/", site.signed_in).header("etag")
    same = site.server.ask("GET", "/", site.signed_in, f"If-None-Match: {tag}", "HX-Request: true")
    assert same.status == 304 and same.body == b""
    site.post("/projects", name="etag-changes")
    changed = site.server.ask("GET", "/", site.signed_in, f"If-None-Match: {tag}", "HX-Request: true")
    assert changed.status == 200 and "<!doctype" not in changed.text and 'id="page"' in changed.text
    site.clock.now_ms += web.TAG_MINUTE_MS
    assert site.server.ask("GET", "/", site.signed_in, f"If-None-Match: {changed.header('etag')}").status == 200


def test_create_assign_note_done(site: Site) -> None:
    assert site.post("/projects", name="kiln", goal="Fire it")[0] == 204
    project = site.one("SELECT id FROM projects WHERE name = 'kiln'")
    assert site.post(f"/projects/{project}/tasks", title="Stack the shelves", priority="1")[0] == 204
    task = site.one("SELECT id FROM tasks WHERE title = 'Stack the shelves'")
    assert site.post(f"/tasks/{task}/assign", session="quince:docs-review")[0] == 204
    assert site.one("SELECT status FROM tasks WHERE id = ?", task) == "in_progress"
    assert site.post(f"/tasks/{task}/notes", text="Half way")[0] == 204
    assert "Half way" in site.get(f"/tasks/{task}")[1]
    assert site.post(f"/tasks/{task}/unassign")[0] == 204
    assert site.post(f"/tasks/{task}/status", status="done")[0] == 204
    assert site.post(f"/tasks/{task}", title="Stack all shelves", description="Two layers", priority="0")[0] == 204
    assert site.post(f"/projects/{project}/decisions", text="Cone 6")[0] == 204
    assert site.post(f"/tasks/{task}", deleted="yes")[0] == 204
    text = site.get(f"/projects/{project}?view=deleted")[1]
    assert "Stack all shelves" in text and "Cone 6" in text
    assert site.post(f"/tasks/{task}", deleted="no")[0] == 204


@pytest.mark.parametrize(
    ("seat", "here", "command"),
    [
        ({"tmux_name": "my api"}, True, "tmux attach -t '=my api'"),
        ({"tmux_name": "api"}, False, "ssh -t quince 'tmux attach -t =api'"),
        ({"pane": "background 9d088b46"}, True, "claude attach 9d088b46"),
        ({}, True, ""),
        ({"tmux_name": "api", "gone": True}, True, ""),
    ],
)
def test_how_to_get_to_a_session(seat: Row, here: bool, command: str) -> None:
    nowhere = {"tmux_name": "", "pane": "", "gone": False, "host": "quince"}
    assert session_page.attach({**nowhere, **seat}, here) == command


def test_blockers(site: Site) -> None:
    first, second = (site.one("SELECT id FROM tasks WHERE title = ?", t) for t in ("Bundle fonts", "Lazy-load the map"))
    assert site.post(f"/tasks/{first}/block", blocker=second)[0] == 204
    assert site.post(f"/tasks/{second}/block", blocker=first)[0] == 422
    assert "Lazy-load the map" in site.get(f"/tasks/{first}")[1]
    assert site.post(f"/tasks/{first}/unblock", blocker=second)[0] == 204


def test_groups(site: Site) -> None:
    assert site.post("/groups", name="docs", pattern="cwd:/home/ana/docs")[0] == 204
    text = site.get("/sessions?group=docs")[1]
    assert text.count('class="wide"') == 2 and "docs-review" in text
    assert site.post("/groups", name="x", pattern="cwd:")[0] == 422
    assert site.post("/groups/remove", name="docs")[0] == 204
    assert site.get("/sessions?group=docs")[0] == 404


def test_errors_are_said_in_words(site: Site) -> None:
    assert site.post("/projects", name="api-gateway") == (
        409,
        "there is a project 'api-gateway' already (claire project show api-gateway)",
    )
    assert site.post("/projects", name=" ")[0] == 422
    assert site.post("/projects")[0] == 422
    task = site.one("SELECT id FROM tasks LIMIT 1")
    assert site.post(f"/tasks/{task}/status", status="finished")[0] == 422
    assert site.post(f"/tasks/{task}", priority="9")[0] == site.post(f"/tasks/{task}", priority="²")[0] == 422
    for path in ("/tasks/none", "/projects/none", "/sessions/none", "/broadcast/none", "/sessions?group=none"):
        status, text = site.get(path)
        assert status == 404 and 'class="notice"' in text and 'href="/"' in text, path
    assert site.get("/log?before=x&about=%27%22%3E&span=9")[0] == 200
    endless = "9" * 5_000  # more digits than Python turns into a number
    assert site.get(f"/log?before={endless}")[0] == 200
    assert site.post(f"/tasks/{task}", priority=endless)[0] == 422


def test_a_conflict_is_settled_by_one_click(site: Site) -> None:
    with site.node.reading() as db:
        row = next(c for c in conflicts.list_conflicts(db) if c["field"] == "title")
    loser = next(value for value in row["values"] if value["value"] != row["shown"])
    asked = {"noun": row["noun"], "id": row["id"], "field": row["field"], "event": loser["event"]}
    assert loser["value"] in site.get("/conflicts")[1]
    assert site.post("/conflicts", **asked)[0] == 204
    assert site.one("SELECT title FROM tasks WHERE id = ?", row["id"]) == loser["value"]
    assert site.post("/conflicts", **asked)[0] == 404  # settled already


def test_k8_a_broadcast_is_confirmed_and_sent_once(site: Site) -> None:
    before = site.one("SELECT count(*) FROM broadcasts")
    status, text = site.post("/broadcast", to="billing", text="Stop at noon")
    assert status == 200 and "1 session will get this" in text and "credit-notes" in text
    assert site.one("SELECT count(*) FROM broadcasts") == before
    fields = dict(re.findall(r'name="(seen|once|to|text|raw)" value="([^"]*)"', text))
    assert site.post("/broadcast", **fields | {"seen": "somebody else"})[0] == 409
    for once in ("", "x\r\nSet-Cookie: a=b", "../projects", fields["once"].upper() + "x"):
        assert site.post("/broadcast", **fields | {"once": once})[0] == 422
    for _ in range(3):
        reply = site.post("/broadcast", **fields)
        assert reply[0] == 204
    assert int(site.one("SELECT count(*) FROM broadcasts")) == int(before) + 1
    assert "queued" in site.get(f"/broadcast/{fields['once']}")[1]
    assert site.post("/broadcast", to="billing", text="/clear")[0] == 422
    assert site.post("/broadcast", to="nowhere", text="x")[0] == 404


def test_w3_every_route_asks_for_a_login(site: Site) -> None:
    guard = app(site.node, port=1)
    public = {(rule.path, method) for _, rule in guard.rules if not rule.login for method in rule.methods}
    assert public == {
        ("/login", "GET"), ("/login", "HEAD"), ("/login", "POST"),
        ("/static/{path:path}", "GET"), ("/static/{path:path}", "HEAD"),
    }  # fmt: skip
    for route in web.routes(site.node, 1):
        path = re.sub(r"{.*?}", "x", route.path)
        if isinstance(route, Mount) or path == "/login":
            continue
        method = "POST" if "POST" in (route.methods or ()) else "GET"
        marks = site.server.own() if method == "POST" else []
        assert site.server.ask(method, path, *marks, body=b"a=1" if marks else b"").status == 401, path
    assert site.server.ask("GET", "/static/claire.css").status == 200
    for path in ("/static/../web.py", "/static/%2e%2e/web.py", "/static//etc/passwd", "/static/"):
        assert site.server.ask("GET", path, site.signed_in).status in (404, 405), path


def test_w3_a_route_without_a_rule_does_not_open(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    made = web.routes

    def with_one_more(*args: object) -> list[Route | Mount]:
        return [*made(*args), Route("/new", web.sign_in_page)]  # type: ignore[arg-type]

    monkeypatch.setattr(web, "routes", with_one_more)
    with running(lambda port: app(site.node, port=port)) as server:
        assert server.ask("GET", "/new").status == 401
        assert server.ask("GET", "/new", f"Cookie: claire-{server.port}={site.cookie}").status == 404


def test_w4_reading_changes_nothing(site: Site) -> None:
    before = site.events()
    for path in [*site.paths(), *(re.sub(r"{.*?}", "x", path) for path, _ in ACTS), "/logout"]:
        for method in ("GET", "HEAD", "OPTIONS"):
            reply = site.server.ask(method, path, site.signed_in)
            assert reply.status in (200, 404, 405), (method, path)
            assert not any(key.startswith("access-control") for key, _ in reply.headers)
            assert method != "HEAD" or reply.body == b""
    assert site.events() == before and site.get("/")[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "8.8.8.8", "example.com", "", "fe80::1"])
def test_w8_the_dashboard_does_not_open_to_everyone(host: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_host(host)
    assert refused.value.hint


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "100.101.102.103", "fd7a:115c:a1e0::1"])
def test_w8_loopback_and_one_tailnet_address_may_be_bound(host: str) -> None:
    check_host(host)


def test_w8_a_named_address_is_answered_to(site: Site) -> None:
    guard: Guard = app(site.node, port=7, origins=["http://[fd7a:115c:a1e0::1]:7", "https://box.tail1.ts.net"])
    assert b"[fd7a:115c:a1e0::1]:7" in guard.hosts and b"box.tail1.ts.net" in guard.hosts
    for wrong in ("box", "https://", "https://box/", "ftp://box", "https://a@box"):
        with pytest.raises(UsageError):
            app(site.node, port=7, origins=[wrong])


def test_w8_behind_tailscale_serve(site: Site) -> None:
    """A proxy on this host passes the Host on; the page's origin is https there."""
    with running(lambda port: app(site.node, port=port, origins=["https://box.tail1.ts.net"])) as server:
        cookie = f"Cookie: claire-{server.port}={site.cookie}"
        assert server.ask("GET", "/", cookie, host="box.tail1.ts.net").status == 200
        own = ["Sec-Fetch-Site: same-origin", "HX-Request: true", "Content-Type: application/x-www-form-urlencoded"]
        host = "box.tail1.ts.net"
        for origin, status in ((f"https://{host}", 204), (f"http://{host}", 403), (server.origin, 403)):
            form = f"name=by-{status}-{len(origin)}".encode()
            reply = server.ask("POST", "/projects", cookie, f"Origin: {origin}", *own, body=form, host=host)
            assert reply.status == status, origin


def test_w10_a_signature_opens_no_page(site: Site) -> None:
    signed = "Authorization: Claire machine, nonce, time, signature"
    assert site.server.ask("GET", "/", signed).status == 401
    assert site.server.ask("GET", "/", signed, "Cookie: claire-8766=x").status == 401


def test_a_file_is_kept_only_under_the_address_of_its_content(site: Site) -> None:
    kept = site.server.ask("GET", f"/static/claire.css?v={html.ASSETS}").header("cache-control")
    assert kept and "immutable" in kept
    assert site.server.ask("GET", "/static/claire.css").header("cache-control") == "no-store"


def test_htmx_is_the_one_we_read() -> None:
    assert hashlib.sha256((html.STATIC / "htmx-4.0.1.min.js").read_bytes()).hexdigest() == HTMX_SHA256
    assert "Permission to use" in (html.STATIC / "htmx-LICENSE.txt").read_text()


def test_templates_are_escaped_and_without_inline_code() -> None:
    for path in Path(html.HERE, "templates").glob("*.html"):
        text = path.read_text()
        assert "|safe" not in text.replace(" ", "") and "autoescape" not in text, path
        assert not re.search(r"\son\w+=|\sstyle=|javascript:|<style|hx-on|hx-vals|https?://", text), path
        assert not re.search(r"<script(?![^>]*\ssrc=)", text), path
    for path in html.STATIC.glob("c*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|eval\(|document\.write", path.read_text()), path


class Tags(HTMLParser):
    """The elements and attributes of a page, as a browser would read them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: set[tuple[str, str]] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen |= {(tag, name) for name, _ in attrs} | {(tag, "")}
        self.links |= {value or "" for name, value in attrs if name in ("href", "src", "hx-get", "hx-post", "action")}


def test_w5_hostile_text_is_inert_on_every_page(make_node: Callable[..., Node], clock: Clock) -> None:
    """Poison every field a peer can fill; then a page holds no element, attribute or address of theirs."""
    poisoned, clean = make_node("poisoned"), make_node("clean")
    for node, say in ((poisoned, poison), (clean, lambda n: f"plain {n}")):
        fill(node, clock, say)
    with running(lambda port: app(poisoned, port=port)) as bad, running(lambda port: app(clean, port=port)) as good:
        sites = [Site(node, server, sign_in(node), clock, {}) for node, server in ((poisoned, bad), (clean, good))]
        for hurt, fine in zip(sites[0].paths(), sites[1].paths(), strict=True):
            pages = [
                site.server.ask("GET", path, site.signed_in) for site, path in zip(sites, (hurt, fine), strict=True)
            ]
            assert [page.status for page in pages] == [200, 200], hurt
            tags, expected = (Tags(page.text) for page in pages)
            assert tags.seen <= expected.seen, (hurt, tags.seen - expected.seen)
            assert all(re.match(r"^(/(?!/)|#main$)", link) for link in tags.links), (hurt, tags.links)
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", pages[0].text), hurt
            assert "script-src 'self'" in (pages[0].header("content-security-policy") or "")
        for path in ("/tasks/<script>alert(1)</script>", "/log?about=<img src=x onerror=alert(1)>&host=%22%3E<b>"):
            reply = sites[0].server.ask("GET", quote(path, safe="/?=&%"), sites[0].signed_in, "Accept: text/html")
            assert "<script>alert" not in reply.text and "<img" not in reply.text and "<b>" not in reply.text
