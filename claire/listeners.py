"""Sockets and servers: bind where the user said, serve under Hypercorn, and end in time."""

import asyncio
import logging
import socket
import ssl
from typing import Any

from hypercorn.asyncio import run as hypercorn_run
from hypercorn.asyncio import serve
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config, Sockets
from hypercorn.typing import LifespanState

from claire.crowd import Attentive, Crowd, counted, room
from claire.node.errors import UsageError
from claire.sync.discovery import url_for
from claire.ui.caller import CONNECTION

GRACE_S = 1.0  # what Hypercorn gives open requests when we stop
KEEP_ALIVE_S = 30.0  # above the client's 20 s; also what a head that drips in may take
READ_S_MAX = 30
BACKLOG = 100

App = Any  # an ASGI application


def listen(host: str, port: int, flag: str) -> socket.socket:
    """A bound socket; port 0 picks one. UsageError says what is wrong with host or port."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        made = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror or error}", f"choose another with {flag}; 0 picks one"
        ) from None
    # Head and body leave as two writes: held back until the head is acknowledged, every answer took 40 ms more.
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def url_of_socket(sock: socket.socket, scheme: str = "http") -> str:
    host, port = sock.getsockname()[:2]
    return url_for(host, port, scheme)


class _Connection(TCPServer):
    """Hypercorn's, but what is learnt of a connection is kept with it, and it ends when the client has gone: 0.18 keeps
    socket and task until the idle time is over."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.state = LifespanState({**self.state, CONNECTION: {}})

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()


hypercorn_run.TCPServer = _Connection  # type: ignore[attr-defined, assignment]  # no other way


class _ReadOut:
    """Wraps an ASGI app: what it leaves unread of a request is dropped as soon as it has answered.

    Hypercorn 0.18 keeps ten pieces of a body for the app, and before it closes waits for room to say so: a refused
    request in more pieces would hold its connection for ever.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def answer(message: Any) -> None:
            if message["type"] != "http.response.body" or message.get("more_body"):
                await send(message)
                return
            dropping = asyncio.create_task(_drop(receive))
            try:
                await send(message)
            finally:
                dropping.cancel()

        await self.app(scope, receive, answer)


async def _drop(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Config(Config):
    """Hypercorn's, but with sockets and a TLS context of ours instead of descriptors and files."""

    tls: ssl.SSLContext | None = None
    ours: list[socket.socket]

    def create_sockets(self) -> Sockets:
        return Sockets(self.ours, [], []) if self.tls else Sockets([], self.ours, [])

    @property
    def ssl_enabled(self) -> bool:
        return self.tls is not None

    def create_ssl_context(self) -> ssl.SSLContext | None:
        return self.tls


async def serve_until(
    app: App, sockets: list[socket.socket], stop: asyncio.Event, tls: ssl.SSLContext | None = None
) -> None:
    """Serve until `stop`, then end within GRACE_S and a little, whatever clients do. Over TLS where one is given.

    Hypercorn 0.18 does not return on its own while a stream is open (pgjones/hypercorn#308), so it is cancelled then.
    """
    config = _Config()
    config.tls = tls
    crowd = Crowd(room())
    config.ours = [counted(sock, crowd) for sock in sockets]
    config.graceful_timeout = GRACE_S
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.read_timeout = READ_S_MAX
    config.backlog = BACKLOG
    config.include_server_header = config.include_date_header = False
    config.alpn_protocols = ["http/1.1"]
    config.errorlog = logging.getLogger("hypercorn.error")
    logging.getLogger("hypercorn.error").setLevel(logging.WARNING)
    serving = asyncio.create_task(serve(Attentive(_ReadOut(app), crowd), config, shutdown_trigger=stop.wait))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not serving.done():
        await asyncio.wait({serving}, timeout=GRACE_S + 0.5)
    if not serving.done():
        serving.cancel()
        await asyncio.wait({serving}, timeout=1)
    if serving.done() and not serving.cancelled() and not stop.is_set() and (error := serving.exception()):
        raise error
