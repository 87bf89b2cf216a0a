"""The daemon, `claire node`: both listeners, the exchange loop and the fleet loop in one asyncio loop."""

import asyncio
import fcntl
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.applications import Starlette

import claire
from claire.config import Home, Settings
from claire.node import members
from claire.node.errors import Refused, StorageError, UsageError
from claire.node.node import Node
from claire.sync import bell, pairing, peer, tailscale
from claire.sync.discovery import url_for
from claire.sync.routes import Inbox, routes
from claire.sync.runner import Runner

GRACE_S = 1.0  # what Hypercorn gives open requests when we stop
KEEP_ALIVE_S = 75.0  # above the client's 20 s
READ_S_MAX = 30.0
BACKLOG = 100
LOOK_S = 5.0  # invites end without a commit: whether the sync listener is needed is looked at this often

Say = Callable[[str], None]
App = Any  # an ASGI application

log = logging.getLogger(__name__)


def run_node(home: Home, settings: Settings, say: Say) -> None:
    """Run until SIGTERM or SIGINT. Refused if this home has a daemon already."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", stream=sys.stderr)
    for noisy in ("httpx", "hypercorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with Node(home) as node, _alone(home):
        asyncio.run(Daemon(node, settings, say).run())


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Hold node.lock; the lock ends with the process, however that ends."""
    fd = os.open(home.node_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = (read_runtime(home) or {}).get("pid", "?")
        raise Refused(
            f"claire node runs already for {home.data} (pid {pid})", "end that one first, or set another CLAIRE_HOME"
        ) from None
    else:
        yield
    finally:
        os.close(fd)


class Daemon:
    """One running node: what its listeners and loops share."""

    def __init__(self, node: Node, settings: Settings, say: Say) -> None:
        self.node, self.settings, self.say = node, settings, say
        self.stop = asyncio.Event()
        self.touched, self.changed = bell.Bell(), bell.Bell()
        self.urls: dict[str, Any] = {"pid": os.getpid(), "ui": None, "sync": []}

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._end)
        ui = _listen(self.settings.host, self.settings.port, "--port")
        self.urls["ui"] = _url(ui)
        self.say(f"dashboard: {self.urls['ui']}")
        self._write_runtime()
        client = peer.open_client()
        runner = Runner(self.node, client, self.changed, lambda: [])
        try:
            await self._until_stopped(
                serve_until(_ui_app(self.node, ui.getsockname()[1]), [ui], self.stop),
                self._sync_listener(runner),
                bell.listen(self.node, self.touched, self.changed),
                runner.run(),
            )
        finally:
            await client.aclose()
            await loop.shutdown_default_executor()  # a step of an exchange may still be writing
            _forget_runtime(self.node.home)

    async def _until_stopped(self, *works: Coroutine[Any, Any, None]) -> None:
        """Run everything until the stop; what fails ends all, with its error."""
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(work) for work in works]
        stopped = asyncio.create_task(self.stop.wait())
        done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        self.stop.set()
        serving = asyncio.wait(tasks[:2], timeout=2 * GRACE_S + 1)
        for task in tasks[2:]:
            task.cancel()
        await serving
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in done - {stopped}:
            task.result()

    def _end(self) -> None:
        if self.stop.is_set():
            os._exit(1)  # asked twice: now
        self.stop.set()

    async def _sync_listener(self, runner: Runner) -> None:
        """Open for others only while there are others: a second member, or a live invite."""
        hosts = await sync_hosts(self.settings)
        port, warned = self.settings.sync_port, False
        while not self.stop.is_set():
            rung = self.touched.rung
            if not await asyncio.to_thread(_is_needed, self.node):
                await self._pause(rung)
                continue
            try:
                sockets = [_listen(host, port, "--sync-port") for host in hosts]
            except (UsageError, StorageError) as error:
                if not warned:
                    log.error("the sync listener does not open: %s", error.message)
                warned = True
                await self._pause(rung)
                continue
            port = sockets[0].getsockname()[1]  # the same one when it opens again
            await self._serve_peers(runner, sockets)

    async def _serve_peers(self, runner: Runner, sockets: list[socket.socket]) -> None:
        self.urls["sync"] = [_url(sock) for sock in sockets]
        self.say("sync: " + ", ".join(self.urls["sync"]))
        name = await asyncio.to_thread(self._announce)
        self._write_runtime()
        inbox = Inbox(self.node, self.changed, name, runner.contacted)
        enough = asyncio.Event()
        serving = asyncio.create_task(serve_until(Starlette(routes=routes(inbox)), sockets, enough))
        try:
            while not self.stop.is_set() and not serving.done():
                rung = self.touched.rung
                if not await asyncio.to_thread(_is_needed, self.node):
                    break
                await self._pause(rung)
        finally:
            enough.set()
            await serving
            self.urls["sync"] = []
            self._write_runtime()

    async def _pause(self, rung: int) -> None:
        """Until something is written, the daemon stops, or a while has passed."""
        waits = {asyncio.create_task(self.touched.wait(LOOK_S, rung)), asyncio.create_task(self.stop.wait())}
        _, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()

    def _announce(self) -> str:
        """Say in the log where this node is reached; its own name."""
        with self.node.reading() as db:
            name: str = members.find(db, self.node.machine_id)["name"]
        addresses = [url.removeprefix("http://") for url in self.urls["sync"]]
        members.announce(self.node, name, addresses, claire.__version__)
        return name

    def _write_runtime(self) -> None:
        path = _runtime_file(self.node.home)
        with open(f"{path}.new", "w") as file:
            json.dump(self.urls, file)
        os.replace(f"{path}.new", path)


