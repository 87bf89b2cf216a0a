"""mDNS between two hosts that share nothing but a cable: network namespaces joined by a veth pair."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.nodes import ProcessNode, equal, until


def run(*argv: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(argv, check=check, capture_output=True)


def can_make_namespaces() -> bool:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"claire-try-{os.getpid()}"
    made = run("ip", "netns", "add", name, check=False).returncode == 0
    if made:
        run("ip", "netns", "del", name)
    return made


pytestmark = pytest.mark.skipif(not can_make_namespaces(), reason="network namespaces need root and iproute2")


@pytest.fixture
def cable() -> Iterator[tuple[str, str]]:
    """Two namespaces, 10.99.0.1 and 10.99.0.2, joined by a link that can be taken down."""
    names = f"claire-l{os.getpid()}", f"claire-r{os.getpid()}"
    ends = f"cl{os.getpid()}", f"cr{os.getpid()}"
    for name in names:
        run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", ends[0], "netns", names[0], "type", "veth", "peer", "name", ends[1], "netns", names[1])
        for number, (name, end) in enumerate(zip(names, ends, strict=True), start=1):
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "addr", "add", f"10.99.0.{number}/24", "dev", end)
            run("ip", "-n", name, "link", "set", end, "up")
        yield names
    finally:
        for name in names:
            run("ip", "netns", "del", name)


def set_link(namespace: str, state: str) -> None:
    run("ip", "-n", namespace, "link", "set", f"cl{os.getpid()}", state)


class LanNode(ProcessNode):
    """A node in a namespace of its own, with LAN discovery on and no peers.toml."""

    def __init__(self, root: Path, name: str, namespace: str) -> None:
        super().__init__(root, name)
        Path(self.home.settings_file).write_text("lan_discovery = true\n")
        self.python = ["ip", "netns", "exec", namespace, sys.executable]


def test_two_admitted_nodes_find_each_other_lose_the_link_and_find_each_other_again(
    cable: tuple[str, str], tmp_path: Path
) -> None:
    left, right = LanNode(tmp_path, "left", cable[0]), LanNode(tmp_path, "right", cable[1])
    try:
        for node in (left, right):
            node.start()
        right.claire("peer", "join", left.claire("peer", "invite").strip())
        assert left.sync_url().startswith("https://10.99.0.1:") and right.sync_url().startswith("https://10.99.0.2:")
        forget_addresses(left, right)
        until(lambda: equal(left, right), why=left.log.read_text)
        set_link(cable[0], "down")
        left.claire("project", "new", "alone")
        move(cable[1], "10.99.0.2", "10.99.0.22")
        set_link(cable[0], "up")
        until(lambda: equal(left, right), why=lambda: left.log.read_text() + right.log.read_text())
        assert right.projects() == {"alone"}
    finally:
        left.kill()
        right.kill()


def test_a_node_and_its_live_copy_find_each_other(cable: tuple[str, str], tmp_path: Path) -> None:
    left, absent = LanNode(tmp_path, "left", cable[0]), LanNode(tmp_path, "absent", cable[0])
    left.start()
    absent.claire("peer", "join", left.claire("peer", "invite").strip())
    left.stop()
    shutil.copytree(tmp_path / "left", tmp_path / "copy")
    copy = LanNode(tmp_path, "copy", cable[1])
    try:
        for node in (left, copy):
            node.start()
            node.claire("project", "new", node.name)
        until(lambda: equal(left, copy), why=lambda: left.log.read_text() + copy.log.read_text())
        assert left.projects() == copy.projects() == {"left", "copy"}
    finally:
        left.kill()
        copy.kill()


def forget_addresses(*nodes: ProcessNode) -> None:
    """What is left to find a peer by is mDNS."""
    for node in nodes:
        node.sql("UPDATE peers SET url = NULL")


def move(namespace: str, before: str, after: str) -> None:
    end = f"cr{os.getpid()}"
    run("ip", "-n", namespace, "addr", "del", f"{before}/24", "dev", end)
    run("ip", "-n", namespace, "addr", "add", f"{after}/24", "dev", end)


FORGE = """
import asyncio, sys
from zeroconf import IPVersion
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf
SERVICE = "_claire._tcp.local."
async def main(machine_id, count):
    zeroconf = AsyncZeroconf(ip_version=IPVersion.V4Only)
    for number in range(count):
        name = machine_id if number == 0 else f"{number:08x}{machine_id[8:]}"
        info = AsyncServiceInfo(SERVICE, f"{name}.{SERVICE}", port=9, properties={"id": name},
                                parsed_addresses=["10.99.0.66"], server=f"{name}.local.")
        await zeroconf.async_register_service(info, cooperating_responders=True)
    print("said", flush=True)
    await asyncio.sleep(600)
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def test_p13_a_strangers_announcements_change_nothing(cable: tuple[str, str], tmp_path: Path) -> None:
    left, right = LanNode(tmp_path, "left", cable[0]), LanNode(tmp_path, "right", cable[1])
    forger = None
    try:
        for node in (left, right):
            node.start()
        right.claire("peer", "join", left.claire("peer", "invite").strip())
        left.sync_url(), right.sync_url()
        members = left.json("peer", "list")
        victim = right.json("id")["id"]
        before = memory_kib(left)
        forger = subprocess.Popen([*right.python, "-c", FORGE, victim, "300"], stdout=subprocess.PIPE)
        assert forger.stdout is not None and forger.stdout.readline() == b"said\n"
        right.claire("project", "new", "real")
        until(lambda: equal(left, right), why=left.log.read_text)
        assert [row["id"] for row in left.json("peer", "list")] == [row["id"] for row in members]
        assert memory_kib(left) - before < 20_000
    finally:
        if forger is not None:
            forger.kill()
            forger.wait()
            assert forger.stdout is not None
            forger.stdout.close()
        left.kill()
        right.kill()


def memory_kib(node: ProcessNode) -> int:
    status = Path(f"/proc/{node.urls()['pid']}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])
