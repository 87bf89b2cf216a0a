"""Two hosts on a LAN and a tailnet address, in network namespaces: run by test_trust.py under `unshare -Urn`."""

import json
import os
import subprocess
import sys
from pathlib import Path

from claire import checks
from tests.integration.nodes import PATIENCE_S, ProcessNode, until

LAN, NEIGHBOUR, TAILNET = "192.168.77.1", "192.168.77.2", "100.101.102.103"
GET = """
import http.client, ssl, sys
scheme, host, port, source = sys.argv[1:5]
kind = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}[scheme]
more = {"context": ssl._create_unverified_context()} if scheme == "https" else {}
wire = kind(host, int(port), timeout=60, source_address=(source, 0), **more)
try:
    wire.request("GET", "/api/sync/state")
    print(wire.getresponse().status)
except (OSError, http.client.HTTPException) as error:
    print(type(error).__name__)
"""


def ip(*argv: str, inside: int = 0) -> None:
    enter = ["nsenter", "-t", str(inside), "-n"] if inside else []
    subprocess.run([*enter, "ip", *argv], check=True)


def lay_cable() -> subprocess.Popen[bytes]:
    """A neighbour on our LAN that also routes our tailnet address to us; it lives as long as the process."""
    neighbour = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo here; exec sleep 600"], stdout=subprocess.PIPE)
    assert neighbour.stdout and neighbour.stdout.readline() == b"here\n"
    ip("link", "set", "lo", "up")
    ip("addr", "add", f"{TAILNET}/32", "dev", "lo")
    ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
    ip("link", "set", "v1", "netns", str(neighbour.pid))
    ip("addr", "add", f"{LAN}/24", "dev", "v0")
    ip("link", "set", "v0", "up")
    ip("addr", "add", f"{NEIGHBOUR}/24", "dev", "v1", inside=neighbour.pid)
    ip("link", "set", "v1", "up", inside=neighbour.pid)
    ip("link", "set", "lo", "up", inside=neighbour.pid)
    ip("route", "add", TAILNET, "via", LAN, inside=neighbour.pid)
    return neighbour


def main(root: Path) -> None:
    neighbour = lay_cable()
    inside = ["nsenter", "-t", str(neighbour.pid), "-n"]
    a, b = ProcessNode(root, "a", CLAIRE_SYNC_HOST=LAN), ProcessNode(root, "b")
    tailnet = ProcessNode(root, "c", CLAIRE_SYNC_HOST=TAILNET, CLAIRE_HOST=TAILNET)
    found: dict[str, object] = {}
    try:
        for node in (a, tailnet):
            node.start()
        line = a.claire("peer", "invite").strip()
        tailnet.claire("peer", "invite")
        until(lambda: bool(tailnet.urls().get("sync")))
        found["url"] = a.sync_url()
        found["doctor"] = [check.level for check in checks.daemon(a.home, a.env)]
        a.claire("project", "new", "api")

        def there(*argv: str) -> str:
            command = [*inside, sys.executable, "-m", "claire", *argv]
            done = subprocess.run(command, env=b.env, capture_output=True, text=True, timeout=PATIENCE_S)
            return done.stdout + done.stderr

        def get(scheme: str, host: str, url: str, source: str, where: list[str]) -> str:
            port = url.rpartition(":")[2]
            done = subprocess.run(
                [*where, sys.executable, "-c", GET, scheme, host, port, source], capture_output=True, text=True
            )
            return done.stdout.strip() or done.stderr

        found["stranger, plain"] = get("http", LAN, a.sync_url(), NEIGHBOUR, inside)
        found["stranger, tls"] = get("https", LAN, a.sync_url(), NEIGHBOUR, inside)
        for what, url in (("sync", tailnet.sync_url()), ("dashboard", str(tailnet.urls()["ui"]))):
            found[f"neighbour to {what} on the tailnet address"] = get("http", TAILNET, url, NEIGHBOUR, inside)
            found[f"host of the tailnet to {what}"] = get("http", TAILNET, url, TAILNET, [])
        found["join"] = there("peer", "join", line)
        found["projects"] = there("project", "list", "--json")
        print(json.dumps(found))
    finally:
        for node in (a, b, tailnet):
            node.kill()
        neighbour.kill()
        neighbour.wait()


if __name__ == "__main__":
    os.umask(0o077)
    main(Path(sys.argv[1]))
