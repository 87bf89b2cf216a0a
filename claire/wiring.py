"""What the command line may ask of sync, fleet and the daemon; a function imports what it needs when called."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, BinaryIO

from claire import runtime
from claire.config import Home, Settings
from claire.node import members
from claire.node.errors import Refused
from claire.node.node import Node
from claire.node.rows import Row

LISTENER_S_MAX = 5.0  # how long a daemon may take to open its listeners when it starts, or when there is an invite


def run_node(home: Home, settings: Settings, say: Callable[[str], None]) -> None:
    """The daemon, until it is told to end."""
    from claire import daemon

    daemon.run_node(home, settings, say)


def open_dashboard(home: Home, settings: Settings, say: Callable[[str], None]) -> str | None:
    """A one-time sign-in link to the running node's dashboard; without one, run it in the foreground (None)."""
    from claire import daemon
    from claire.ui import login

    if not runtime.is_running(home):
        daemon.run_node(home, settings, say, sign_in=True)
        return None
    with Node(home) as node:
        return login.open_link(node, _served(home, "ui"))


def _served(home: Home, listener: str) -> Any:
    """Where the running daemon serves 'ui' (a URL) or 'sync' (URLs); it may be about to."""
    until = time.monotonic() + LISTENER_S_MAX
    while time.monotonic() < until:
        if urls := runtime.read_urls(home).get(listener):
            return urls
        time.sleep(0.05)
    raise Refused(f"the daemon does not open its {listener} listener", "look at its log, or restart `claire node`")


def demo(say: Callable[[str], None], *, quick: bool, for_s: float | None) -> None:
    """The demo, until it ends or is ended."""
    from claire.demo import play

    play.demo(say, quick=quick, for_s=for_s)


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


def pane_tail(node: Node, session_id: str, rows_max: int, *, share: bool) -> str:
    """What a session of this host shows; shared, it becomes an update without secrets."""
    from claire.fleet import runner

    if share:
        return runner.share_tail(node, os.environ, session_id, rows_max)
    return runner.pane_tail(node, os.environ, session_id, rows_max)


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


def sync_now(
    node: Node, peer: str | None, leave_out: Collection[str] = (), say: Callable[[str], None] | None = None
) -> list[Row]:
    """A round with every peer but those left out, or with one; a row for each, by name. `say` hears of long ones."""
    from claire.sync import request

    if peer is None and not leave_out and (rows := request.by_daemon(node.home)) is not None:
        return rows
    from claire.sync import once

    return once.sync_now(node, peer, leave_out, say)


def sync_status(node: Node) -> list[Row]:
    """Per peer: in sync, behind or ahead by how many events of whom, last contact, pull and push, skew, breaker."""
    from claire.sync import once

    return once.status(node)


def sync_verify(node: Node) -> Row:
    """Digests recomputed from the events (`wrong` lists what differs), and how every peer compares."""
    from claire.sync import once

    return once.verify(node)


def sync_wait(node: Node, copies: int, timeout_s: float) -> Row:
    """Wait until this node's newest event is on so many others; `copies` there are, `on` which."""
    from claire.sync import once

    return once.wait_for_copies(node, copies, timeout_s)


def sync_over_ssh(node: Node, host: str, *, admit: bool = False) -> Row:
    """A round with the node of this user on another host, through ssh; `admit` pairs the two first."""
    from claire.sync import once, ssh, stdio
    from claire.sync.round import Exchange
    from claire.sync.runner import Outcome

    tally = Exchange()
    with ssh.pipes(host, init=admit) as (coming, going):
        other = stdio.exchange(node, _own_name(node), coming, going, tally, admit=admit)
    return once.described({"id": other.machine_id, "name": other.name}, Outcome(tally))


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


def examine(home: Home, *, fix: bool) -> list[Row]:
    """What `claire doctor` finds; a row for each check."""
    import msgspec

    from claire import doctor

    return [msgspec.structs.asdict(check) for check in doctor.examine(home, os.environ, fix=fix)]


def recover(home: Home, name: str, now_ms: int) -> Row:
    """A new database from what can be read of a damaged one, and from peers."""
    from claire import recovery

    return recovery.recover(home, name, now_ms)


def restore(home: Home, path: str, now_ms: int) -> Row:
    """Put a backup in the place of the database, while no daemon runs."""
    from claire.node import backup

    os.makedirs(home.data, mode=0o700, exist_ok=True)
    with runtime.alone(home):
        return backup.restore(home, path, now_ms)


def service(home: Home, verb: str) -> Row:
    """`install`, `uninstall` or `status` of the node as a service of the user; its state afterwards."""
    from claire import service

    ours = service.of_this_host(home, os.environ)
    if verb == "install":
        service.install(ours)
    elif verb == "uninstall":
        service.uninstall(ours)
    return {**service.status(ours), "note": ours.note}


def invite(node: Node) -> Row:
    """`line` lets one other host join within ten minutes, if it reaches one of the `addresses`."""
    import msgspec

    from claire.sync import pairing

    made = msgspec.structs.replace(pairing.invite(node), addresses=_reachable_at(node))
    return {"line": pairing.write_line(made), "addresses": made.addresses}


def _reachable_at(node: Node) -> list[str]:
    """Where this node's sync listener is, or will be once the daemon runs."""
    from claire.sync import tailscale
    from claire.sync.discovery import url_for
    from claire.sync_listener import hosts

    if runtime.is_running(node.home):
        return list(_served(node.home, "sync"))
    settings = Settings.load(node.home, os.environ)
    if not settings.sync_port:
        raise Refused("no daemon runs here, and the sync port is not fixed", "start `claire node` first")
    return [url_for(host, settings.sync_port) for host in hosts(settings, asyncio.run(tailscale.status()))]


def join(node: Node, line: str) -> Row:
    """Pair with the node that printed this line, and exchange once; the member it is now."""
    from claire.sync import once

    return once.join_fleet(node, line)


def add(node: Node, destination: str) -> Row:
    """Pair with the node of this user on another host, through ssh, and exchange; the member it is now."""
    synced = sync_over_ssh(node, destination, admit=True)
    with node.reading() as db:
        row = members.find(db, synced["id"])
        return {**row, "fingerprint": members.fingerprint(row["public_key"]), "sync": synced}


def remove_peer(node: Node, ref: str, undo: bool) -> Row:
    """Leave a peer alone from here, or dial it again; the member it is."""
    from claire.sync import health

    with node.reading() as db:
        found = members.find(db, ref)
    if found["id"] == node.machine_id:
        raise Refused("this node is no peer of itself", "name another node")
    health.ignore(node, found["id"], not undo)
    return found


def rotate(node: Node, is_copy: bool) -> Row:
    """Give the node a new key and tell the peers that can be reached; `told` are those that know it now."""
    from claire.node import rotation

    with runtime.alone(node.home):
        old = node.identity
        row = rotation.rotate(node, is_copy)
        with Node(node.home) as last_words:
            last_words.become(old)  # peers that have not heard of the new key take the news from the old one
            sync_now(last_words, None, leave_out={node.machine_id})
        return {**row, "told": [said for said in sync_now(node, None) if said["state"] in ("in sync", "behind")]}
