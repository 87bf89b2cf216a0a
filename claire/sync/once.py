"""Rounds a person asks for: with every peer now, a look at where all stand, a check, a wait for copies."""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from claire.node import log, members
from claire.node.errors import ClaireError, NotFound, UsageError
from claire.node.node import Node
from claire.node.rows import Row
from claire.sync import health, pairing
from claire.sync.discovery import address_book, read_peers
from claire.sync.peer import NETWORK_ERRORS, Peer, join, open_client
from claire.sync.round import Exchange, Steps, exchange_steps, look_steps
from claire.sync.runner import Outcome, attempt

if TYPE_CHECKING:
    from httpx import AsyncClient

AT_ONCE_MAX = 20  # peers talked to at a time
BETWEEN_LOOKS_S = 1.0
PROGRESS_S = 2.0


class Reach(NamedTuple):
    """A member, and where it may be."""

    member: Row
    peers: list[Peer]


def sync_now(
    node: Node, peer: str | None, leave_out: Collection[str] = (), say: Callable[[str], None] | None = None
) -> list[Row]:
    """A round with every peer but those left out, or with one; a row for each, by name. `say` hears of long ones."""
    reaches = _reaches(node, peer, leave_out)
    return _round_rows(node, reaches, asyncio.run(_alone_with_all(node, reaches, exchange_steps, say)))


async def round_with_all(node: Node, client: "AsyncClient") -> list[Row]:
    """A round with every peer, in a loop that runs already; a row for each."""
    reaches = await asyncio.to_thread(_reaches, node, None, ())
    outcomes = await _with_all(node, client, reaches, exchange_steps)
    return await asyncio.to_thread(_round_rows, node, reaches, outcomes)


def status(node: Node) -> list[Row]:
    """Where every peer stands now, by one small request each; of those out of reach, what is remembered."""
    reaches = _reaches(node, None, ())
    outcomes = asyncio.run(_alone_with_all(node, reaches, look_steps))
    with node.reading() as db:
        remembered = {row["machine_id"]: row for row in health.known(db)}
        names = members.names(db)
    return [
        _status_row(reach.member, outcome, remembered.get(reach.member["id"], {}), names)
        for reach, outcome in zip(reaches, outcomes, strict=True)
    ]


def verify(node: Node) -> Row:
    """Recompute the index from the events themselves, and compare etags with every peer."""
    with node.reading() as db:
        stored = {machine: row for machine, row in log.index(db).items() if row.count}
        counted = log.recount(db)
        names = members.names(db)
    wrong = sorted(m for m in stored.keys() | counted.keys() if stored.get(m) != counted.get(m))
    return {
        "id": node.machine_id,
        "events": sum(row.count for row in counted.values()),
        "etag": log.etag_of(stored),
        "wrong": [{"id": machine, "name": names.get(machine, "")} for machine in wrong],
        "peers": status(node),
    }


def wait_for_copies(node: Node, copies: int, timeout_s: float) -> Row:
    """Return when this node's newest event is on `copies` other nodes, or after `timeout_s`."""
    if copies < 1:
        raise UsageError(f"{copies} copies are there already", "ask for 1 or more")
    end = time.monotonic() + timeout_s
    while True:
        reaches = _reaches(node, None, ())
        if not reaches:
            raise UsageError("there is no other node yet", "claire peer invite")
        if copies > len(reaches):
            raise UsageError(f"there are {len(reaches)} other nodes", f"ask for at most {len(reaches)}")
        outcomes = asyncio.run(_alone_with_all(node, reaches, exchange_steps))
        holding = [
            reach.member["name"]
            for reach, outcome in zip(reaches, outcomes, strict=True)
            if not outcome.error and node.machine_id not in outcome.exchange.ahead
        ]
        if len(holding) >= copies or time.monotonic() >= end:
            return {"id": node.machine_id, "copies": len(holding), "wanted": copies, "on": sorted(holding)}
        time.sleep(BETWEEN_LOOKS_S)


def join_fleet(node: Node, line: str) -> Row:
    """Pair with the node that printed this line, and exchange once; the member it is now."""
    return asyncio.run(_join(node, pairing.read_line(line)))


async def _join(node: Node, line: pairing.Invite) -> Row:
    with node.reading() as db:
        name = members.find(db, node.machine_id)["name"]
    async with open_client() as client:
        try:
            paired = await join(node, client, line, name)
        except NETWORK_ERRORS as error:
            raise ClaireError(
                f"nobody answers at {' or '.join(line.addresses)}: {str(error) or type(error).__name__}",
                "is `claire node` running there, and can this host reach that address?",
            ) from None
        health.remember(node, paired.machine_id, paired.url, Exchange())
        outcome = await attempt(node, client, [paired])
    row = _round_row(node, {"id": paired.machine_id, "name": ""}, outcome)
    with node.reading() as db:
        return {**members.find(db, paired.machine_id), "sync": row}


