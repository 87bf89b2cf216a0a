"""Sign-in codes and cookies: rows W6, W7 and W9 of reliability.md."""

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from claire.node.errors import Refused
from claire.node.node import Node
from claire.ui import login
from claire.ui.web import app
from tests.conftest import Clock
from tests.ui.web.conftest import Site, sign_in
from tests.ui.web.served import running


def code_of(node: Node) -> str:
    return login.link(node, "http://127.0.0.1:1").partition("#")[2]


def test_w6_a_code_works_once_and_for_a_minute(node: Node, clock: Clock) -> None:
    code = code_of(node)
    cookie = login.redeem(node, code)
    assert login.known(node, cookie) and not login.known(node, code)
    with pytest.raises(Refused):
        login.redeem(node, code)
    late = code_of(node)
    clock.now_ms += login.CODE_TTL_MS
    with pytest.raises(Refused):
        login.redeem(node, late)


def test_w6_of_two_browsers_at_once_one_gets_in(node: Node) -> None:
    code, got = code_of(node), []
    barrier = threading.Barrier(8)

    def race() -> None:
        barrier.wait()
        try:
            got.append(login.redeem(node, code))
        except Refused:
            got.append("")

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8 and len([cookie for cookie in got if cookie]) == 1


def test_w6_five_wrong_codes_spend_the_right_one(node: Node) -> None:
    code = code_of(node)
    for guess in range(login.WRONG_CODES_MAX):
        with pytest.raises(Refused):
            login.redeem(node, f"guess {guess}")
    with pytest.raises(Refused):
        login.redeem(node, code)
    assert login.known(node, sign_in(node))  # a new link is not affected


def test_w6_cookies_end_and_can_all_be_ended(node: Node, clock: Clock) -> None:
    first, second = sign_in(node), sign_in(node)
    login.logout(node, first)
    assert not login.known(node, first) and login.known(node, second)
    assert login.logout_all(node) == 1
    assert not login.known(node, second)
    third = sign_in(node)
    clock.now_ms += login.COOKIE_TTL_MS
    assert not login.known(node, third)
    for odd in ("", "a" * 43, f"{third}x", "é" * 43):
        assert not login.known(node, odd)


def test_w6_over_http(site: Site) -> None:
    server, code = site.server, code_of(site.node)
    body = f"code={code}".encode()
    assert server.ask("POST", "/login", "Sec-Fetch-Site: cross-site", *server.own()[2:], body=body).status == 403
    reply = server.ask("POST", "/login", *server.own(), body=body)
    cookie = reply.header("set-cookie") or ""
    assert reply.status == 204
    assert cookie.startswith(f"claire-{server.port}=") and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert server.ask("GET", "/", f"Cookie: {cookie.partition(';')[0]}").status == 200
    assert server.ask("GET", "/", f"Cookie: other=1; {cookie.partition(';')[0]}; x=y").status == 200
    assert server.ask("GET", "/", f"Cookie: claire={cookie.partition('=')[2].partition(';')[0]}").status == 401
    again = server.ask("POST", "/login", *server.own(), body=body)
    assert again.status == 409 and "claire web" in again.text
    assert server.ask("POST", "/logout", f"Cookie: {cookie.partition(';')[0]}", *server.own()).status == 204
    assert server.ask("GET", "/", f"Cookie: {cookie.partition(';')[0]}").status == 401


def test_w7_secrets_are_stored_hashed_and_not_logged(
    make_node: Callable[..., Node], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = make_node("quiet")
    link = login.link(node, "http://127.0.0.1:8765")
    code, cookie = link.partition("#")[2], sign_in(node)
    assert "?" not in link and len(code) == 43
    monkeypatch.setattr("claire.ui.web.version", lambda *_: 1 / 0)
    with running(lambda port: app(node, port=port)) as server:
        own = f"Cookie: claire-{server.port}={cookie}"
        page = server.ask("GET", f"/?code={code}", own, f"Referer: http://127.0.0.1/login#{code}", "Accept: text/html")
        server.ask("POST", "/login", *server.own(), body=f"code={code}x".encode())
        said = "\n".join(server.log) + caplog.text + page.text
    assert page.status == 500 and "ZeroDivisionError" in "\n".join(server.log)
    with node.reading() as db:
        said += "\n".join(map(str, db.execute("SELECT * FROM logins")))
    assert code not in said and cookie not in said


def test_w7_the_link_reaches_the_browser_in_a_file_not_in_argv(tmp_path: Path) -> None:
    path = login.doorway(str(tmp_path), "http://127.0.0.1:1/login#secret")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert "login#secret" in Path(path).read_text()
    login.doorway(str(tmp_path), "http://127.0.0.1:1/login#other")
    assert "secret" not in Path(path).read_text()


AS_NOBODY = """
import os, sys, urllib.request, urllib.error
"".encode("idna")  # loaded while we may still read our own Python
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for path in sys.argv[2:]:
    try:
        open(path).close()
        print("opened", path)
    except PermissionError:
        print("refused")
try:
    print(urllib.request.urlopen(sys.argv[1]).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_w9_another_user_of_this_host_gets_nothing(site: Site) -> None:
    home = site.node.home
    private = [home.database, f"{home.database}-wal", f"{home.database}-shm", home.key_file]
    for path in private:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600, path
    for folder in home.folders:
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700, folder
    argv = [sys.executable, "-c", AS_NOBODY, f"{site.server.origin}/", *private]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["refused"] * len(private) + ["401"], done.stderr


GUESSING = """
import os, sys, urllib.request, urllib.error
"".encode("idna")
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
marks = {"Origin": sys.argv[1], "Sec-Fetch-Site": "same-origin", "HX-Request": "true"}
for n in range(6):
    try:
        urllib.request.urlopen(urllib.request.Request(sys.argv[1] + "/login", b"code=%d" % n, marks))
    except urllib.error.HTTPError as error:
        print(error.code)
"""


WITH_OUR_COOKIE = """
import os, sys, urllib.request, urllib.error
"".encode("idna")
if sys.argv[3] != "0":
    os.setgroups([]); os.setgid(int(sys.argv[3])); os.setuid(int(sys.argv[3]))
try:
    print(urllib.request.urlopen(urllib.request.Request(sys.argv[1], headers={"Cookie": sys.argv[2]})).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


@pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/proc/net/tcp"), reason="becoming another user takes root")
def test_w6_w9_another_user_cannot_spend_our_codes_by_guessing(site: Site) -> None:
    code = login.link(site.node, "").partition("#")[2]
    argv = [sys.executable, "-c", GUESSING, site.server.origin, "65534"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["409"] * 6, done.stderr
    assert login.redeem(site.node, code)


@pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/proc/net/tcp"), reason="becoming another user takes root")
def test_w9_a_cookie_is_of_no_use_to_another_user(site: Site) -> None:
    """A page another user serves on another port of this host may be handed our cookie: ports share cookies."""
    stolen = f"{login.cookie_name(site.server.port)}={sign_in(site.node)}"
    for uid, status in (("0", "200"), ("65534", "401")):
        argv = [sys.executable, "-c", WITH_OUR_COOKIE, f"{site.server.origin}/", stolen, uid]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
        assert done.stdout.strip() == status, done.stderr
