"""What the command line may ask of sync, fleet and the daemon; a function imports what it needs when called."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from claire.config import Home, Settings
from claire.node import members
from claire.node.errors import ClaireError, NotFound, Refused
from claire.node.node import Node
from claire.node.rows import Row

if TYPE_CHECKING:
    from claire.sync.peer import Peer
    from claire.sync.runner import Outcome

LISTENER_S_MAX = 5.0  # an invite makes the daemon open its sync listener; how long that may take


def run_node(home: Home, settings: Settings, say: Callable[[str], None]) -> None:
    """The daemon, until it is told to end."""
    from claire import daemon

    daemon.run_node(home, settings, say)


def open_dashboard(home: Home, settings: Settings, say: Callable[[str], None]) -> str | None:
    """A one-time sign-in link to the running node's dashboard; without one, run it in the foreground (None)."""
    from claire import daemon
    from claire.ui import login

    if not daemon.is_running(home):
        daemon.run_node(home, settings, say, sign_in=True)
        return None
    with Node(home) as node:
        return login.open_link(node, (daemon.read_runtime(home) or {})["ui"])


def pull(node: Node) -> Row:
    """Look at this host's sessions once: `recorded` changes, `problems` (what was not reached), `notes`."""
    from claire.fleet import runner

    done = runner.observe(node, os.environ)
    return {"recorded": done.recorded, "problems": list(done.problems), "notes": list(done.notes)}


def whoami(home: Home, env: Mapping[str, str]) -> str:
    """The Claude session this process runs in, or ''."""
    from claire.fleet import here

    return here.session_id(home, env, os.getpid())


def deliver(node: Node) -> list[Row]:
    """Type what is due on this host now, where no daemon does; the outcomes."""
    from claire.fleet import runner

    return runner.deliver(node, os.environ)


def change_hooks(home: Home, *, install: bool, dry_run: bool) -> list[Row]:
    """Our hooks into Claude Code's settings, or out of them: for each file its path, whether it changes, and how."""
    from claire.fleet import hooks

    planned = hooks.changes(os.environ, home, install=install)
    if not dry_run:
        hooks.apply(planned)
    return [
        {"id": change.path, "path": change.path, "changed": change.after != change.before, "diff": change.diff}
        for change in planned
    ]


def hook_status(home: Home) -> list[Row]:
    from claire.fleet import hooks

    return hooks.status(os.environ, home)


def sync_now(node: Node, peer: str | None, leave_out: Collection[str] = ()) -> list[Row]:
    """A round with every peer but those left out, or with one; a row for each, by name."""
    from claire.sync import health
    from claire.sync.peer import Peer

    with node.reading() as db:
        own = node.machine_id
        left_out = {own, *members.revoked(db), *leave_out}
        others = [row for row in members.list_members(db) if row["id"] not in left_out]
        if peer is not None:
            found = members.find(db, peer)
            if found["id"] in left_out:
                raise NotFound(f"{found['name']} is {'this node' if found['id'] == own else 'cut off'}")
            others = [found]
        addresses = _addresses(
            node, {row["id"]: (row["name"], row["addresses"]) for row in others}, health.last_urls(db)
        )
    peers = [(row, [Peer(url, row["id"]) for url in addresses.get(row["id"], [])]) for row in others]
    return asyncio.run(_rounds(node, peers))


def _addresses(node: Node, others: dict[str, tuple[str, list[str]]], last: dict[str, str]) -> dict[str, list[str]]:
    from claire.sync.discovery import address_book, read_peers

    try:
        with open(node.home.peers_file) as file:
            suggestions = read_peers(file.read())
    except FileNotFoundError:
        suggestions = []
    return address_book(others, suggestions, last, {})


async def _rounds(node: Node, peers: list[tuple[Row, list[Peer]]]) -> list[Row]:
    from claire.sync.peer import open_client
    from claire.sync.runner import attempt

    async with open_client() as client:
        outcomes = await asyncio.gather(*(attempt(node, client, addresses) for _, addresses in peers))
    return [_row(node, member, outcome) for (member, _), outcome in zip(peers, outcomes, strict=True)]


def _row(node: Node, member: Row, outcome: Outcome) -> Row:
    from claire.sync import health

    health.remember(node, member["id"], outcome.url, outcome.exchange, error=outcome.error)
    return _described(member, outcome)


def _described(member: Row, outcome: Outcome) -> Row:
    done = outcome.exchange
    behind = sum(done.behind.values())
    if outcome.error:
        state = "refused" if outcome.refused else "unreachable"
    else:
        state = "in sync" if done.in_sync else "behind"
    refused = "; ".join(f"{uuid[:8]}: {why}" for uuid, why in done.refused[:3])
    return {
        "id": member["id"],
        "name": member["name"],
        "state": state,
        "sent": done.sent,
        "received": done.received,
        "behind": behind,
        "refused": len(done.refused),
        "skew_ms": done.skew_ms,
        "why": outcome.error or refused,
    }


