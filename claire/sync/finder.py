"""Where peers may be found, kept up to date while the daemon runs: peers.toml, the tailnet, the LAN."""

import asyncio
import logging
import os
from collections.abc import Callable

from claire.node.errors import UsageError
from claire.sync import tailscale
from claire.sync.discovery import Suggestion, Tailnet, read_peers

LOOK_S = 2.0
TAILNET_S = 60.0

log = logging.getLogger(__name__)


class Finder:
    """Suggestions from all sources; `lan` gives those of mDNS where that is on."""

    def __init__(self, peers_file: str, lan: Callable[[], list[Suggestion]]) -> None:
        self.peers_file, self.lan = peers_file, lan
        self.listed: list[Suggestion] = []
        self.tailnet: Tailnet = tailscale.NOTHING
        self._read_at: tuple[int, int] = (0, 0)

    def suggestions(self) -> list[Suggestion]:
        """The user's own list first."""
        return [*self.listed, *self.lan(), *self.tailnet.hosts]

    async def run(self) -> None:
        """Until cancelled."""
        looked = -TAILNET_S
        loop = asyncio.get_running_loop()
        while True:
            self.read_file()
            if loop.time() - looked >= TAILNET_S:
                looked = loop.time()
                self.tailnet = await tailscale.status()
            await asyncio.sleep(LOOK_S)

    def read_file(self) -> None:
        """Read peers.toml if it changed; a mistake in it is told once, and what was known stays."""
        try:
            stat = os.stat(self.peers_file)
            if (stamp := (stat.st_mtime_ns, stat.st_size)) == self._read_at:
                return
            self._read_at = stamp
            with open(self.peers_file, encoding="utf-8") as file:
                self.listed = read_peers(file.read())
        except FileNotFoundError:
            self.listed, self._read_at = [], (0, 0)
        except UsageError as error:
            log.error("%s: %s; the list read before stays", self.peers_file, error.message)
        except (OSError, UnicodeDecodeError) as error:
            log.error("%s cannot be read: %s", self.peers_file, error)
        else:
            log.info("%s: %d addresses", self.peers_file, len(self.listed))
