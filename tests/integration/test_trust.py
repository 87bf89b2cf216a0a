"""Who may join, who is cut off, and what a stranger, another user or a thief gets: real daemons, real commands."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.nodes import PATIENCE_S, ProcessNode, equal, pair, until
from tests.integration.terminal import in_terminal

ROOT = Path(__file__).resolve().parents[2]
Make = Callable[..., ProcessNode]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[ProcessNode] = []

    def make_node(name: str, start: bool = True) -> ProcessNode:
        made.append(ProcessNode(tmp_path, name))
        if start:
            made[-1].start()
        return made[-1]

    yield make_node
    for node in made:
        node.kill()


@pytest.fixture
def two(make: Make) -> tuple[ProcessNode, ProcessNode]:
    a, b = make("a"), make("b")
    pair(a, b)
    a.sync_url(), b.sync_url()
    until(lambda: equal(a, b))
    return a, b


def test_rotation_is_told_and_both_go_on(two: tuple[ProcessNode, ProcessNode]) -> None:
    a, b = two
    old = a.json("id")
    assert "runs already" in refusal(a, "identity", "rotate")
    a.stop()
    new = a.json("identity", "rotate")
    assert new["id"] != old["id"] and [peer["name"] for peer in new["told"]] == ["b"]
    a.start()
    a.claire("project", "new", "after")
    until(lambda: "after" in b.projects() and equal(a, b), why=b.log.read_text)
    b.claire("project", "new", "back")
    until(lambda: "back" in a.projects(), why=a.log.read_text)
    assert {row["name"]: row["state"] for row in b.json("peer", "list")} == {
        "a": "member",
        f"a~{old['id'][:4]}": "revoked",
        "b": "member",
    }


def test_a_suspended_exchange_says_what_to_do_and_ends_with_the_users_word(
    make: Make,
) -> None:
    a, b, c = make("a"), make("b"), make("c")
    pair(a, b), pair(b, c)
    for node in (a, b, c):
        node.sync_url()
    until(lambda: equal(a, b, c))
    b.claire("peer", "revoke", "a")
    until(lambda: any(row["suspended"] for row in a.json("peer", "list")), why=a.log.read_text)
    told = said(a, "peer", "list")
    assert "says this node was cut off" in told and "claire identity rotate" in told and "claire peer revoke" in told
    assert [row["state"] for row in a.json("sync", code=4)] == ["refused", "refused"]
    a.stop()
    a.claire("identity", "rotate")
    a.start()
    pair(b, a)
    a.claire("project", "new", "again")
    until(lambda: "again" in b.projects(), why=b.log.read_text)
    assert not any(row["suspended"] for row in a.json("peer", "list"))


SSH = """#!{python}
import os, subprocess, sys
assert sys.argv[-3:-1] == ["--", "ann@b"], sys.argv
env = {{**os.environ, "CLAIRE_HOME": {home!r}, "CLAIRE_NAME": "b", "HOME": {root!r}}}
sys.exit(subprocess.run(["sh", "-c", sys.argv[-1]], env=env).returncode)
"""


def test_peer_add_pairs_over_ssh_with_no_port_open(make: Make, tmp_path: Path) -> None:
    a, b = make("a", start=False), make("b", start=False)
    tools = tmp_path / ".local" / "bin"
    tools.mkdir(parents=True)
    (tools / "ssh").write_text(SSH.format(python=sys.executable, home=b.env["CLAIRE_HOME"], root=str(tmp_path)))
    (tools / "claire").write_text(f'#!/bin/sh\nexec {sys.executable} -m claire "$@"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    a.env["PATH"] = f"{tools}:{os.environ['PATH']}"
    row = a.json("peer", "add", "ann@b")
    assert row["id"] == b.json("id")["id"] and row["fingerprint"] == b.json("id")["fingerprint"]
    assert {peer["name"] for peer in b.json("peer", "list")} == {"a", "b"}
    assert a.claire("peer", "add", "-oProxyCommand=id", code=2) == ""


def test_allow_send_is_local_and_listed(two: tuple[ProcessNode, ProcessNode]) -> None:
    a, b = two
    assert {row["name"]: row["may_type"] for row in a.json("peer", "list")} == {"a": True, "b": False}
    before = a.count()
    a.claire("peer", "allow-send", "b")
    assert {row["name"]: row["may_type"] for row in a.json("peer", "list")} == {"a": True, "b": True}
    assert {row["name"]: row["may_type"] for row in b.json("peer", "list")} == {"a": False, "b": True}
    a.claire("peer", "allow-send", "b", "--off")
    assert {row["name"]: row["may_type"] for row in a.json("peer", "list")} == {"a": True, "b": False}
    assert a.count() == before, "nothing of it is an event"


def refusal(node: ProcessNode, *argv: str) -> str:
    done = subprocess.run([sys.executable, "-m", "claire", *argv], env=node.env, capture_output=True, text=True)
    assert done.returncode == 5, done
    return done.stderr


def said(node: ProcessNode, *argv: str) -> str:
    done = subprocess.run([sys.executable, "-m", "claire", *argv], env=node.env, capture_output=True, text=True)
    return done.stdout + done.stderr


def may_unshare() -> bool:
    try:
        return subprocess.run(["unshare", "-Urn", "ip", "link"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not may_unshare(), reason="needs network namespaces: unshare -Urn, and ip")
def test_p15_a_lan_neighbour_meets_tls_on_the_lan_and_nothing_on_the_tailnet_address(tmp_path: Path) -> None:
    """Real interfaces: pairing is TLS by itself, and a neighbour that routes our tailnet address gets nothing."""
    argv = ["unshare", "-Urn", sys.executable, "-m", "tests.integration.lan", str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=4 * PATIENCE_S)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["url"].startswith("https://192.168.77.1:")
    assert found["doctor"] == ["ok"]
    assert found["stranger, plain"] == "RemoteDisconnected"
    assert found["stranger, tls"] == "401"
    for what in ("sync", "dashboard"):
        assert found[f"neighbour to {what} on the tailnet address"] == "403"
        assert found[f"host of the tailnet to {what}"] == "401"
    assert found["join"].startswith("joined a ")
    assert [project["name"] for project in json.loads(found["projects"])["data"]] == ["api"]


def test_an_invite_is_one_line_in_a_pipe_and_a_code_in_a_terminal(make: Make) -> None:
    a = make("a")
    line = a.claire("peer", "invite")
    assert line.startswith("claire:") and line.count("\n") == 1
    code, shown = in_terminal(["peer", "invite"], a.env)
    assert code == 0 and "claire:" in shown and shown.count("█") > 100 and "fingerprint" in shown
    assert "lan_discovery" in shown  # loopback is all this node has: another host would dial itself


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_w9_a_running_node_keeps_its_files_and_its_sync_port_to_itself(make: Make) -> None:
    a = make("a")
    a.claire("peer", "invite")
    url = a.sync_url()
    files = [path for folder in a.home.folders for path in Path(folder).iterdir()]
    assert {path.name for path in files} >= {"claire.db", "claire.db-wal", "node.key", "node.json", "doorbell.sock"}
    assert {path.stat().st_mode & 0o777 for path in files if not path.is_dir()} == {0o600}
    look = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1] + '/api/sync/state')"
    as_nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    done = subprocess.run([*as_nobody, "/usr/bin/env", "python3", "-c", look, url], capture_output=True, text=True)
    assert done.returncode != 0 and ("401" in done.stderr or "denied" in done.stderr), done.stderr
    for path in (*files, *map(Path, a.home.folders)):
        done = subprocess.run([*as_nobody, "cat" if path.is_file() else "ls", str(path)], capture_output=True)
        assert done.returncode != 0 and not done.stdout, path
