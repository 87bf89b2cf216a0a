"""The guard before a tiny app, spoken to in raw bytes: rows W1-W4 of reliability.md that need no node."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from claire.ui.guard import FORM, Guard, Rule
from tests.ui.web.served import TIMEOUT_S, Server, read_reply, running

COOKIE = "Cookie: pass=yes"
entered: list[str] = []


async def handler(request: Request) -> PlainTextResponse:
    entered.append(f"{request.method} {request.scope['path']}")
    return PlainTextResponse(str(len(await request.body())))


async def broken(request: Request) -> PlainTextResponse:
    raise KeyError("secret-in-an-exception")


async def login(scope: dict[str, Any]) -> bool:
    return any(key == b"cookie" and b"pass=yes" in value for key, value in scope["headers"])


RULES = [
    Rule("/page/{name}"),
    Rule("/act", methods=frozenset({"POST"}), body_type=FORM, body_bytes_max=1000),
    Rule("/soon", methods=frozenset({"POST"}), body_type=FORM, body_bytes_max=1000, deadline_s=0.5),
    Rule("/broken"),
    Rule("/login", login=False, linked=True),
]


def guarded(port: int, *, browser: bool = True) -> Guard:
    paths = ("/page/{name}", "/act", "/soon", "/broken", "/login", "/forgotten")
    routes = [
        Route(path, broken if path == "/broken" else handler, methods=["GET", "POST", "OPTIONS", "DELETE"])
        for path in paths
    ]
    origins = [f"http://127.0.0.1:{port}", f"http://localhost:{port}", f"http://[::1]:{port}"]
    return Guard(Starlette(routes=routes), RULES, origins=origins, login=login, browser=browser)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(guarded) as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_entered() -> None:
    entered.clear()


FOREIGN_HOSTS = [
    "evil.com", "evil.com:{port}", "localhost.:{port}", "127.0.0.1.evil.com:{port}", "a@127.0.0.1:{port}",
    "0.0.0.0:{port}", "127.1:{port}", "2130706433:{port}", "0x7f.1:{port}", "", "127.0.0.1", "127.0.0.1:1",
    "127.0.0.1:{port}0", "localhost:{port}, evil.com", "[::ffff:127.0.0.1]:{port}", "[::]:{port}",
    "::1:{port}",
    "127.0.0.1:{port}/", "127.0.0.1:{port}#x", "evil.com?127.0.0.1:{port}", "127.0.0.1 :{port}", "*:{port}",
]  # fmt: skip


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
@pytest.mark.parametrize("browser", [True, False], ids=["ui", "sync"])
def test_w1_foreign_host(host: str, browser: bool) -> None:
    with running(lambda port: guarded(port, browser=browser)) as server:
        line = f"Host: {host.format(port=server.port)}\r\n"
        for path in ("/login", "/page/a", "/nowhere"):
            reply = server.send(f"GET {path} HTTP/1.1\r\n{line}{COOKIE}\r\nConnection: close\r\n\r\n".encode())
            # 400 is Hypercorn's own, for what is no Host at all
            assert reply.status in ((400, 421) if " " in host or not host else (421,)), reply
    assert entered == []


def test_w1_own_hosts_are_answered_and_two_hosts_are_not(server: Server) -> None:
    for host in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        assert server.ask("GET", "/page/a", COOKIE, host=f"{host}:{server.port}").status == 200, host
    assert server.ask("GET", "/page/a", COOKIE, f"Host: 127.0.0.1:{server.port}").status in (400, 421)
    assert server.ask("GET", "/page/a", COOKIE, "Host: evil.com").status in (400, 421)
    assert server.send(b"GET /login HTTP/1.0\r\n\r\n").status == 421
    absolute = server.ask("GET", f"http://evil.com:{server.port}/page/a", COOKIE, host=f"evil.com:{server.port}")
    assert absolute.status == 421


SITES = ["same-origin", "same-site", "cross-site", "none", None]
ORIGINS = ["own", "http://evil.com", "null", "other port", "https", "localhost", None]


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("origin", ORIGINS)
def test_w2_other_origins_change_nothing(server: Server, site: str | None, origin: str | None) -> None:
    real = {
        "own": server.origin, "other port": "http://127.0.0.1:9999",
        "https": server.origin.replace("http", "https"), "localhost": f"http://localhost:{server.port}",
    }.get(origin or "", origin)  # fmt: skip
    lines = ["HX-Request: true", f"Content-Type: {FORM}"]
    lines += [f"Sec-Fetch-Site: {site}"] if site else []
    lines += [f"Origin: {real}"] if real else []
    ours = origin in ("own", None) and site in ("same-origin", None) and not (site is None and origin is None)
    assert server.ask("POST", "/act", *lines, body=b"a=1").status == (401 if ours else 403)
    assert entered == []
    assert server.ask("POST", "/act", *lines, COOKIE, body=b"a=1").status == (200 if ours else 403)
    assert entered == (["POST /act"] if ours else [])


def test_w2_a_form_cannot_post_and_a_page_cannot_read(server: Server) -> None:
    """Even with the right origin: a form sets no header. Nor does a cross-site GET reach a handler."""
    assert server.ask("POST", "/act", *server.own()[:2], COOKIE, f"Content-Type: {FORM}", body=b"a=1").status == 403
    for site in ("cross-site", "same-site"):
        navigation = (f"Sec-Fetch-Site: {site}", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
        assert server.ask("GET", "/page/a", *navigation, COOKIE).status == 403
        assert server.ask("GET", "/login", f"Sec-Fetch-Site: {site}", "Sec-Fetch-Mode: no-cors").status == 403
        assert entered == []
        assert server.ask("GET", "/login", *navigation).status == 200  # the sign-in link works from any terminal
        entered.clear()


def test_w2_peers_are_no_browsers() -> None:
    with running(lambda port: guarded(port, browser=False)) as server:
        for mark in (f"Origin: {server.origin}", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none"):
            assert server.ask("POST", "/act", mark, COOKIE, f"Content-Type: {FORM}", body=b"a=1").status == 403
        assert server.ask("POST", "/act", COOKIE, f"Content-Type: {FORM}", body=b"a=1").status == 200


def test_w3_nothing_opens_without_a_login_and_nothing_without_a_rule(server: Server) -> None:
    for path in (
        "/page/a",
        "/broken",
        "/forgotten",
        "/nowhere",
        "/page/a/b",
        "//login",
        "/login/",
        "/%6cogin/x",
    ):
        assert server.ask("GET", path).status == 401, path
        assert server.ask("GET", path, "Cookie: pass=no").status == 401, path
    assert entered == []
    assert server.ask("GET", "/forgotten", COOKIE).status == 404  # the app has that route; the guard has no rule
    assert server.ask("POST", "/forgotten", COOKIE, *server.own(), body=b"a=1").status == 404
    assert entered == []


def test_w4_methods_outside_the_rule_are_refused(server: Server) -> None:
    for path in ("/page/a", "/act", "/login", "/forgotten", "/nowhere"):
        for method in ("OPTIONS", "DELETE", "PUT", "PATCH", "TRACE", "PROPFIND"):
            reply = server.ask(method, path, COOKIE, *server.own(), "Access-Control-Request-Method: POST")
            assert reply.status == 405, (method, path)
            assert not any("access-control" in key for key, _ in reply.headers)
    assert server.ask("GET", "/act", COOKIE).status == server.ask("HEAD", "/act", COOKIE).status == 405
    assert entered == []


def test_w3_a_websocket_is_not_opened(server: Server) -> None:
    upgrade = ("Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
    head = f"GET /page/a HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: Upgrade\r\n{COOKIE}\r\n"
    assert server.send((head + "\r\n".join(upgrade) + "\r\n\r\n").encode()).status == 403
    assert entered == []


def test_bodies_are_bounded_however_they_are_declared(server: Server) -> None:
    marks = [*server.own(), COOKIE]
    assert server.ask("POST", "/act", *marks, body=b"a" * 1000).text == "1000"
    assert server.ask("POST", "/act", *marks, body=b"a" * 1001).status == 413
    assert server.ask("POST", "/act", *marks, "Content-Length: 1000000000").status == 413
    assert server.ask("GET", "/page/a", COOKIE, body=b"a").status == 413
    chunk = b"1000\r\n" + b"a" * 4096 + b"\r\n"
    head = "\r\n".join(["POST /act HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *marks, "Transfer-Encoding: chunked"])
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S) as wire:
        wire.sendall(head.encode() + b"\r\n\r\n" + chunk)  # and no end
        assert read_reply(wire).status == 413


def test_bodies_are_what_the_rule_says(server: Server) -> None:
    marks = [*server.own()[:3], COOKIE]
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/json", ""):
        assert server.ask("POST", "/act", *marks, f"Content-Type: {kind}", body=b"a=1").status == 415, kind
    assert server.ask("POST", "/act", *server.own(), COOKIE, "Content-Encoding: gzip", body=b"a=1").status == 415
    assert server.ask("POST", "/act", *marks, f"Content-Type: {FORM}; charset=utf-8", body=b"a=1").status == 200


def test_a_body_that_never_ends_meets_the_deadline(server: Server) -> None:
    assert server.ask("POST", "/soon", *server.own(), COOKIE, "Content-Length: 100").status == 408
    assert entered == ["POST /soon"]


def test_every_answer_bears_the_security_headers(server: Server) -> None:
    posted = [*server.own(), COOKIE]
    replies = [
        server.ask("GET", "/page/a", COOKIE),
        server.ask("HEAD", "/page/a", COOKIE),
        server.ask("GET", "/page/a"),
        server.ask("GET", "/", host="evil.com"),
        server.ask("DELETE", "/act"),
        server.ask("GET", "/nowhere", COOKIE),
        server.ask("POST", "/act", *posted, body=b"a" * 2000),
        server.ask("POST", "/act"),
        server.ask("GET", "/broken", COOKIE),
    ]
    assert [reply.status for reply in replies] == [200, 200, 401, 421, 405, 404, 413, 403, 500]
    for reply in replies:
        csp = reply.header("content-security-policy") or ""
        assert "default-src 'none'" in csp and "frame-ancestors 'none'" in csp and "unsafe" not in csp, reply
        assert reply.header("x-content-type-options") == "nosniff"
        assert reply.header("referrer-policy") == "no-referrer"
        assert reply.header("cache-control") == "no-store"
        assert reply.header("cross-origin-resource-policy") == "same-origin"
        assert not any(key.startswith("access-control") for key, _ in reply.headers)
        assert "secret-in-an-exception" not in reply.text and "evil.com" not in reply.text


HEADERS = st.sampled_from([
    "host", "origin", "sec-fetch-site", "sec-fetch-mode", "hx-request", "content-type", "content-length", "cookie",
    "transfer-encoding", "content-encoding", "accept", "if-none-match", "x",
])  # fmt: skip
VALUES = st.one_of(
    st.sampled_from([
        "127.0.0.1:1", "localhost:1", "http://127.0.0.1:1", "null", "same-origin", "none", "cross-site", "navigate",
        "true", FORM, "5", "-1", "99999999999999999999", "chunked", "text/html", "a=b",
    ]),
    st.text(max_size=20),
)  # fmt: skip
SCOPES = st.fixed_dictionaries({
    "type": st.just("http"),
    "method": st.one_of(st.sampled_from(["GET", "HEAD", "POST", "OPTIONS"]), st.text(max_size=8)),
    "path": st.one_of(st.sampled_from(["/", "/page/a", "/act", "/login", "/forgotten"]), st.text(max_size=20)),
    "headers": st.lists(st.tuples(HEADERS.map(str.encode), VALUES.map(str.encode)), max_size=8),
})  # fmt: skip


@given(SCOPES, st.booleans(), st.lists(st.binary(max_size=600), max_size=4))
async def test_w3_whatever_is_sent_nothing_opens_without_a_login(scope: Any, browser: bool, body: list[bytes]) -> None:
    """Fuzz: no exception leaves the guard, one answer leaves it, and the app behind it is not entered."""
    sent: list[dict[str, Any]] = []
    parts = iter([{"type": "http.request", "body": part, "more_body": True} for part in body])

    async def receive() -> dict[str, Any]:
        return next(parts, {"type": "http.request", "body": b"", "more_body": False})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["path"] == "/login"  # the one page of these rules that is open
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    origins = ["http://127.0.0.1:1", "http://localhost:1"]
    await Guard(app, RULES, origins=origins, login=login, browser=browser)(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] in (200, 400, 401, 403, 404, 405, 413, 415, 421)
    assert (b"x-content-type-options", b"nosniff") in sent[0]["headers"]
