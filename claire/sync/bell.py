"""Something changed in the database: whoever waits for that in this process is told, whichever process wrote it.

A process that commits sends a datagram to the doorbell; `PRAGMA data_version` is polled for those that cannot.
"""

import asyncio
import logging
import os
import socket
import sqlite3
from collections.abc import Callable

from claire.node import log as event_log
from claire.node import store
from claire.node.node import Node
from claire.sync.request import ROUND

POLL_S = 1.0
DATAGRAM_BYTES = 64
LOOK_S = 0.02  # from a ring to the look at what it left: that holds no push up, and one does for many

log = logging.getLogger(__name__)


class Bell:
    """Rung after a change; each waiter wakes once for all that happened while it was not waiting."""

    def __init__(self) -> None:
        self.rung = 0
        self.heard: list[Callable[[], None]] = []  # called at each ring, before any waiter goes on
        self._next = asyncio.Event()

    def ring(self) -> None:
        self.rung += 1
        for hear in self.heard:
            hear()
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self, seconds: float, since: int | None = None) -> bool:
        """True as soon as it was rung after `since` (default: now), False after `seconds`."""
        if since is not None and since != self.rung:
            return True
        try:
            # Python 3.11's wait_for forgets a cancellation that comes together with the ring; who waits would go on.
            async with asyncio.timeout(seconds):
                await self._next.wait()
        except TimeoutError:
            return False
        return True


async def listen(node: Node, touched: Bell, changed: Bell, asked: Callable[[str], None] = lambda address: None) -> None:
    """Ring `changed` when events came into the database, and `touched` after every commit. Until cancelled.

    Who rings the doorbell wrote events: no look at the database comes before what that starts, and the look that
    follows does not ring again. (A process killed between its commit and its ring, just then, waits for the next
    change or pull.) `asked` hears the address of who wants a round, see `request`.
    """
    poll = store.connect(node.home.database)
    door, heard = Bell(), 0
    loop = asyncio.get_running_loop()
    sock: socket.socket | None = None

    def answer_door(doorbell: socket.socket) -> None:
        if _rung(doorbell, asked):
            changed.ring()
            door.ring()

    try:
        version, etag = _version(poll), _etag(poll, node.home.database)
        sock = _open_doorbell(node.home.doorbell)
        if sock:
            loop.add_reader(sock, answer_door, sock)
        while True:
            if rang := await door.wait(POLL_S, heard):
                await asyncio.sleep(LOOK_S)
            heard = door.rung
            store.version(poll, node.home.database)  # a newer Claire has upgraded it: we end, our service starts that
            if (now := _version(poll)) == version and not rang:
                continue
            version, before, etag = now, etag, _etag(poll, node.home.database)
            if etag != before and not rang:
                changed.ring()
            touched.ring()
    finally:
        if sock:
            loop.remove_reader(sock)
            sock.close()
            os.unlink(node.home.doorbell)
        poll.close()


def _open_doorbell(path: str) -> socket.socket | None:
    """The datagram socket, or None where the path is too long for one: then polling has to do."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if os.path.exists(path):
            os.unlink(path)  # of a daemon that was killed: whoever runs holds node.lock
        sock.bind(path)
        os.chmod(path, 0o600)
    except OSError as error:
        log.warning("no doorbell at %s (%s); changes are noticed within %d s", path, error, POLL_S)
        sock.close()
        return None
    return sock


def _rung(doorbell: socket.socket, asked: Callable[[str], None]) -> bool:
    """Whether any of the datagrams that have come says that something was committed."""
    rung = False
    try:
        while True:
            said, address = doorbell.recvfrom(DATAGRAM_BYTES)
            if said == ROUND and address:
                asked(address)
            else:
                rung = True
    except BlockingIOError:
        return rung


def _version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA data_version").fetchone()
    return int(version)


def _etag(db: sqlite3.Connection, path: str) -> str:
    with store.words_of_sqlite(path):
        return event_log.etag(db)
