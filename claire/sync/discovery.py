"""`peers.toml`, `tailscale status --json`, mDNS records -> addresses where peers may be found. Pure.

A suggestion never grants trust: whoever answers there has to sign as a member. One that names no machine
is only tried.
"""

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from claire.node import hlc
from claire.node.errors import UsageError

SYNC_PORT = 8766
PEERS_MAX = 1_000  # entries of a peers.toml, hosts of a tailnet
SIGHTINGS_MAX = 64  # machines of one LAN
ADDRESSES_MAX = 8  # of one machine
TAILNETS = (ip_network("100.64.0.0/10"), ip_network("fd7a:115c:a1e0::/48"))

_UUID = re.compile(hlc.UUID)
_LABEL = "[0-9A-Za-z_-]{1,63}"  # longer or empty ones no resolver takes
_NAME = rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*\.?"
_HOST = re.compile(rf"{_NAME}|\[[0-9A-Fa-f:.]{{2,45}}(?:%25[0-9A-Za-z_.-]{{1,15}})?\]")
_LIKE_IPV4 = re.compile(r"\d+\.\d+\.\d+\.\d+")


class Suggestion(NamedTuple):
    """An address somebody named, and whom they say is there: a machine id, a host name, or nobody ("")."""

    url: str
    machine_id: str = ""
    name: str = ""


def url_of(text: str) -> str:
    """`http://host:port` from what people write: a host, host:port or URL; ValueError says what is wrong."""
    parts = urlsplit(text if "://" in text else f"//{text}", scheme="http")
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{parts.scheme} is not http or https")
    if parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("an address has only a host and a port")
    host, port = parts.netloc, parts.port
    if port is not None:
        host = host.rpartition(":")[0]
    if not _HOST.fullmatch(host) or (_LIKE_IPV4.fullmatch(host) and not is_address(host)):
        raise ValueError(f"{host!r} is not a host")
    return f"{parts.scheme}://{host.lower()}:{SYNC_PORT if port is None else port}"


def url_for(address: str, port: int, scheme: str = "http") -> str:
    """`scheme://address:port` for an IP address."""
    return f"{scheme}://[{address}]:{port}" if ":" in address else f"{scheme}://{address}:{port}"


