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

from starlette.applications import Starlette

import claire
from claire.config import Home, Settings
from claire.fleet import notify
from claire.fleet import runner as fleet
from claire.listeners import GRACE_S, listen, serve_until, url_of_socket
from claire.node import members
from claire.node.errors import Refused, StorageError, UsageError
from claire.node.node import Node
from claire.sync import bell, pairing, peer, tailscale
from claire.sync.messages import EVENTS_PATH, JSON, NDJSON, RANGES_PATH, STATE_PATH
from claire.sync.pairing import PAIR_PATH
from claire.sync.routes import PAIR_BYTES_MAX, REQUEST_S_MAX, WAIT_S_MAX, Inbox, routes
from claire.sync.runner import Runner
from claire.sync.wire import BATCH_BYTES_MAX
from claire.ui import login
from claire.ui.guard import Guard, Rule
from claire.ui.web import app as ui_app
from claire.ui.web import check_host

POST = frozenset({"POST"})
LOOK_S = 5.0  # invites end without a commit: whether the sync listener is needed is looked at this often

SYNC_RULES = (  # every one asks for a signature, or for the secret of an invite
    Rule(STATE_PATH, login=False, deadline_s=REQUEST_S_MAX + WAIT_S_MAX),
    Rule(EVENTS_PATH, login=False),
    Rule(EVENTS_PATH, POST, login=False, body_type=NDJSON, body_bytes_max=BATCH_BYTES_MAX, deadline_s=REQUEST_S_MAX),
    Rule(RANGES_PATH, POST, login=False, body_type=JSON, body_bytes_max=BATCH_BYTES_MAX),
    Rule(PAIR_PATH, POST, login=False, body_type=JSON, body_bytes_max=PAIR_BYTES_MAX),
)

Say = Callable[[str], None]

log = logging.getLogger(__name__)


def run_node(home: Home, settings: Settings, say: Say, *, sign_in: bool = False) -> None:
    """Run until SIGTERM or SIGINT. Refused if this home has a daemon already. `sign_in` says a one-time link too."""
    check_host(settings.host)
    notify.check(settings.notify)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", stream=sys.stderr)
    for noisy in ("httpx", "hypercorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with Node(home) as node, alone(home):
        if node.read_only is not None:
            raise node.read_only
        asyncio.run(Daemon(node, settings, say).run(sign_in))


@contextmanager
def alone(home: Home) -> Iterator[None]:
    """Hold node.lock, or Refused; the lock ends with the process, however that ends."""
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

    async def run(self, sign_in: bool) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._end)
        ui = listen(self.settings.host, self.settings.port, "--port")
        origin = self.urls["ui"] = url_of_socket(ui)
        self._write_runtime()
        self.say(f"dashboard: {login.open_link(self.node, origin) if sign_in else origin}")
        client = peer.open_client()
        runner = Runner(self.node, client, self.changed, lambda: [])
        try:
            await self._until_stopped(
                serve_until(ui_app(self.node, port=ui.getsockname()[1], origins=[origin]), [ui], self.stop),
                self._sync_listener(runner),
                bell.listen(self.node, self.touched, self.changed),
                runner.run(),
                fleet.run(self.node, os.environ, self.stop),
                notify.run(notify.Notifier(self.node, self.settings.notify), self.stop),
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
                sockets = [listen(host, port, "--sync-port") for host in hosts]
            except (UsageError, StorageError) as error:
                if not warned:
                    log.error("the sync listener does not open: %s", error.message)
                warned = True
                await self._pause(rung)
                continue
            port = sockets[0].getsockname()[1]  # the same one when it opens again
            await self._serve_peers(runner, sockets)

    async def _serve_peers(self, runner: Runner, sockets: list[socket.socket]) -> None:
        self.urls["sync"] = [url_of_socket(sock) for sock in sockets]
        self.say("sync: " + ", ".join(self.urls["sync"]))
        name = await asyncio.to_thread(self._announce)
        self._write_runtime()
        inbox = Inbox(self.node, self.changed, name, runner.contacted)
        enough = asyncio.Event()
        app = Guard(Starlette(routes=routes(inbox)), SYNC_RULES, origins=self._origins(), browser=False)
        serving = asyncio.create_task(serve_until(app, sockets, enough))
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

    def _origins(self) -> list[str]:
        """What peers may call the sync listener: its addresses, and the names of this host."""
        host, port = socket.gethostname().lower(), self.urls["sync"][0].rpartition(":")[2]
        names = {host, host.partition(".")[0], socket.getfqdn().lower(), self.settings.sync_host.lower(), "localhost"}
        return [*self.urls["sync"], *(f"http://{name}:{port}" for name in names if name)]

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
        with alone(home):
            return False
    except Refused:
        return True


def _forget_runtime(home: Home) -> None:
    if os.path.exists(_runtime_file(home)):
        os.unlink(_runtime_file(home))