def sync_over_ssh(node: Node, host: str, *, admit: bool = False) -> Row:
    """A round with the node of this user on another host, through ssh; `admit` pairs the two first."""
    from claire.sync import ssh, stdio
    from claire.sync.round import Exchange
    from claire.sync.runner import Outcome

    tally = Exchange()
    with ssh.pipes(host) as (coming, going):
        other = stdio.exchange(node, _own_name(node), coming, going, tally, admit=admit)
    return _described({"id": other.machine_id, "name": other.name}, Outcome(tally))


def sync_stdio(node: Node) -> None:
    """Be the other end of `sync_over_ssh`, on this process' standard input and output."""
    import sys

    from claire.sync import stdio

    stdio.serve(node, _own_name(node), sys.stdin.buffer, sys.stdout.buffer)


def _own_name(node: Node) -> str:
    with node.reading() as db:
        name: str = members.find(db, node.machine_id)["name"]
    return name


def export(node: Node, write: Callable[[bytes], object], since_ms: int) -> int:
    """The log as NDJSON; how many events."""
    from claire.sync import carry

    return carry.export(node, write, since_ms)


def bring_in(node: Node, file: BinaryIO) -> Row:
    """Take in what another node exported; as any peer's, every event is verified."""
    from claire.sync import carry

    carried = carry.bring_in(node, file)
    return {
        "accepted": carried.accepted,
        "duplicate": carried.duplicate,
        "refused": [{"id": r.uuid, "machine_id": r.machine_id, "why": r.why} for r in carried.refused],
        "cut": not carried.etag,
        "in_sync": carried.in_sync,
    }


def restore(home: Home, path: str, now_ms: int) -> Row:
    """Put a backup in the place of the database, while no daemon runs."""
    from claire.daemon import alone
    from claire.node import backup

    os.makedirs(home.data, mode=0o700, exist_ok=True)
    with alone(home):
        return backup.restore(home, path, now_ms)


def invite(node: Node) -> str:
    """A line that lets one other host join within ten minutes."""
    import msgspec

    from claire.sync import pairing

    made = pairing.invite(node)
    return pairing.write_line(msgspec.structs.replace(made, addresses=_reachable_at(node)))


def _reachable_at(node: Node) -> list[str]:
    """Where this node's sync listener is, or will be once the daemon runs."""
    from claire import daemon
    from claire.sync.discovery import url_for

    if daemon.is_running(node.home):
        until = time.monotonic() + LISTENER_S_MAX
        while time.monotonic() < until:
            if urls := (daemon.read_runtime(node.home) or {}).get("sync"):
                return list(urls)
            time.sleep(0.05)
        raise Refused("the daemon does not open its sync listener", "look at its log, or restart `claire node`")
    settings = Settings.load(node.home, os.environ)
    if not settings.sync_port:
        raise Refused("no daemon runs here, and the sync port is not fixed", "start `claire node` first")
    return [url_for(host, settings.sync_port) for host in asyncio.run(daemon.sync_hosts(settings))]


def join(node: Node, line: str) -> Row:
    """Pair with the node that printed this line, and exchange once; the member it is now."""
    from claire.sync import pairing

    return asyncio.run(_join(node, pairing.read_line(line)))


async def _join(node: Node, line: Any) -> Row:
    from claire.sync import health, peer
    from claire.sync.round import Exchange
    from claire.sync.runner import attempt

    with node.reading() as db:
        name = members.find(db, node.machine_id)["name"]
    async with peer.open_client() as client:
        try:
            paired = await peer.join(node, client, line, name)
        except peer.NETWORK_ERRORS as error:
            where = " or ".join(line.addresses)
            raise ClaireError(
                f"nobody answers at {where}: {str(error) or type(error).__name__}",
                "is `claire node` running there, and can this host reach that address?",
            ) from None
        health.remember(node, paired.machine_id, paired.url, Exchange())
        outcome = await attempt(node, client, [paired])
    row = _row(node, {"id": paired.machine_id, "name": ""}, outcome)
    with node.reading() as db:
        return {**members.find(db, paired.machine_id), "sync": row}


def add(node: Node, destination: str) -> Row:
    """Have the host behind an ssh destination join; the member it is now."""
    from claire import daemon
    from claire.sync import ssh

    if not daemon.is_running(node.home):
        raise Refused("no daemon runs here that the other host could talk to", "claire node, or claire service install")
    machine_id = ssh.join_there(destination, invite(node))
    with node.reading() as db:
        row = members.find(db, machine_id)
        return {**row, "fingerprint": members.fingerprint(row["public_key"])}


def rotate(node: Node) -> Row:
    """Give the node a new key and tell the peers that can be reached; `told` are those that know it now."""
    from claire import daemon
    from claire.node import rotation

    with daemon.alone(node.home):
        old = node.identity
        row = rotation.rotate(node)
        with Node(node.home) as last_words:
            last_words.become(old)  # peers that have not heard of the new key take the news from the old one
            sync_now(last_words, None, leave_out={node.machine_id})
        return {**row, "told": [said for said in sync_now(node, None) if said["state"] in ("in sync", "behind")]}
