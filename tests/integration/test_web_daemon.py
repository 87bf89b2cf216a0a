"""`claire node` and `claire web` as they ship: both listeners behind the guard, one link, no secret left about."""

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h2.connection
import h2.events
import pytest

from tests.integration.nodes import PATIENCE_S, ProcessNode, equal, pair, until
from tests.ui.web.served import Server


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ProcessNode]:
    made = ProcessNode(tmp_path, "alpha")
    made.start()
    yield made
    made.kill()


def server(url: str) -> Server:
    return Server(int(url.rpartition(":")[2]), [])


def sign_in(node: ProcessNode) -> tuple[str, str, str]:
    """The dashboard's origin, the code and the cookie it was traded for."""
    origin, _, code = node.claire("web").strip().partition("/login#")
    ui = server(origin)
    reply = ui.ask("POST", "/login", *ui.own(), body=f"code={code}".encode())
    return origin, code, (reply.header("set-cookie") or "").partition(";")[0]


def test_w1_w3_w10_both_listeners_refuse_what_is_not_theirs(node: ProcessNode) -> None:
    origin, _, cookie = sign_in(node)
    node.claire("peer", "invite")
    ui, sync = server(origin), server(node.sync_url())
    assert ui.ask("GET", "/", f"Cookie: {cookie}").status == 200
    for listener in (ui, sync):
        for path in ("/", "/api/sync/state", "/api/pair"):
            assert listener.ask("GET", path, f"Cookie: {cookie}", host=f"evil.com:{listener.port}").status == 421
    assert ui.ask("GET", "/").status == 401
    assert ui.ask("GET", "/api/sync/state", f"Cookie: {cookie}").status == 404
    signed = "Authorization: Claire key=x, time=1, nonce=x, sig=x"
    assert ui.ask("GET", "/", signed).status == 401
    for headers in ([f"Cookie: {cookie}"], [signed, f"Cookie: {cookie}"], []):
        assert sync.ask("GET", "/api/sync/state", *headers).status == 401
        assert sync.ask("GET", "/", *headers).status == 401
    assert sync.ask("GET", "/api/sync/state", "Sec-Fetch-Site: none", f"Cookie: {cookie}").status == 403
    csp = sync.ask("GET", "/api/sync/state").header("content-security-policy") or ""
    assert "default-src 'none'" in csp


def over_http2(port: int, path: str, authority: str) -> int:
    """The status of one GET: Hypercorn speaks HTTP/2 to whoever begins with it."""
    link = h2.connection.H2Connection()
    link.initiate_connection()
    asked = {":method": "GET", ":path": path, ":scheme": "http", ":authority": authority}
    link.send_headers(1, list(asked.items()), end_stream=True)
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as wire:
        wire.sendall(link.data_to_send())
        while block := wire.recv(65536):
            for event in link.receive_data(block):
                if isinstance(event, h2.events.ResponseReceived):
                    return int(dict(event.headers)[b":status"])
    raise AssertionError("it closed the connection")


def test_w1_w3_the_rules_hold_over_http2_too(node: ProcessNode) -> None:
    node.claire("peer", "invite")
    for url in (str(node.urls()["ui"]), node.sync_url()):
        port = int(url.rpartition(":")[2])
        assert over_http2(port, "/", f"evil.com:{port}") == 421
        assert over_http2(port, "/", f"127.0.0.1:{port}") == 401


def test_w6_logout_all_ends_every_browser_at_once(node: ProcessNode) -> None:
    origin, _, cookie = sign_in(node)
    assert server(origin).ask("GET", "/", f"Cookie: {cookie}").status == 200
    assert node.json("logout", "--all") == {"browsers": 1}
    assert server(origin).ask("GET", "/", f"Cookie: {cookie}").status == 401


def test_w7_no_secret_in_argv_log_or_files(node: ProcessNode) -> None:
    origin, code, cookie = sign_in(node)
    ui = server(origin)
    ui.ask("GET", f"/projects/nothing?code={code}", f"Cookie: {cookie}")
    ui.ask("POST", "/login", *ui.own(), body=f"code={code}".encode())
    assert node.process is not None
    proc = Path(f"/proc/{node.process.pid}")
    said = node.log.read_bytes()
    if proc.exists():
        said += (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
    for path in Path(node.home.data).parent.rglob("*"):
        if path.is_file():
            said += path.read_bytes()
    for secret in (code, cookie.partition("=")[2]):
        assert len(secret) == 43
        assert secret.encode() not in said


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.7.7"])
def test_w8_an_open_bind_is_refused_with_words(tmp_path: Path, host: str) -> None:
    node = ProcessNode(tmp_path, "alpha")
    argv = [sys.executable, "-m", "claire", "node", "--host", host, "--port", "0"]
    done = subprocess.run(argv, env=node.env, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 2
    assert "tailscale serve" in done.stderr and "ssh -L" in done.stderr


def test_w8_nothing_but_loopback_is_open_without_peers(node: ProcessNode) -> None:
    """Zero configuration: one listener, on 127.0.0.1, and one click away."""
    assert node.urls()["sync"] == []
    assert node.process is not None
    with contextlib.suppress(FileNotFoundError):
        inodes = set()
        for fd in os.listdir(f"/proc/{node.process.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                inodes |= set(re.findall(r"socket:\[(\d+)\]", os.readlink(f"/proc/{node.process.pid}/fd/{fd}")))
        lines = [
            line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()
        ]
        listening = [line[1] for line in lines if line[3] == "0A" and line[9] in inodes]
        assert [address.partition(":")[0] for address in listening] == ["0100007F"]


def test_the_page_of_peers_says_when_two_nodes_agree(tmp_path: Path) -> None:
    """And when one of them is gone: what it held stays on every page."""
    a, b = ProcessNode(tmp_path, "alpha"), ProcessNode(tmp_path, "beta")
    try:
        a.start(), b.start()
        pair(a, b)
        a.sync_url(), b.sync_url()
        b.claire("project", "new", "from-beta")
        until(lambda: equal(a, b))
        origin, _, cookie = sign_in(a)

        def page(path: str) -> str:
            return server(origin).ask("GET", path, f"Cookie: {cookie}").text

        until(lambda: "agreed" in page("/peers"), why=lambda: page("/peers"))
        assert "from-beta" in page("/")
        b.kill()
        a.claire("project", "new", "without-beta")
        until(lambda: "agreed" not in page("/peers"), why=lambda: page("/peers"))
        assert "from-beta" in page("/projects") and "without-beta" in page("/projects")
    finally:
        a.kill(), b.kill()
