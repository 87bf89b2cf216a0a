"""The listener for peers: open only while there are peers or an invite, where they can reach it, and guarded."""

import asyncio
import logging
import socket
from collections.abc import Callable

from starlette.applications import Starlette

import claire
from claire.config import Settings
from claire.listeners import listen, serve_until, url_of_socket
from claire.node import members
from claire.node.errors import UsageError
from claire.node.node import Node
from claire.sync import introduction, pairing, peer, tailscale, tls
from claire.sync.bell import Bell
from claire.sync.discovery import Tailnet
from claire.sync.gate import Gate
from claire.sync.messages import EVENTS_PATH, JSON, NDJSON, RANGES_PATH, STATE_PATH
from claire.sync.routes import PAIR_BYTES_MAX, REQUEST_S_MAX, WAIT_S_MAX, Inbox, routes
from claire.sync.wire import BATCH_BYTES_MAX
from claire.ui.guard import Guard, Rule

LOOK_S = 5.0  # invites end and addresses change without a commit: how often we look
LOOPBACK = "127.0.0.1"
POST = frozenset({"POST"})
STRANGER_S_MAX = 5.0  # what is read of those who have proven nothing yet
STRANGER_BYTES = introduction.BYTES_MAX
RULES = (  # every one asks for a signature, for the secret of an invite, or for what members signed
    Rule(STATE_PATH, login=False, deadline_s=REQUEST_S_MAX + WAIT_S_MAX),
    Rule(EVENTS_PATH, login=False),
    Rule(EVENTS_PATH, POST, login=False, body_type=NDJSON, body_bytes_max=BATCH_BYTES_MAX, deadline_s=REQUEST_S_MAX),
    Rule(RANGES_PATH, POST, login=False, body_type=JSON, body_bytes_max=BATCH_BYTES_MAX),
    Rule(pairing.PAIR_PATH, POST, False, body_type=JSON, body_bytes_max=PAIR_BYTES_MAX, deadline_s=STRANGER_S_MAX),
    Rule(introduction.PATH, POST, False, body_type=NDJSON, body_bytes_max=STRANGER_BYTES, deadline_s=STRANGER_S_MAX),
)

log = logging.getLogger(__name__)


def hosts(settings: Settings, tailnet: Tailnet) -> list[str]:
    """Where peers may reach this node: what the user names, the tailnet and the LAN where on, or nowhere but here."""
    if settings.sync_host:
        return [settings.sync_host]
    found = tailnet.own[:1]
    if settings.lan_discovery:
        from claire.sync.lan import lan_addresses

        found = [*found, *lan_addresses()]
    return found or [LOOPBACK]


class SyncListener:
    """Opens and closes as needed while the daemon runs."""

    def __init__(
        self,
        node: Node,
        settings: Settings,
        tailnet: Callable[[], Tailnet],
        moved: Callable[[list[str]], None],
    ) -> None:
        """`moved` hears the URLs whenever it opened or closed ([])."""
        self.node, self.settings, self.tailnet, self.moved = node, settings, tailnet, moved
        self.port = settings.sync_port
        self.urls: list[str] = []
        self._told = ""

    @property
    def open_port(self) -> int:
        """0 while it is closed."""
        return self.port if self.urls else 0

    async def run(self, stop: asyncio.Event, touched: Bell, changed: Bell, contacted: Callable[[str], None]) -> None:
        """Until `stop`; `touched` rings after every commit, `changed` when events came."""
        while not stop.is_set():
            rung, where = touched.rung, self._wanted_hosts()
            sockets = self._bind(where)
            if sockets:
                inbox = Inbox(self.node, changed, self._announce(sockets), contacted)
                await self._serve(inbox, sockets, where, stop, touched)
            else:
                await _pause(stop, touched, rung)

    async def _serve(
        self, inbox: Inbox, sockets: list[socket.socket], where: list[str], stop: asyncio.Event, touched: Bell
    ) -> None:
        """Serve until the stop, or until it is wanted elsewhere or nowhere."""
        self.moved(self.urls)
        origins = [*self.urls, f"http://{peer.HOST}"]
        guarded = Guard(Starlette(routes=routes(inbox)), RULES, origins=origins, browser=False)
        enough = asyncio.Event()
        serving = asyncio.create_task(self._answer(Gate(guarded, tailscale.is_known), sockets, enough))
        try:
            while not stop.is_set() and not serving.done():
                rung = touched.rung
                if self._wanted_hosts() != where:
                    break
                await _pause(stop, touched, rung)
        finally:
            enough.set()
            await serving
            self.urls = []
            self.moved(self.urls)

    async def _answer(self, app: Gate, sockets: list[socket.socket], enough: asyncio.Event) -> None:
        """Each address as it has to be: plain on loopback and the tailnet, else TLS under the node's own key."""
        plain, others = [s for s in sockets if not _wants_tls(s)], [s for s in sockets if _wants_tls(s)]
        works = [serve_until(app, plain, enough)] if plain else []
        if others:
            context = tls.server_context(self.node.identity, self.node.home.runtime)
            works.append(serve_until(app, others, enough, context))
        await asyncio.gather(*works)

    def _wanted_hosts(self) -> list[str]:
        """[] while nobody could come: no other member, no live invite."""
        with self.node.reading() as db:
            others = members.keys(db).keys() - members.revoked(db).keys() - {self.node.machine_id}
            needed = bool(others) or pairing.live_invites(db, self.node.now_ms()) > 0
        return hosts(self.settings, self.tailnet()) if needed else []

    def _bind(self, where: list[str]) -> list[socket.socket]:
        """Sockets at one port on every host; [] if that cannot be now."""
        sockets: list[socket.socket] = []
        try:
            for host in where:
                sockets.append(listen(host, self.port, "--sync-port"))
                self.port = sockets[0].getsockname()[1]  # for the others, and when it opens again
        except UsageError as error:
            for sock in sockets:
                sock.close()
            if error.message != self._told:
                log.error("the sync listener does not open: %s", error.message)
            self._told = error.message
            return []
        self._told = ""
        return sockets

    def _announce(self, sockets: list[socket.socket]) -> str:
        """Say in the log where this node is reached; its own name."""
        self.urls = [url_of_socket(sock, "https" if _wants_tls(sock) else "http") for sock in sockets]
        with self.node.reading() as db:
            name: str = members.find(db, self.node.machine_id)["name"]
        addresses = [url.partition("://")[2] for url in self.urls]  # the address itself says whether it is TLS
        members.announce(self.node, name, addresses, claire.__version__)
        return name


def _wants_tls(sock: socket.socket) -> bool:
    return tls.needed_at(sock.getsockname()[0])


async def _pause(stop: asyncio.Event, touched: Bell, rung: int) -> None:
    """Until something is written, the daemon stops, or a while has passed."""
    waits = {asyncio.create_task(touched.wait(LOOK_S, rung)), asyncio.create_task(stop.wait())}
    _, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
