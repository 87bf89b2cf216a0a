"""Which user of this host a connection belongs to, where the kernel can tell: Linux, and both ends on loopback.

A cookie is sent to every port of a host. So a page that another user serves on another port could be handed ours; it is
of no use to them, since they cannot make the connection as us.
"""

import os
import socket
import sys
from ipaddress import ip_address
from typing import Any

CONNECTION = "claire.connection"  # in the state of an ASGI scope: a dict that lives as long as the connection
ROOT = 0
TABLES = {4: "/proc/net/tcp", 6: "/proc/net/tcp6"}
UID_COLUMN, INODE_COLUMN = 7, 9

Address = tuple[str, int]


def is_another_user(scope: dict[str, Any]) -> bool:
    """True if the kernel says that neither we nor root hold the client's end, or that nobody does any more.

    Whose a connection is cannot change, so the kernel is asked once for each: it takes milliseconds to walk the table
    of all connections there could be.
    """
    client, server = scope.get("client"), scope.get("server")
    if client is None or server is None:
        return False
    ip = ip_address(client[0].partition("%")[0])
    if not ip.is_loopback or not os.path.exists(TABLES[ip.version]):
        return False  # from another host, or this is not Linux
    known = scope.get("state", {}).get(CONNECTION, {})
    if known.get("uid") is None:
        known["uid"] = _uid(TABLES[ip.version], client, server)
    return known["uid"] not in (ROOT, os.getuid())


def _uid(path: str, client: Address, server: Address) -> int | None:
    """Who holds the client's end. None if it was let go: the kernel says root of those, whoever it was."""
    wanted = [_entry(*client[:2]), _entry(*server[:2])]
    with open(path) as table:
        for line in table:
            columns = line.split()
            if columns[1:3] == wanted:
                return int(columns[UID_COLUMN]) if columns[INODE_COLUMN] != "0" else None
    return None


def _entry(host: str, port: int) -> str:
    """An address as the kernel's table has it: 32-bit words in this machine's byte order."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    raw = socket.inet_pton(family, host.partition("%")[0])
    words = (int.from_bytes(raw[start : start + 4], sys.byteorder) for start in range(0, len(raw), 4))
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"