def _reaches(node: Node, peer: str | None, leave_out: Collection[str]) -> list[Reach]:
    """The other members, or one, each with the addresses to try."""
    with node.reading() as db:
        own = node.machine_id
        left_out = {own, *members.revoked(db), *leave_out}
        unasked = left_out | health.ignored(db)  # who is named is asked all the same
        others = [row for row in members.list_members(db) if row["id"] not in unasked]
        if peer is not None:
            found = members.find(db, peer)
            if found["id"] in left_out:
                raise NotFound(f"{found['name']} is {'this node' if found['id'] == own else 'cut off'}")
            others = [found]
        last_urls = health.last_urls(db)
    try:
        with open(node.home.peers_file, encoding="utf-8") as file:
            listed = read_peers(file.read())
    except FileNotFoundError:
        listed = []
    book = address_book({row["id"]: (row["name"], row["addresses"]) for row in others}, listed, last_urls, {})
    return [Reach(row, [Peer(url, row["id"]) for url in book.get(row["id"], [])]) for row in others]


async def _alone_with_all(
    node: Node,
    reaches: Sequence[Reach],
    steps: Callable[[Node, Exchange], Steps],
    say: Callable[[str], None] | None = None,
) -> list[Outcome]:
    async with open_client() as client:
        return await _with_all(node, client, reaches, steps, say)


async def _with_all(
    node: Node,
    client: "AsyncClient",
    reaches: Sequence[Reach],
    steps: Callable[[Node, Exchange], Steps],
    say: Callable[[str], None] | None = None,
) -> list[Outcome]:
    permits = asyncio.Semaphore(AT_ONCE_MAX)
    under_way: dict[str, Exchange] = {}

    async def one(reach: Reach) -> Outcome:
        def followed(node: Node, tally: Exchange) -> Steps:
            under_way[reach.member["name"]] = tally
            return steps(node, tally)

        async with permits:
            outcome = await attempt(node, client, reach.peers, followed)
        under_way.pop(reach.member["name"], None)
        return outcome

    progress = asyncio.create_task(_tell(under_way, say)) if say else None
    try:
        return list(await asyncio.gather(*(one(reach) for reach in reaches)))
    finally:
        if progress:
            progress.cancel()


async def _tell(under_way: dict[str, Exchange], say: Callable[[str], None]) -> None:
    """Say now and then how far long rounds are."""
    while True:
        await asyncio.sleep(PROGRESS_S)
        for name, tally in under_way.items():
            left = sum(tally.behind.values()) - tally.received
            to_come = f", {left:,} to come" if left > 0 else ""
            say(f"{name}: received {tally.received:,}, sent {tally.sent:,}{to_come}")


def _round_rows(node: Node, reaches: Sequence[Reach], outcomes: Sequence[Outcome]) -> list[Row]:
    return [_round_row(node, reach.member, outcome) for reach, outcome in zip(reaches, outcomes, strict=True)]


def _round_row(node: Node, member: Row, outcome: Outcome) -> Row:
    health.remember(node, member["id"], outcome.url, outcome.exchange, error=outcome.error)
    return described(member, outcome)


def described(member: Row, outcome: Outcome) -> Row:
    """What a round with a member came to, for people."""
    done = outcome.exchange
    refused = "; ".join(f"{uuid[:8]}: {why}" for uuid, why in done.refused[:3])
    return {
        "id": member["id"],
        "name": member["name"],
        "state": _state(outcome),
        "sent": done.sent,
        "received": done.received,
        "behind": sum(done.behind.values()),
        "refused": len(done.refused),
        "skew_ms": done.skew_ms,
        "why": outcome.error or refused,
    }


def _status_row(member: Row, outcome: Outcome, remembered: Row, names: dict[str, str]) -> Row:
    def by_name(counts: dict[str, int]) -> dict[str, int]:
        return {names.get(machine, machine[:8]): events for machine, events in counts.items()}

    done = outcome.exchange
    return {
        "id": member["id"],
        "name": member["name"],
        "state": _state(outcome),
        "behind": by_name(done.behind),
        "ahead": by_name(done.ahead),
        "skew_ms": remembered.get("skew_ms") if outcome.error else done.skew_ms,
        "last_contact_ms": remembered.get("last_contact_ms"),
        "last_pull_ms": remembered.get("last_pull_ms"),
        "last_push_ms": remembered.get("last_push_ms"),
        "breaker": remembered.get("breaker"),
        "url": outcome.url or remembered.get("url"),
        "why": outcome.error or "",
    }


def _state(outcome: Outcome) -> str:
    if outcome.error:
        return "refused" if outcome.refused else "unreachable"
    if outcome.exchange.in_sync:
        return "in sync"
    return "behind" if outcome.exchange.behind else "ahead"