def read_peers(text: str) -> list[Suggestion]:
    """The entries of a peers.toml; UsageError names line and key of what is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"peers.toml: {error}") from None
    if unknown := sorted(document.keys() - {"peer"}):
        raise UsageError(f"peers.toml line {_line(text, 0, unknown[0])}: unknown key {unknown[0]!r}", _HINT)
    entries = document.get("peer", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(f"peers.toml line {_line(text, 0, 'peer')}: key 'peer' is not a list of tables", _HINT)
    if len(entries) > PEERS_MAX:
        raise UsageError(f"peers.toml: more than {PEERS_MAX} peers")
    found: dict[str, Suggestion] = {}
    for number, entry in enumerate(entries, start=1):
        suggestion = _read_peer(text, number, entry)
        if suggestion.url in found:
            raise UsageError(
                f"peers.toml line {_line(text, number, 'url')}: key 'url': {suggestion.url} is there twice"
            )
        found[suggestion.url] = suggestion
    return list(found.values())


_HINT = 'an entry is [[peer]], then url = "http://host:8766"; name and id are optional'


def _read_peer(text: str, number: int, entry: Mapping[str, Any]) -> Suggestion:
    def wrong(key: str, why: str) -> UsageError:
        return UsageError(f"peers.toml line {_line(text, number, key)}: key {key!r}: {why}", _HINT)

    for key, value in entry.items():
        if key not in ("url", "name", "id"):
            raise wrong(key, "unknown")
        if not isinstance(value, str):
            raise wrong(key, "not a text")
    if "url" not in entry:
        raise wrong("url", "missing")
    if "id" in entry and not _UUID.fullmatch(entry["id"]):
        raise wrong("id", "not a machine id")
    try:
        return Suggestion(url_of(entry["url"]), entry.get("id", ""), entry.get("name", ""))
    except ValueError as error:
        raise wrong("url", str(error)) from None


def _line(text: str, entry: int, key: str) -> int:
    """The line of `key` in the `entry`th [[peer]], or of that header; entry 0 is the whole file."""
    seen, header = 0, 1
    for number, line in enumerate(text.splitlines(), start=1):
        if re.match(r"\s*\[\[\s*peer\s*\]\]", line):
            seen, header = seen + 1, number if seen < entry else header
        if (not entry or seen == entry) and re.match(rf"\s*\[?\[?\s*[\"']?{re.escape(key)}[\"']?\s*[=\].]", line):
            return number
    return header


class Tailnet(NamedTuple):
    """What `tailscale status --json` says: our addresses there, and the other hosts."""

    own: list[str]
    hosts: list[Suggestion]


class _TailscaleHost(msgspec.Struct, rename="pascal"):
    host_name: str = ""
    dns_name: str = msgspec.field(default="", name="DNSName")
    tailscale_ips: list[str] | None = msgspec.field(default=None, name="TailscaleIPs")
    online: bool = False


class _TailscaleStatus(msgspec.Struct):
    own: _TailscaleHost | None = msgspec.field(default=None, name="Self")
    peers: dict[str, _TailscaleHost] | None = msgspec.field(default=None, name="Peer")


def read_tailscale(output: bytes) -> Tailnet:
    """Addresses and online hosts of the tailnet; an output we cannot read is an empty tailnet."""
    try:
        status = msgspec.json.decode(output, type=_TailscaleStatus)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Tailnet([], [])
    hosts = [host for host in (status.peers or {}).values() if host.online][:PEERS_MAX]
    own = _tailnet_addresses(status.own.tailscale_ips) if status.own else []
    return Tailnet(own, [s for host in hosts for s in _suggest_host(host)])


def _suggest_host(host: _TailscaleHost) -> list[Suggestion]:
    name = host.host_name.lower() or host.dns_name.partition(".")[0]
    return [Suggestion(url_for(address, SYNC_PORT), "", name) for address in _tailnet_addresses(host.tailscale_ips)]


def _tailnet_addresses(addresses: Iterable[str] | None) -> list[str]:
    return [address for address in addresses or () if on_tailnet(address)][:ADDRESSES_MAX]


def is_address(host: str) -> bool:
    """True for an IP address, false for a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def on_tailnet(address: str) -> bool:
    """True for an IP address that only a tailnet has."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in TAILNETS if network.version == ip.version)


def read_mdns(properties: Mapping[bytes, bytes | None], addresses: Iterable[str], port: int | None) -> list[Suggestion]:
    """What a `_claire._tcp.local.` record suggests; [] unless it names a machine, a port and addresses."""
    machine_id = (properties.get(b"id") or b"").decode("ascii", "replace")
    if not _UUID.fullmatch(machine_id) or port is None or not 0 < port < 65536:
        return []
    return [Suggestion(url_for(address, port), machine_id) for address in list(addresses)[:ADDRESSES_MAX]]


def address_book(
    others: Mapping[str, tuple[str, Iterable[str]]],
    suggestions: Iterable[Suggestion],
    last_urls: Mapping[str, str],
    learned: Mapping[str, str],
    here: Collection[str] = (),
) -> dict[str, list[str]]:
    """Whom to dial, and where, best address first.

    `others` maps each member to its name and the addresses it announces, `last_urls` to where it was reached last;
    `learned` says which machine answered at an address, `here` which `host:port` are this very node. Keys of the
    answer are machine ids, and addresses of which nobody knows whose they are.
    """
    by_name: dict[str, list[str]] = {}
    for machine_id, (name, _) in others.items():
        by_name.setdefault(name.lower(), []).append(machine_id)
    book: dict[str, list[str]] = {machine_id: [] for machine_id in others}
    for machine_id in others:
        if machine_id in last_urls:
            book[machine_id].append(last_urls[machine_id])
    for suggestion in suggestions:
        machine_id = suggestion.machine_id or learned.get(suggestion.url, "")
        named = by_name.get(suggestion.name.lower(), [])
        if not machine_id and len(named) == 1:
            machine_id = named[0]
        if machine_id in book:
            book[machine_id].append(suggestion.url)
        elif not machine_id and not suggestion.name:
            book.setdefault(suggestion.url, [suggestion.url])
    for machine_id, (_, addresses) in others.items():
        book[machine_id] += [url for address in addresses if (url := _url_or_nothing(address))]
    book = {name: [url for url in dict.fromkeys(urls) if host_of(url) not in here] for name, urls in book.items()}
    dialled = {url for machine_id in others for url in book[machine_id]}
    return {name: urls for name, urls in book.items() if urls and (name in others or name not in dialled)}


def host_of(url: str) -> str:
    """The `host:port` of a URL; the host itself says whether it is TLS."""
    return url.partition("://")[2]


def _url_or_nothing(address: str) -> str:
    try:
        return url_of(address)
    except ValueError:
        return ""
