"""The schedule: whom a node contacts, when, and what a failing peer changes."""

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from claire.sync.breaker import FAILURES_MAX, PAUSE_S, PAUSE_S_MAX, Breaker
from claire.sync.gossip import (
    PULL_INTERVAL_S,
    PULL_PEERS,
    PUSH_ALL_PEERS_MAX,
    PUSH_FANOUT_PEERS,
    UNREACHED_S,
    Gossip,
)


def gossip(peers: int, now: float = 1000.0) -> Gossip:
    made = Gossip(Random(1), now)
    for number in range(peers):
        made.found(f"p{number}", now)
    return made


def settle(schedule: Gossip, now: float) -> None:
    schedule.woke(now)
    for name in schedule.due(now):
        schedule.heard(name, now)


def test_at_start_everybody_is_contacted_at_once() -> None:
    assert len(gossip(20).due(1000)) == 20


def test_a_change_goes_to_all_of_six_and_to_three_of_more() -> None:
    for peers, contacts in ((1, 1), (6, PUSH_ALL_PEERS_MAX), (7, PUSH_FANOUT_PEERS), (50, PUSH_FANOUT_PEERS)):
        schedule = gossip(peers)
        settle(schedule, 1000)
        schedule.changed(1001)
        assert len(schedule.due(1001)) == contacts


def test_changes_while_a_push_is_in_flight_become_one_more_push() -> None:
    schedule = gossip(1)
    settle(schedule, 1000)
    schedule.changed(1001)
    assert schedule.due(1001) == ["p0"]
    for _ in range(5):
        schedule.changed(1001.5)
        assert schedule.due(1001.5) == []
    schedule.heard("p0", 1002)
    assert schedule.due(1002) == ["p0"]
    schedule.heard("p0", 1003)
    assert schedule.due(1003) == []


def test_pulls_come_every_half_minute_with_three_peers_and_reach_everybody() -> None:
    schedule = gossip(9)
    settle(schedule, 1000)
    now, pulled = 1000.0, set()
    for _ in range(20):
        at = schedule.next_at(now)
        assert 0.8 * PULL_INTERVAL_S <= at - now <= 1.2 * PULL_INTERVAL_S
        now = at
        due = schedule.due(now)
        assert len(due) == PULL_PEERS
        pulled.update(due)
        for name in due:
            schedule.heard(name, now)
    assert len(pulled) == 9


def test_a_dead_peer_is_left_alone_for_growing_pauses_and_delays_nobody() -> None:
    schedule = gossip(2)
    now, probes = 1000.0, []
    while now < 1000 + 4 * 3600:
        for name in schedule.due(now):
            if name == "p0":
                probes.append(now)
                schedule.failed(name, now)
            else:
                schedule.heard(name, now)
        now = max(schedule.next_at(now), now + 0.001)
    pauses = [after - before for before, after in pairwise(probes)]
    assert len(probes) < FAILURES_MAX + 6 + 4 * 3600 / (PAUSE_S_MAX * 0.8)
    assert pauses[-1] > PAUSE_S_MAX * 0.7
    assert schedule.peers["p1"].heard_at > now - 40


def test_a_peer_that_contacts_us_closes_its_breaker() -> None:
    schedule = gossip(1)
    for _ in range(FAILURES_MAX):
        schedule.failed("p0", 1000)
    assert schedule.peers["p0"].breaker.state(1001) == "open"
    schedule.changed(1001)
    assert schedule.due(1001) == []
    schedule.contacted_us("p0", 1002)
    schedule.changed(1002)
    assert schedule.due(1002) == ["p0"]


def test_retry_after_is_honoured_and_is_no_failure() -> None:
    schedule = gossip(1)
    schedule.due(1000)
    schedule.failed("p0", 1000, retry_after_s=7)
    assert schedule.peers["p0"].breaker.failures == 0
    assert schedule.due(1006) == []
    assert schedule.next_at(1006) == 1007
    assert schedule.due(1007) == ["p0"]


def test_a_lost_peer_is_forgotten_even_while_busy() -> None:
    schedule = gossip(1)
    schedule.due(1000)
    schedule.lost("p0")
    schedule.heard("p0", 1001)
    assert schedule.due(2000) == []


@given(st.integers(0, 40))
def test_breaker_opens_after_five_and_pauses_stay_bounded(failures: int) -> None:
    breaker = Breaker()
    for _ in range(failures):
        breaker = breaker.failed(100.0)
    assert (breaker.state(100.0) == "open") == (failures >= FAILURES_MAX)
    assert breaker.retry_at <= 100 + PAUSE_S_MAX
    if failures == FAILURES_MAX:
        assert breaker.state(100 + PAUSE_S) == "half-open"


def test_a_node_nobody_reaches_watches_two_peers_until_somebody_does() -> None:
    schedule = gossip(5)
    settle(schedule, 1000)
    assert len(schedule.watched(1000)) == 2
    schedule.contacted_us("p4", 1001)
    assert schedule.watched(1002) == []
    assert len(schedule.watched(1001 + UNREACHED_S)) == 2
