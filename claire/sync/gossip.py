"""Whom to contact now: decided from what was heard, the time and a random source, all passed in. Pure.

Push: after a change, to every peer if there are few, else to some at random, and once more by whoever it
was new to. Pull: every half minute with a few peers, which repairs whatever push missed. Every contact is a
whole exchange, both ways.
"""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from claire.sync.breaker import Breaker

if TYPE_CHECKING:
    from random import Random

PUSH_ALL_PEERS_MAX = 6
PUSH_FANOUT_PEERS = 3
PULL_PEERS = 3
PULL_SAMPLE_PEERS = 6
PULL_INTERVAL_S = 30.0
PULL_JITTER = 0.2
WATCH_PEERS = 2
UNREACHED_S = 90.0  # nobody contacted us for so long: probably nobody can
BREAKER_JITTER = 0.2


@dataclass
class Contact:
    """What is known of talking to one peer."""

    breaker: Breaker = field(default_factory=Breaker)
    wanted: bool = True  # an exchange is due as soon as it may run
    busy: bool = False  # an exchange is running
    heard_at: float = -math.inf
    spoke_at: float = -math.inf  # the peer contacted us


class Gossip:
    """The state of the schedule; `peers` maps whatever names a peer to its Contact."""

    def __init__(self, rng: "Random", now: float) -> None:
        self.rng = rng
        self.peers: dict[str, Contact] = {}
        self.pull_at = now

    def found(self, peer: str, now: float) -> None:
        """A peer exists (again); an address that turns up anew is worth a try at once."""
        contact = self.peers.setdefault(peer, Contact())
        contact.breaker, contact.wanted = Breaker(), True

    def lost(self, peer: str) -> None:
        self.peers.pop(peer, None)

    def changed(self, now: float) -> None:
        """This node holds events it did not hold before, whoever wrote or brought them."""
        able = [name for name, peer in self.peers.items() if peer.breaker.allows(now)]
        if len(able) > PUSH_ALL_PEERS_MAX:
            able = self.rng.sample(able, PUSH_FANOUT_PEERS)
        for name in able:
            self.peers[name].wanted = True

    def woke(self, now: float) -> None:
        """The node started, or the machine slept: everything may have moved, ask everybody."""
        for contact in self.peers.values():
            contact.breaker, contact.wanted = Breaker(), True
        self.pull_at = self._next_pull(now)

    def contacted_us(self, peer: str, now: float) -> None:
        """It reached us, so it is alive whatever our own attempts said."""
        if contact := self.peers.get(peer):
            contact.breaker, contact.spoke_at = Breaker(), now

    def heard(self, peer: str, now: float) -> None:
        """An exchange with it ended well."""
        if contact := self.peers.get(peer):
            contact.breaker, contact.busy, contact.heard_at = Breaker(), False, now

    def failed(self, peer: str, now: float, retry_after_s: float = 0.0) -> None:
        """An exchange with it failed; `retry_after_s` where the peer said when to come back."""
        if (contact := self.peers.get(peer)) is None:
            return
        contact.busy = False
        if retry_after_s:
            contact.breaker = contact.breaker.paused(now + retry_after_s)
            contact.wanted = True
        else:
            contact.breaker = contact.breaker.failed(now, self._jitter(BREAKER_JITTER))

    def due(self, now: float) -> list[str]:
        """The peers to start an exchange with now; each is busy until `heard` or `failed` says otherwise."""
        if now >= self.pull_at:
            self.pull_at = self._next_pull(now)
            for name in self._pull_from(now):
                self.peers[name].wanted = True
        due = [name for name, peer in self.peers.items() if self._ready(peer, now)]
        for name in due:
            self.peers[name].wanted, self.peers[name].busy = False, True
        return due

    def watched(self, now: float) -> list[str]:
        """Peers to ask for a late answer, because news may not reach us otherwise; [] while peers do reach us."""
        if any(peer.spoke_at > now - UNREACHED_S for peer in self.peers.values()):
            return []
        able = [name for name, peer in self.peers.items() if peer.heard_at > -math.inf and not peer.breaker.failures]
        return sorted(able)[:WATCH_PEERS]

    def want(self, peer: str) -> None:
        """An exchange with it is due at once."""
        if contact := self.peers.get(peer):
            contact.wanted = True

    def next_at(self, now: float) -> float:
        """The earliest time at which `due` may have something, if nothing else happens."""
        waiting = [peer.breaker.retry_at for peer in self.peers.values() if not peer.busy and self._waits(peer)]
        return max(now, min([self.pull_at, *waiting]))

    def _ready(self, peer: Contact, now: float) -> bool:
        return not peer.busy and self._waits(peer) and peer.breaker.allows(now)

    @staticmethod
    def _waits(peer: Contact) -> bool:
        return peer.wanted or peer.breaker.retry_at > 0  # a probe is due when its pause is over

    def _pull_from(self, now: float) -> list[str]:
        able = [name for name, peer in self.peers.items() if peer.breaker.allows(now)]
        sample = self.rng.sample(able, min(PULL_SAMPLE_PEERS, len(able)))
        return sorted(sample, key=lambda name: self.peers[name].heard_at)[:PULL_PEERS]

    def _next_pull(self, now: float) -> float:
        return now + PULL_INTERVAL_S * self._jitter(PULL_JITTER)

    def _jitter(self, share: float) -> float:
        return self.rng.uniform(1 - share, 1 + share)
