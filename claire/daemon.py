"""The daemon, `claire node`: both listeners, the exchange loop and the fleet loop in one asyncio loop."""

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from claire import logs
from claire.config import Home, Settings
from claire.fleet import notify
from claire.fleet import runner as fleet
from claire.listeners import GRACE_S, listen, serve_until, url_of_socket
from claire.node import backup, members
from claire.node.node import Node
from claire.pulse import Pulse
from claire.runtime import alone, forget_urls, write_urls
from claire.sync import bell, peer, request, tailscale
from claire.sync.discovery import Suggestion
from claire.sync.finder import Finder
from claire.sync.gate import Gate
from claire.sync.runner import Runner
from claire.sync_listener import SyncListener
from claire.ui import login
from claire.ui.web import app as ui_app
from claire.ui.web import check_host

Say = Callable[[str], None]


CHECK_S_MAX = 1.0  # of looking through the database at the start; a large one is looked through by `claire doctor`


def run_node(home: Home, settings: Settings, say: Say, *, sign_in: bool = False) -> None:
    """Run until SIGTERM or SIGINT. Refused if this home has a daemon already. `sign_in` says a one-time link too."""
    check_host(settings.host)
    notify.check(settings.notify)
    logs.configure(os.environ)
    with Node(home, progress=lambda folded: say(f"upgrading: {folded:,} events read")) as node, alone(home):
        if node.read_only is not None:
            raise node.read_only
        forget_urls(home)  # of one that was killed
        with node.reading() as db:
            backup.whole(db, home.database, CHECK_S_MAX)
        gc.freeze()  # what is loaded stays: each look through it all held every answer up for 7 ms
        asyncio.run(Daemon(node, settings, say).run(sign_in))


class Daemon:
    """One running node: what its listeners and loops share."""

    def __init__(self, node: Node, settings: Settings, say: Say) -> None:
        self.node, self.settings, self.say = node, settings, say
        self.stop = asyncio.Event()
        self.touched, self.changed = bell.Bell(), bell.Bell()
        self._answering: set[asyncio.Task[None]] = set()  # rounds that commands asked for
        self.urls: dict[str, Any] = {"pid": os.getpid(), "ui": None, "sync": []}
        self.client = peer.open_client()
        self.finder = Finder(node.home.peers_file, self._seen_on_lan)
        self.listener = SyncListener(node, settings, lambda: self.finder.tailnet, self._moved)
        self.runner = Runner(node, self.client, self.changed, self.finder.suggestions)
        self.pulse = Pulse(self.runner)
        self.lan: Any = None

    async def run(self, sign_in: bool) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(logs.Seldom())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._end)
        ui = listen(self.settings.host, self.settings.port, "--port")
        origin = self.urls["ui"] = url_of_socket(ui)
        self._moved([])
        self.say(f"dashboard: {login.open_link(self.node, origin) if sign_in else origin}")
        self.finder.tailnet = await tailscale.status()
        if self.settings.lan_discovery:
            from claire.sync.lan import Lan  # zeroconf costs 60 ms and some memory

            self.lan = Lan(self.node.machine_id, lambda: self.listener.open_port, self._is_member)
        port, origins = ui.getsockname()[1], [origin, *self.settings.origins]
        dashboard = Gate(
            ui_app(self.node, port=port, origins=origins, measures=self.pulse.measures), tailscale.is_known
        )
        try:
            await self._until_stopped(
                serve_until(dashboard, [ui], self.stop),
                self.listener.run(self.stop, self.touched, self.changed, self.runner.contacted),
                bell.listen(self.node, self.touched, self.changed, self._asked_for_a_round),
                self.finder.run(),
                self.runner.run(),
                self.pulse.run(),
                fleet.run(self.node, os.environ, self.stop),
                notify.run(notify.Notifier(self.node, self.settings.notify), self.stop),
                *([self.lan.run()] if self.lan else []),
            )
        finally:
            await self.client.aclose()
            await loop.shutdown_default_executor()  # a step of an exchange may still be writing
            forget_urls(self.node.home)

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

    def _asked_for_a_round(self, address: str) -> None:
        answering = asyncio.create_task(request.answer(self.node, self.client, address))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)

    def _end(self) -> None:
        if self.stop.is_set():
            os._exit(1)  # asked twice: now
        self.stop.set()

    def _moved(self, urls: list[str]) -> None:
        """The sync listener opened or closed."""
        self.urls["sync"] = urls
        write_urls(self.node.home, self.urls)
        self.runner.moved(urls)
        if urls:
            self.say("sync: " + ", ".join(urls))

    def _is_member(self, machine_id: str) -> bool:
        with self.node.reading() as db:
            return machine_id in members.keys(db)

    def _seen_on_lan(self) -> list[Suggestion]:
        return list(self.lan.suggestions()) if self.lan else []
