"""mDNS: announce this node on the LAN and see others there. The only module that imports zeroconf.

What is seen only suggests an address for a machine that is a member already; anything else costs one look at its name.
Our own name is looked at too: a copy of this node announces the same one.
"""

import asyncio
import logging
from collections.abc import Callable
from ipaddress import IPv4Address

import ifaddr
from zeroconf import Error, IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from claire.sync.discovery import ADDRESSES_MAX, SIGHTINGS_MAX, Suggestion, on_tailnet, read_mdns

SERVICE = "_claire._tcp.local."
CHECK_S = 5.0  # zeroconf does not notice that an interface came or went: look ourselves
RESOLVE_MS = 3_000
RESOLVING_MAX = 8

log = logging.getLogger(__name__)


def lan_addresses() -> list[str]:
    """The IPv4 addresses of this host that a neighbour may reach."""
    found = [str(ip.ip) for adapter in ifaddr.get_adapters() for ip in adapter.ips if ip.is_IPv4]
    return sorted({text for text in found if _is_lan(text)})[:ADDRESSES_MAX]


def _is_lan(text: str) -> bool:
    address = IPv4Address(text)
    return not (address.is_loopback or address.is_unspecified or on_tailnet(text))


class Lan:
    """What this node says and hears on the LAN while it runs."""

    def __init__(self, machine_id: str, port: Callable[[], int], is_member: Callable[[str], bool]) -> None:
        """`port` is that of the sync listener now, 0 while it is closed."""
        self.machine_id, self.port, self.is_member = machine_id, port, is_member
        self.sightings: dict[str, list[Suggestion]] = {}
        self._resolving: set[asyncio.Task[None]] = set()

    def suggestions(self) -> list[Suggestion]:
        return [suggestion for seen in self.sightings.values() for suggestion in seen]

    async def run(self) -> None:
        """Until cancelled; without any interface it tries again."""
        while True:
            try:
                zeroconf = AsyncZeroconf(ip_version=IPVersion.V4Only)
            except (OSError, RuntimeError) as error:
                log.debug("no mDNS now: %s", error)
                await asyncio.sleep(CHECK_S)
                continue
            browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE, handlers=[self._noticed])
            try:
                await self._announce(zeroconf)
            except (OSError, Error) as error:  # an interface went while it was used
                log.info("mDNS begins anew: %s", error)
                await asyncio.sleep(CHECK_S)
            finally:
                for task in self._resolving:
                    task.cancel()
                await browser.async_cancel()
                await zeroconf.async_close()

    async def _announce(self, zeroconf: AsyncZeroconf) -> None:
        """Keep saying what is true: addresses and port may change."""
        said: AsyncServiceInfo | None = None
        before: list[str] | None = None
        while True:
            addresses = lan_addresses()
            if before is not None and addresses != before:
                await zeroconf.async_update_interfaces()
            port = self.port()
            if said is not None and (addresses != before or port != said.port):
                await zeroconf.async_unregister_service(said)
                said = None
            if said is None and port and addresses:
                said = self._info(addresses, port)
                await zeroconf.async_register_service(said, cooperating_responders=True)
            before = addresses
            await asyncio.sleep(CHECK_S)

    def _info(self, addresses: list[str], port: int) -> AsyncServiceInfo:
        return AsyncServiceInfo(
            SERVICE,
            f"{self.machine_id}.{SERVICE}",
            port=port,
            properties={"id": self.machine_id},
            parsed_addresses=addresses,
            server=f"{self.machine_id}.local.",
        )

    def _noticed(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        """Somebody announces something; only what names another member is looked at."""
        machine_id = name.removesuffix(f".{SERVICE}")
        if state_change is ServiceStateChange.Removed:
            self.sightings.pop(machine_id, None)
            return
        known = machine_id in self.sightings or len(self.sightings) < SIGHTINGS_MAX
        if not known or not self.is_member(machine_id):
            return
        if len(self._resolving) < RESOLVING_MAX:
            task = asyncio.create_task(self._resolve(zeroconf, name, machine_id))
            self._resolving.add(task)
            task.add_done_callback(self._resolving.discard)

    async def _resolve(self, zeroconf: Zeroconf, name: str, machine_id: str) -> None:
        info = AsyncServiceInfo(SERVICE, name)
        if not await info.async_request(zeroconf, RESOLVE_MS):
            return
        seen = read_mdns(info.properties, info.parsed_addresses(IPVersion.V4Only), info.port)
        self.sightings[machine_id] = [suggestion for suggestion in seen if suggestion.machine_id == machine_id]
