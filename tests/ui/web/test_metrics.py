"""What Prometheus reads, and who may."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from claire.node import projects
from claire.node.node import Node
from claire.ui import login
from claire.ui.metrics import Sample, exposition
from claire.ui.web import app
from tests.conftest import befriend
from tests.ui.web.served import running

TOKEN = "a-token-of-enough-characters"
LINE = re.compile(r'[a-z_]+(\{[a-z]+="([^"\\\n]|\\.)*"(,[a-z]+="([^"\\\n]|\\.)*")*\})? -?[0-9.e+-]+')


@pytest.fixture
def token(node: Node) -> str:
    Path(node.home.config, "metrics.token").write_text(f"{TOKEN}\n")
    return f"Authorization: Bearer {TOKEN}"


def test_every_line_is_a_sample(make_node: Callable[..., Node]) -> None:
    node, other = make_node("a"), make_node('b"\\c')
    befriend(node, other)
    projects.create(node, "api")
    Path(node.home.config, "metrics.token").write_text(TOKEN)
    with running(lambda port: app(node, port=port, measures=lambda: [Sample("x_total", "counter", "X.", 3)])) as server:
        got = server.ask("GET", "/metrics", f"Authorization: Bearer {TOKEN}")
    assert got.status == 200 and (got.header("content-type") or "").startswith("text/plain; version=0.0.4")
    for line in got.text.splitlines():
        assert line.startswith("# ") or LINE.fullmatch(line), line
    assert f'claire_events_total{{machine="{node.machine_id}"}} 3' in got.text and "\nx_total 3\n" in got.text


def test_nobody_without_login_or_token(node: Node, token: str) -> None:
    with running(lambda port: app(node, port=port)) as server:
        cookie = login.redeem(node, login.link(node, server.origin).partition("#")[2])
        assert server.ask("GET", "/metrics").status == 401
        assert server.ask("GET", "/metrics", "Authorization: Bearer wrong").status == 401
        assert server.ask("GET", "/metrics", token).status == 200
        assert server.ask("GET", "/metrics", f"Cookie: {login.cookie_name(server.port)}={cookie}").status == 200
        assert server.ask("GET", "/", token).status == 401
        assert server.ask("POST", "/projects", token, *server.own(), body=b"name=x").status == 401


@pytest.mark.parametrize("text", ["", "short"])
def test_a_short_token_opens_nothing(text: str, node: Node) -> None:
    Path(node.home.config, "metrics.token").write_text(text)
    with running(lambda port: app(node, port=port)) as server:
        assert server.ask("GET", "/metrics", f"Authorization: Bearer {text}").status == 401


def test_labels_are_escaped() -> None:
    text = exposition([Sample("n", "gauge", "Help.", 1.5, (("a", 'x"\\\n'),))])
    assert text == '# HELP n Help.\n# TYPE n gauge\nn{a="x\\"\\\\\\n"} 1.5\n'
