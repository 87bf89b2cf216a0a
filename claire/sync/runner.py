"""The loop: ask gossip whom to contact, run the exchange, feed back how it went; the one network catch."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import msgspec

from claire.node import log as event_log
from claire.node import members
from claire.node.errors import ClaireError, StorageError
from claire.node.node import Node
from claire.sync import health
from claire.sync.bell import Bell
from claire.sync.discovery import Suggestion, address_book, host_of
from claire.sync.gossip import Gossip
from claire.sync.peer import NETWORK_ERRORS, Busy, Peer, exchange, wait_for_change
from claire.sync.round import Exchange, PeerError, Steps, exchange_steps, news_steps

if TYPE_CHECKING:
    from httpx import AsyncClient

SLEEP_S = 10.0  # the wall clock ran this much further than ours: the machine slept
WATCH_PAUSE_S = 1.0
TICK_S_MAX = 10.0  # addresses and sleep are looked at this often

log = logging.getLogger(__name__)


class Outcome(msgspec.Struct):
    """How an attempt to exchange with a peer ended; `error` is "" if it ended well."""

    exchange: Exchange
    url: str = ""
    error: str = ""
    refused: bool = False  # it answered, and would not
    retry_after_s: float = 0.0


async def attempt(
    node: Node,
    client: "AsyncClient",
    peers: list[Peer],
    steps: Callable[[Node, Exchange], Steps] = exchange_steps,
) -> Outcome:
    """A round (or other `steps`) with a node at the first of its addresses that answers."""
    outcome = Outcome(Exchange(), error="no address is known")
    for peer in peers:
        outcome = await _attempt_at(node, client, peer, steps)
        if not outcome.error or outcome.retry_after_s or outcome.exchange.machine_id:
            break
    return outcome


async def _attempt_at(
    node: Node, client: "AsyncClient", peer: Peer, steps: Callable[[Node, Exchange], Steps]
) -> Outcome:
    outcome = Outcome(Exchange(), peer.url)
    try:
        await exchange(node, client, peer, outcome.exchange, steps)
    except Busy as error:
        outcome.error, outcome.retry_after_s = error.message or "it is busy", error.retry_after_s
    except ClaireError as error:
        outcome.error, outcome.refused = error.message, True
    except NETWORK_ERRORS as error:
        outcome.error = f"{peer.url}: {str(error) or type(error).__name__}"
    return outcome


class Runner:
    """Exchanges with every peer that is due, each in its own task, until it is told to stop."""

    def __init__(
        self,
        node: Node,
        client: "AsyncClient",
        bell: Bell,
        suggestions: Callable[[], list[Suggestion]],
    ) -> None:
        self.node, self.client, self.bell, self.suggestions = node, client, bell, suggestions
        self.gossip = Gossip(Random(), time.monotonic())
        self.addresses: dict[str, list[Peer]] = {}
        self._learned: dict[str, str] = {}  # address -> the machine that answered there
        self._here: set[str] = set()  # `host:port` where this very node answers
        self.rounds = {"in sync": 0, "behind": 0, "failed": 0}  # since the start
        self._agreed: dict[str, dict[str, str]] = {}  # per peer, newest stamps when we last held the same
        self._tasks: set[asyncio.Task[None]] = set()
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._wake = Bell()

    async def run(self) -> None:
        """Until cancelled."""
        self.bell.heard.append(self._changed)
        watch = asyncio.create_task(self._keep_watch())
        asleep, looked = _lag(), -math.inf
        try:
            while True:
                rung, now = self._wake.rung, time.monotonic()
                if not self._start_due() or now > looked + TICK_S_MAX:  # what woke us first, alone: its end wakes us
                    await self._look_around()
                    looked = now
                if abs(_lag() - asleep) > SLEEP_S:
                    self.gossip.woke(time.monotonic())
                asleep = _lag()
                self._start_due()
                pause = self.gossip.next_at(time.monotonic()) - time.monotonic()
                await self._wake.wait(max(0.01, min(pause, TICK_S_MAX)), rung)
        finally:
            self.bell.heard.remove(self._changed)
            tasks = [watch, *self._tasks, *self._watches.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _start_due(self) -> bool:
        """Whether there was anything to start."""
        due = self.gossip.due(time.monotonic())
        for name in due:
            task = asyncio.create_task(self._contact(name))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return bool(due)

    def contacted(self, machine_id: str) -> None:
        """A member made a request here."""
        self.gossip.contacted_us(machine_id, time.monotonic())

    def moved(self, urls: list[str]) -> None:
        """This node is reached there now, or nowhere ([]): peers should hear of it at once, so ask everybody."""
        self._here = {host_of(url) for url in urls}
        if urls:
            self.gossip.woke(time.monotonic())
            self._wake.ring()

    def _changed(self) -> None:
        """Something was written here: by this process, the command line, or an exchange. Off with it, first of all."""
        self.gossip.changed(time.monotonic())
        if not self._start_due():  # else the end of what was started wakes us
            self._wake.ring()

    async def _keep_watch(self) -> None:
        """Where nobody can reach us, have a few peers tell us when they have news."""
        while True:
            wanted = self.gossip.watched(time.monotonic())
            for name in self._watches.keys() - set(wanted):
                self._watches.pop(name).cancel()
            for name in set(wanted) - self._watches.keys():
                self._watches[name] = asyncio.create_task(self._watch(name))
            await asyncio.sleep(TICK_S_MAX)

    async def _watch(self, name: str) -> None:
        try:
            while peers := [peer for peer in self.addresses.get(name, []) if peer.audience]:
                if name in self._agreed:  # else it would answer at once, again and again
                    etag = await asyncio.to_thread(self._etag)
                    if await wait_for_change(self.node, self.client, peers[0], etag):
                        self.gossip.want(name)
                        self._wake.ring()
                await asyncio.sleep(WATCH_PAUSE_S)  # let that exchange run
        except (ClaireError, *NETWORK_ERRORS) as error:
            log.info("%s: watching ended: %s", name[:8], error)
        finally:
            self._watches.pop(name, None)

    def _etag(self) -> str:
        with self.node.reading() as db:
            return event_log.etag(db)

    async def _look_around(self) -> None:
        """Bring the peers gossip knows in line with who is a member and where they may be found."""
        book = await asyncio.to_thread(self._book, self.suggestions())  # asked here: mDNS adds to them in this loop
        for name in self.gossip.peers.keys() - book.keys():
            self.gossip.lost(name)
            self.addresses.pop(name, None)
        for name, urls in book.items():
            known = {peer.url: peer for peer in self.addresses.get(name, [])}
            if urls != list(known):
                expected = "" if name in urls else name
                self.addresses[name] = [known.get(url) or Peer(url, expected) for url in urls]
            if set(urls) - known.keys():
                self.gossip.found(name, time.monotonic())

    def _book(self, suggestions: list[Suggestion]) -> dict[str, list[str]]:
        with self.node.reading() as db:
            own = self.node.machine_id
            left_out = {*members.revoked(db), *members.suspended(db, own), *health.ignored(db)}
            if not self._here:  # else a copy of us may be about, under our id, at an address that is not ours
                left_out.add(own)
            others = {
                row["id"]: (row["name"], row["addresses"])
                for row in members.list_members(db)
                if row["id"] not in left_out
            }
            last_urls = health.last_urls(db)
        return address_book(others, suggestions if others else [], last_urls, self._learned, self._here)

    async def _contact(self, name: str) -> None:
        """One exchange, from start to what gossip and people are told of it."""
        steps = partial(self._steps, name, self._agreed.pop(name, {}))
        outcome = Outcome(Exchange(), error="it was not tried to the end")
        try:
            outcome = await attempt(self.node, self.client, list(self.addresses.get(name, [])), steps)
        finally:
            self._heed(name, outcome)  # whatever happened: a contact that stays busy is never made again
            self._wake.ring()
        try:
            await self._remember(outcome.exchange.machine_id or name, outcome)
        except StorageError as error:  # a full disk: what was exchanged is kept or comes again
            log.error("%s: %s", name[:8], error.message)

    def _steps(self, name: str, agreed: dict[str, str], node: Node, tally: Exchange) -> Steps:
        """A round, unless the peer was cut off, or is to be left alone, since a moment ago."""
        with node.reading() as db:
            if name in {*members.revoked(db), *members.suspended(db, node.machine_id), *health.ignored(db)}:
                raise PeerError("it was cut off", 403)
        yield from news_steps(node, tally, agreed)

    def _heed(self, name: str, outcome: Outcome) -> None:
        now, done = time.monotonic(), outcome.exchange
        self.rounds["failed" if outcome.error else "in sync" if done.in_sync else "behind"] += 1
        self._here |= {host_of(peer.url) for peer in self.addresses.get(name, []) if peer.is_here}
        if outcome.error:
            self.gossip.failed(name, now, outcome.retry_after_s)
            log.info("%s: %s", name[:8], outcome.error)
        else:
            self.gossip.heard(name, now)
            if done.in_sync:
                self._agreed[name] = done.agreed
            self._learned[outcome.url] = done.machine_id
            if not done.in_sync and (done.received or done.sent):
                self.gossip.want(name)  # a long way to go: on with it
        if done.received or done.sent:
            log.info("%s: received %d, sent %d", name[:8], done.received, done.sent)
        for uuid, why in done.refused[:10]:
            log.warning("%s: refused %s: %s", name[:8], uuid[:8], why)

    async def _remember(self, machine_id: str, outcome: Outcome) -> None:
        contact = self.gossip.peers.get(machine_id)
        if contact is None:
            return
        breaker = contact.breaker
        await asyncio.to_thread(
            health.remember,
            self.node,
            machine_id,
            outcome.url,
            outcome.exchange,
            error=outcome.error,
            failures=breaker.failures,
            breaker=breaker.state(time.monotonic()),
        )


def _lag() -> float:
    """Wall clock minus a clock that stands still while the machine sleeps."""
    return time.time() - time.monotonic()
