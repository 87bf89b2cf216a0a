"""How many connections a listener holds: where one more comes than it has room for, the longest idle one goes.

Whoever opens many and says nothing, or says it a byte at a time, then keeps out nobody.
"""

import resource
import socket
from contextlib import suppress
from itertools import islice
from typing import Any

CONNECTIONS_MAX = 200  # of one listener
DESCRIPTORS_WANTED = 2_048
SHARE = 4  # a listener takes at most this part of the descriptors: the rest is for files, peers and the other listener
GO_SHARE = 4  # this part of the room is made free at once

Client = tuple[Any, ...]  # address and port


def room() -> int:
    """Connections a listener may hold in this process; raises the process' own limit where that is low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < DESCRIPTORS_WANTED:
        soft = DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_WANTED)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return CONNECTIONS_MAX if soft < 0 else max(1, min(CONNECTIONS_MAX, soft // SHARE))


class Crowd:
    """The connections of one listener, longest idle first, and which of them are being answered."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._there: dict[Client, socket.socket] = {}
        self._busy: set[Client] = set()
        self._going: list[socket.socket] = []  # told to go, and not closed yet

    def has_room(self) -> bool:
        """True if one more may come now. Else those idle longest are told to go, and there is room in a moment."""
        if len(self._there) + len(self._going) < self.most:
            return True
        self._there = {client: conn for client, conn in self._there.items() if conn.fileno() != -1}
        self._going = [conn for conn in self._going if conn.fileno() != -1]
        if len(self._there) + len(self._going) < self.most:
            return True
        if not self._going:
            idle = islice((client for client in self._there if client not in self._busy), max(1, self.most // GO_SHARE))
            for client in list(idle):
                self._tell_to_go(self._there.pop(client))
        return not self._going  # if all are at work, the one that comes goes

    def enter(self, conn: socket.socket, client: Client) -> None:
        if len(self._there) < self.most:
            self._there[client] = conn
        else:
            self._tell_to_go(conn)

    def _tell_to_go(self, conn: socket.socket) -> None:
        """The server sees the end of the connection and closes it."""
        self._going.append(conn)
        with suppress(OSError):  # gone already
            conn.shutdown(socket.SHUT_RDWR)

    def answering(self, client: Client) -> None:
        self._busy.add(client)

    def answered(self, client: Client) -> None:
        """Idle from now on, and last in the row."""
        self._busy.discard(client)
        if client in self._there:
            self._there[client] = self._there.pop(client)


class Listening(socket.socket):
    """A listening socket that accepts while there is room; who waits meanwhile waits in the kernel."""

    crowd: Crowd

    def accept(self) -> tuple[socket.socket, Any]:
        if not self.crowd.has_room():
            raise BlockingIOError
        conn, address = super().accept()
        self.crowd.enter(conn, address[:2])
        return conn, address


def counted(sock: socket.socket, crowd: Crowd) -> Listening:
    """The same socket, counted."""
    listening = Listening(sock.family, sock.type, sock.proto, fileno=sock.detach())
    listening.crowd = crowd
    return listening


class Attentive:
    """Wraps an ASGI app: who is being answered is not idle."""

    def __init__(self, app: Any, crowd: Crowd) -> None:
        self.app, self.crowd = app, crowd

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        client = tuple(scope.get("client") or ("", 0))
        self.crowd.answering(client)
        try:
            await self.app(scope, receive, send)
        finally:
            self.crowd.answered(client)