async def sync_hosts(settings: Settings) -> list[str]:
    """Where peers may reach this node: what the user names, the tailnet's address, or nowhere but here."""
    if settings.sync_host:
        return [settings.sync_host]
    return (await tailscale.status()).own[:1] or ["127.0.0.1"]


def _is_needed(node: Node) -> bool:
    with node.reading() as db:
        others = members.keys(db).keys() - members.revoked(db).keys() - {node.machine_id}
        return bool(others) or pairing.live_invites(db, node.now_ms()) > 0


def _runtime_file(home: Home) -> str:
    return os.path.join(home.runtime, "node.json")


def read_runtime(home: Home) -> dict[str, Any] | None:
    """pid and URLs of the daemon of this home, if one runs (or was killed and left them)."""
    try:
        with open(_runtime_file(home)) as file:
            urls: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return None
    return urls


def is_running(home: Home) -> bool:
    """True while a daemon holds the lock."""
    try:
        with _alone(home):
            return False
    except Refused:
        return True


def _forget_runtime(home: Home) -> None:
    if os.path.exists(_runtime_file(home)):
        os.unlink(_runtime_file(home))


def _listen(host: str, port: int, flag: str) -> socket.socket:
    """A bound socket; port 0 picks one. UsageError says what is wrong with host or port."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror or error}", f"choose another with {flag}; 0 picks one"
        ) from None


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return url_for(host, port)


async def serve_until(app: App, sockets: list[socket.socket], stop: asyncio.Event) -> None:
    """Serve until `stop`, then end within GRACE_S and a little, whatever clients do.

    Hypercorn 0.18 does not return on its own while a stream is open (pgjones/hypercorn#308), so it is cancelled then.
    """
    config = Config()
    config.bind = [f"fd://{sock.detach()}" for sock in sockets]
    config.graceful_timeout = GRACE_S
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.read_timeout = int(READ_S_MAX)
    config.backlog = BACKLOG
    config.include_server_header = False
    config.alpn_protocols = ["http/1.1"]
    config.errorlog = logging.getLogger("hypercorn.error")
    logging.getLogger("hypercorn.error").setLevel(logging.WARNING)
    serving = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))
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


def _ui_app(node: Node, port: int) -> App:
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    return Starlette(routes=[Route("/", lambda request: PlainTextResponse(f"Claire {node.machine_id}\n"))])
