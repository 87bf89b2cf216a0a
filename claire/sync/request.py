"""A round asked of the running daemon: it has loaded, connected and learnt already what a command would have to.

A datagram to the doorbell names the socket that waits for the answer; both lie in a folder of this user alone.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from httpx import AsyncClient

    from claire.config import Home
    from claire.node.node import Node
    from claire.node.rows import Row

ROUND = b"round"
ANSWER_BYTES_MAX = 1024 * 1024
ANSWER_S_MAX = 2.0  # longer rounds are worth a look at their progress, which the asker then has of its own


def by_daemon(home: Home) -> list[Row] | None:
    """What a round with every peer came to; None where no daemon runs, or it takes longer than ANSWER_S_MAX."""
    if not os.path.exists(home.doorbell):
        return None
    address = f"{home.doorbell}.{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as waiting:
        waiting.settimeout(ANSWER_S_MAX)
        try:
            waiting.bind(address)
            waiting.sendto(ROUND, home.doorbell)
            return msgspec.json.decode(waiting.recv(ANSWER_BYTES_MAX), type=list[dict[str, object]])
        except OSError:
            return None  # nobody listens at the doorbell, or not soon enough
        finally:
            if os.path.exists(address):
                os.unlink(address)


async def answer(node: Node, client: AsyncClient, address: str) -> None:
    """The daemon's side: make the round, tell whoever waits at `address`."""
    from claire.sync import once

    rows = await once.round_with_all(node, client)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.sendto(msgspec.json.encode(rows), address)
        except OSError:
            return  # gone, or more rows than a datagram holds: it makes its own round
