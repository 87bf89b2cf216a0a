"""Which user of this host a connection belongs to, where the kernel can tell: Linux, and both ends on loopback.

A cookie is sent to every port of a host. So a page that another user serves on another port could be handed ours; it is
of no use to them, since they cannot make the connection as us.
"""

import os
import socket
import sys
from ipaddress import ip_address

ROOT = 0
TABLES = {4: "/proc/net/tcp", 6: "/proc/net/tcp6"}
UID_COLUMN = 7

Address = tuple[str, int]


def is_another_user(client: Address | None, server: Address | None) -> bool:
    """True if the kernel says that neither we nor root opened this connection."""
    uid = None if client is None or server is None else _uid(client, server)
    return uid is not None and uid not in (ROOT, os.getuid())


def _uid(client: Address, server: Address) -> int | None:
    """Who holds the client's end; None where that cannot be known."""
    ip = ip_address(client[0].partition("%")[0])
    if not ip.is_loopback:
        return None
    wanted = [_entry(*client[:2]), _entry(*server[:2])]
    try:
        with open(TABLES[ip.version]) as table:
            for line in table:
                columns = line.split()
                if columns[1:3] == wanted:
                    return int(columns[UID_COLUMN])
    except FileNotFoundError:
        return None  # not Linux
    return None


def _entry(host: str, port: int) -> str:
    """An address as the kernel's table has it: 32-bit words in this machine's byte order."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    raw = socket.inet_pton(family, host.partition("%")[0])
    words = (int.from_bytes(raw[start : start + 4], sys.byteorder) for start in range(0, len(raw), 4))
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"
